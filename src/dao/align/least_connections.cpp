// The upstream with the fewest requests under way for its weight, over all workers. Ties go round, so that idle
// upstreams share the load and a burst does not herd to the first.
#include "dao/align/policy.h"

namespace dao::align {

namespace {

class LeastConnections final : public Policy {
 public:
  std::optional<std::size_t> choose(const Choosing& choosing) override {
    const std::optional<std::size_t> best = least(choosing);
    if (best) next_ = (*best + 1) % choosing.candidates.size();
    return best;
  }

  // The score is (in flight + 1) / weight.
  void explain(const Choosing& choosing, std::vector<Explained>& into) const override {
    const std::optional<std::size_t> best = least(choosing);
    into.clear();
    for (std::size_t i = 0; i < choosing.candidates.size(); ++i) {
      const Candidate& candidate = choosing.candidates[i];
      Explained& one = into.emplace_back();
      one.upstream = candidate.upstream;
      one.usable = choosing.usable(i);
      one.score =
          static_cast<double>(choosing.in_flight.count(candidate.upstream) + 1) * kWeightUnit / choosing.weight(i);
      one.chosen = best == i;
      one.why = "requests under way for its weight; equal ones in turn";
    }
  }

 private:
  [[nodiscard]] std::optional<std::size_t> least(const Choosing& choosing) const {
    std::optional<std::size_t> best;
    std::int64_t best_load = 0;
    std::int64_t best_weight = 1;
    const std::size_t count = choosing.candidates.size();
    for (std::size_t step = 0; step < count; ++step) {
      const std::size_t i = (next_ + step) % count;
      if (!choosing.usable(i)) continue;
      // (in flight + 1) / weight, compared without division.
      const std::int64_t load = choosing.in_flight.count(choosing.candidates[i].upstream) + 1;
      const std::int64_t weight = choosing.weight(i);
      if (!best || load * best_weight < best_load * weight) {
        best = i;
        best_load = load;
        best_weight = weight;
      }
    }
    return best;
  }

  std::size_t next_ = 0;
};

}  // namespace

std::unique_ptr<Policy> make_least_connections() {
  return std::make_unique<LeastConnections>();
}

}  // namespace dao::align

// The upstream with the fewest requests under way for its weight, over all workers. Ties go round, so that idle
// upstreams share the load and a burst does not herd to the first.
#include "dao/align/policy.h"

namespace dao::align {

namespace {

class LeastConnections final : public Policy {
 public:
  std::optional<std::size_t> choose(std::span<const Candidate> candidates, const sense::InFlight& in_flight,
                                    Random&) override {
    std::optional<std::size_t> best;
    std::int64_t best_load = 0;
    const std::size_t count = candidates.size();
    if (count == 0) return std::nullopt;
    for (std::size_t step = 0; step < count; ++step) {
      const std::size_t i = (next_ + step) % count;
      if (!candidates[i].usable) continue;
      // (in flight + 1) / weight, compared without division.
      const std::int64_t load = in_flight.count(candidates[i].upstream) + 1;
      if (!best || load * candidates[*best].weight < best_load * candidates[i].weight) {
        best = i;
        best_load = load;
      }
    }
    if (best) next_ = (*best + 1) % count;
    return best;
  }

 private:
  std::size_t next_ = 0;
};

}  // namespace

std::unique_ptr<Policy> make_least_connections() {
  return std::make_unique<LeastConnections>();
}

}  // namespace dao::align

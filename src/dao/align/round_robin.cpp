// Smooth weighted round robin: in every sum-of-weights choices each upstream is chosen `weight` times, spread as evenly
// as can be. Every choice raises each candidate's credit by its weight and takes the total from the richest.
#include <vector>

#include "dao/align/policy.h"

namespace dao::align {

namespace {

class RoundRobin final : public Policy {
 public:
  std::optional<std::size_t> choose(const Choosing& choosing) override {
    if (credit_.size() != choosing.candidates.size()) credit_.assign(choosing.candidates.size(), 0);
    const std::optional<std::size_t> best = richest(choosing);
    if (!best) return best;
    for (std::size_t i = 0; i < credit_.size(); ++i) {
      if (!choosing.usable(i)) continue;
      const std::int64_t weight = choosing.weight(i);
      credit_[i] += weight;
      credit_[*best] -= weight;
    }
    return best;
  }

  // The score is what is missing to the richest credit.
  void explain(const Choosing& choosing, std::vector<Explained>& into) const override {
    const std::optional<std::size_t> best = richest(choosing);
    into.clear();
    for (std::size_t i = 0; i < choosing.candidates.size(); ++i) {
      Explained& one = into.emplace_back();
      one.upstream = choosing.candidates[i].upstream;
      one.usable = choosing.usable(i);
      if (best) one.score = static_cast<double>(raised(choosing, *best) - raised(choosing, i)) / kWeightUnit;
      one.chosen = best == i;
      one.why = "turn by weight";
    }
  }

 private:
  [[nodiscard]] std::int64_t raised(const Choosing& choosing, std::size_t index) const {
    return (index < credit_.size() ? credit_[index] : 0) + choosing.weight(index);
  }
  [[nodiscard]] std::optional<std::size_t> richest(const Choosing& choosing) const {
    std::optional<std::size_t> best;
    for (std::size_t i = 0; i < choosing.candidates.size(); ++i) {
      if (choosing.usable(i) && (!best || raised(choosing, i) > raised(choosing, *best))) best = i;
    }
    return best;
  }

  std::vector<std::int64_t> credit_;
};

}  // namespace

std::unique_ptr<Policy> make_round_robin() {
  return std::make_unique<RoundRobin>();
}

}  // namespace dao::align

// Smooth weighted round robin: in every sum-of-weights choices each upstream is chosen `weight` times, spread as evenly
// as can be. Every choice raises each candidate's credit by its weight and takes the total from the richest.
#include <vector>

#include "dao/align/policy.h"

namespace dao::align {

namespace {

class RoundRobin final : public Policy {
 public:
  std::optional<std::size_t> choose(std::span<const Candidate> candidates, const sense::InFlight&, Random&) override {
    if (credit_.size() != candidates.size()) credit_.assign(candidates.size(), 0);
    std::optional<std::size_t> best;
    std::int64_t total = 0;
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      if (!candidates[i].usable) continue;
      credit_[i] += candidates[i].weight;
      total += candidates[i].weight;
      if (!best || credit_[i] > credit_[*best]) best = i;
    }
    if (best) credit_[*best] -= total;
    return best;
  }

 private:
  std::vector<std::int64_t> credit_;
};

}  // namespace

std::unique_ptr<Policy> make_round_robin() {
  return std::make_unique<RoundRobin>();
}

}  // namespace dao::align

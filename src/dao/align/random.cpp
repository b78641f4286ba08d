// Each upstream with a probability in proportion to its weight.
#include "dao/align/policy.h"

namespace dao::align {

namespace {

class RandomPolicy final : public Policy {
 public:
  std::optional<std::size_t> choose(std::span<const Candidate> candidates, const sense::InFlight&,
                                    Random& random) override {
    std::uint64_t total = 0;
    for (const Candidate& candidate : candidates) {
      if (candidate.usable) total += candidate.weight;
    }
    if (total == 0) return std::nullopt;
    std::uint64_t ticket = random.below(total);
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      if (!candidates[i].usable) continue;
      if (ticket < candidates[i].weight) return i;
      ticket -= candidates[i].weight;
    }
    return std::nullopt;
  }
};

}  // namespace

std::unique_ptr<Policy> make_random() {
  return std::make_unique<RandomPolicy>();
}

}  // namespace dao::align

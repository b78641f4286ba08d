// Each upstream with a probability in proportion to its weight.
#include "dao/align/policy.h"

namespace dao::align {

namespace {

class RandomPolicy final : public Policy {
 public:
  std::optional<std::size_t> choose(const Choosing& choosing) override { return drawn(choosing, choosing.random); }

  void explain(const Choosing& choosing, std::vector<Explained>& into) const override {
    Random same = choosing.random;
    const std::optional<std::size_t> next = drawn(choosing, same);
    into.clear();
    for (std::size_t i = 0; i < choosing.candidates.size(); ++i) {
      Explained& one = into.emplace_back();
      one.upstream = choosing.candidates[i].upstream;
      one.usable = choosing.usable(i);
      one.chosen = next == i;
      one.why = "drawn by weight";
    }
  }

 private:
  static std::optional<std::size_t> drawn(const Choosing& choosing, Random& random) {
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < choosing.candidates.size(); ++i) {
      if (choosing.usable(i)) total += choosing.weight(i);
    }
    if (total == 0) return std::nullopt;
    std::uint64_t ticket = random.below(total);
    for (std::size_t i = 0; i < choosing.candidates.size(); ++i) {
      if (!choosing.usable(i)) continue;
      if (ticket < choosing.weight(i)) return i;
      ticket -= choosing.weight(i);
    }
    return std::nullopt;
  }
};

}  // namespace

std::unique_ptr<Policy> make_random() {
  return std::make_unique<RandomPolicy>();
}

}  // namespace dao::align

#include "dao/align/two_candidates.h"

namespace dao::align {

std::optional<TwoCandidates::Drawn> TwoCandidates::draw(const Choosing& choosing, Random& random) const {
  const std::optional<std::size_t> first = one(choosing, random, std::nullopt);
  if (!first) return std::nullopt;
  return Drawn{.first = *first, .second = one(choosing, random, first)};
}

std::optional<std::size_t> TwoCandidates::one(const Choosing& choosing, Random& random,
                                              std::optional<std::size_t> but) const {
  if (choosing.candidates.empty()) return std::nullopt;
  constexpr int kTries = 6;
  const int tries = choosing.candidates.size() == (but ? 1U : 0U) ? 0 : kTries;
  for (int i = 0; i < tries; ++i) {
    const std::size_t drawn = draw_.draw(random);
    if (drawn == but || !choosing.usable(drawn)) continue;
    // The table has whole weights; who is on a ramp is turned down as often as its weight is short.
    if (choosing.slow_start != Nanoseconds::zero()) {
      const std::uint64_t whole = std::uint64_t{choosing.candidates[drawn].weight} * kWeightUnit;
      if (random.below(whole) >= choosing.weight(drawn)) continue;
    }
    return drawn;
  }
  // Few are usable, or this is the only one, or a heavy one was drawn again and again.
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < choosing.candidates.size(); ++i) {
    if (i != but && choosing.usable(i)) total += choosing.weight(i);
  }
  if (total == 0) return std::nullopt;
  std::uint64_t ticket = random.below(total);
  for (std::size_t i = 0; i < choosing.candidates.size(); ++i) {
    if (i == but || !choosing.usable(i)) continue;
    const std::uint32_t weight = choosing.weight(i);
    if (ticket < weight) return i;
    ticket -= weight;
  }
  return std::nullopt;
}

}  // namespace dao::align

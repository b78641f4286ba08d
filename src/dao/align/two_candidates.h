// Two different usable candidates at random, by weight: what the policies of two choices compare.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "dao/align/policy.h"
#include "dao/align/weighted_draw.h"

namespace dao::align {

class TwoCandidates {
 public:
  struct Drawn {
    std::size_t first;
    std::optional<std::size_t> second;  // nothing if only one is usable
  };

  void prepare(std::span<const Candidate> candidates) { draw_.prepare(candidates); }
  // For so many candidates as there are now.
  [[nodiscard]] bool prepared(std::span<const Candidate> candidates) const { return draw_.size() == candidates.size(); }
  // Nothing if nobody is usable. `random` may be a copy of choosing.random, to know without drawing. Constant time
  // while most candidates are usable, else one walk over all.
  [[nodiscard]] std::optional<Drawn> draw(const Choosing& choosing, Random& random) const;

 private:
  [[nodiscard]] std::optional<std::size_t> one(const Choosing& choosing, Random& random,
                                               std::optional<std::size_t> but) const;
  WeightedDraw draw_;
};

}  // namespace dao::align

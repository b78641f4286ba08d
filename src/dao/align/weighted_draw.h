// Draws from many by weight in constant time: the alias method (Walker 1977; table made as in Vose 1991).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dao/align/policy.h"
#include "dao/base/random.h"

namespace dao::align {

class WeightedDraw {
 public:
  // Allocates. Weights are at least 1.
  void prepare(std::span<const Candidate> candidates);
  [[nodiscard]] std::size_t size() const { return cells_.size(); }

  // size() > 0.
  [[nodiscard]] std::size_t draw(Random& random) const {
    const Uint128 ticket = static_cast<Uint128>(random.next()) * cells_.size();
    const auto index = static_cast<std::size_t>(ticket >> 64U);
    const Cell& cell = cells_[index];
    return static_cast<std::uint32_t>(ticket >> 32U) < cell.below ? index : cell.otherwise;
  }

 private:
  struct Cell {
    std::uint32_t below;      // of 2^32: up to here its own
    std::uint32_t otherwise;  // whose the rest is
  };
  std::vector<Cell> cells_;
};

}  // namespace dao::align

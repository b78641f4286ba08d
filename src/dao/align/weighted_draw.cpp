#include "dao/align/weighted_draw.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace dao::align {

void WeightedDraw::prepare(std::span<const Candidate> candidates) {
  constexpr auto kAll = std::numeric_limits<std::uint32_t>::max();
  double sum = 0;
  for (const Candidate& candidate : candidates) sum += candidate.weight;
  const std::size_t count = candidates.size();
  std::vector<double> left(count);  // in units of the mean: how much of each is not in a cell yet
  std::vector<std::uint32_t> small;
  std::vector<std::uint32_t> large;
  for (std::uint32_t i = 0; i < count; ++i) {
    left[i] = candidates[i].weight * static_cast<double>(count) / sum;
    (left[i] < 1 ? small : large).push_back(i);
  }
  cells_.assign(count, {});
  for (std::uint32_t i = 0; i < count; ++i) cells_[i] = {kAll, i};
  while (!small.empty() && !large.empty()) {
    const std::uint32_t little = small.back();
    const std::uint32_t much = large.back();
    small.pop_back();
    cells_[little] = {static_cast<std::uint32_t>(std::lround(left[little] * kAll)), much};
    left[much] -= 1 - left[little];
    if (left[much] >= 1) continue;
    large.pop_back();
    small.push_back(much);
  }
}

}  // namespace dao::align

#include "dao/align/hash_ring.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "dao/align/stable_hash.h"

namespace dao::align {

void HashRing::prepare(std::span<const Candidate> candidates) {
  candidates_ = candidates.size();
  points_.clear();
  std::uint32_t common = 0;
  std::uint64_t weights = 0;
  for (const Candidate& candidate : candidates) {
    common = std::gcd(common, candidate.weight);
    weights += candidate.weight;
  }
  if (candidates.empty()) return;
  // Halved, so that those that stay are a part of those there were.
  std::uint64_t points = kPoints;
  std::uint64_t per = common;
  while (points > 1 && weights * points / per > kMostPoints) points /= 2;
  while (weights * points / per > kMostPoints && weights / per > candidates.size()) per *= 2;
  for (std::uint32_t i = 0; i < candidates.size(); ++i) {
    const std::uint64_t identity =
        candidates[i].identity != 0 ? candidates[i].identity : mixed(candidates[i].upstream + 1);
    const std::uint64_t count = std::max<std::uint64_t>(candidates[i].weight * points / per, 1);
    for (std::uint64_t n = 0; n < count; ++n) {
      const std::uint64_t hash = mixed(identity + n * 0x9e3779b97f4a7c15U);
      points_.push_back({.place = static_cast<std::uint32_t>(hash >> 32U), .candidate = i});
    }
  }
  std::ranges::sort(points_, {},
                    [](const Point& point) { return std::uint64_t{point.place} << 32U | point.candidate; });
  const unsigned bits = std::max(1U, static_cast<unsigned>(std::bit_width(points_.size())));
  shift_ = 32 - bits;
  starts_.assign(std::size_t{1} << bits, 0);
  std::size_t point = 0;
  for (std::size_t i = 0; i < starts_.size(); ++i) {
    while (point < points_.size() && points_[point].place >> shift_ < i) ++point;
    starts_[i] = static_cast<std::uint32_t>(point);
  }
}

}  // namespace dao::align

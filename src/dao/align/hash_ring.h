// Where keys belong: each candidate has points on a ring of hashes, in proportion to its weight, and a key belongs to
// the candidate of the next point (Karger et al., "Consistent Hashing and Random Trees", 1997). A candidate's points
// come from its identity alone, so when one joins or leaves, only keys of its own move.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dao/align/policy.h"

namespace dao::align {

class HashRing {
 public:
  // Points of a candidate of the smallest weight, if the weights are multiples of it; fewer where all together would be
  // more than kMostPoints. More points share the keys out more evenly: within about 1 / sqrt(points).
  static constexpr std::uint32_t kPoints = 128;
  static constexpr std::size_t kMostPoints = 1U << 17U;

  // Allocates, and sorts all points. At most 2^32 candidates.
  void prepare(std::span<const Candidate> candidates);
  [[nodiscard]] std::size_t size() const { return candidates_; }
  [[nodiscard]] std::size_t points() const { return points_.size(); }

  // The first point at or after the key's place; points() > 0. Constant time.
  [[nodiscard]] std::size_t find(std::uint64_t key) const {
    const auto place = static_cast<std::uint32_t>(key >> 32U);
    std::size_t point = starts_[place >> shift_];
    while (point < points_.size() && points_[point].place < place) ++point;
    return point == points_.size() ? 0 : point;
  }
  [[nodiscard]] std::size_t after(std::size_t point) const { return point + 1 == points_.size() ? 0 : point + 1; }
  [[nodiscard]] std::size_t candidate(std::size_t point) const { return points_[point].candidate; }

 private:
  struct Point {
    std::uint32_t place;
    std::uint32_t candidate;
  };
  std::vector<Point> points_;          // in order of place
  std::vector<std::uint32_t> starts_;  // by the first bits of a place: the first point that is not before them
  unsigned shift_ = 31;
  std::size_t candidates_ = 0;
};

}  // namespace dao::align

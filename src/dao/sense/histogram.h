// Durations counted in fixed buckets: OpenTelemetry's boundaries for HTTP durations (0.005 ... 10 s), continued
// downwards to 0.1 ms so that a proxy's own share can be read. A bucket holds what is above the bound before it and at
// or below its own, as Prometheus' `le` means it. Single writer, any reader (counter.h).
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "dao/base/counter.h"

namespace dao::sense {

inline constexpr std::array<std::uint64_t, 19> kBucketBounds = {  // nanoseconds
    100'000,       250'000,       500'000,       1'000'000,     2'500'000,     5'000'000,   10'000'000,
    25'000'000,    50'000'000,    75'000'000,    100'000'000,   250'000'000,   500'000'000, 750'000'000,
    1'000'000'000, 2'500'000'000, 5'000'000'000, 7'500'000'000, 10'000'000'000};
// The last bucket has no bound.
inline constexpr std::size_t kBuckets = kBucketBounds.size() + 1;

namespace detail {

// For each bit width of a duration, the number of bounds below every duration of that width.
consteval std::array<std::uint8_t, 65> first_bucket_by_width() {
  std::array<std::uint8_t, 65> first{};
  for (std::size_t width = 1; width <= 64; ++width) {
    const std::uint64_t smallest = std::uint64_t{1} << (width - 1);
    for (const std::uint64_t bound : kBucketBounds) first[width] += bound < smallest ? 1 : 0;
  }
  return first;
}
inline constexpr auto kFirstBucket = first_bucket_by_width();

// Two steps from that one reach every bucket: no power of two holds more than two bounds.
consteval bool two_steps_are_enough() {
  for (std::size_t width = 1; width < 64; ++width) {
    if (kFirstBucket[width + 1] - kFirstBucket[width] > 2) return false;
  }
  return true;
}
static_assert(two_steps_are_enough());

// The bounds, and two behind them that nothing exceeds.
inline constexpr auto kPaddedBounds = [] {
  std::array<std::uint64_t, kBucketBounds.size() + 2> padded{};
  padded.fill(~std::uint64_t{0});
  for (std::size_t i = 0; i < kBucketBounds.size(); ++i) padded[i] = kBucketBounds[i];
  return padded;
}();

}  // namespace detail

// The bucket of a duration, without a branch.
constexpr std::size_t bucket_of(std::uint64_t nanoseconds) {
  const std::size_t first = detail::kFirstBucket[static_cast<std::size_t>(std::bit_width(nanoseconds))];
  const std::size_t second = first + (nanoseconds > detail::kPaddedBounds[first] ? 1 : 0);
  return second + (nanoseconds > detail::kPaddedBounds[second] ? 1 : 0);
}

class Histogram {
 public:
  void record(std::uint64_t nanoseconds) {
    buckets_[bucket_of(nanoseconds)].add();
    sum_.add(nanoseconds);
  }
  void add(const Histogram& other) {
    for (std::size_t i = 0; i < kBuckets; ++i) buckets_[i].add(other.buckets_[i].value());
    sum_.add(other.sum_.value());
  }
  void clear() {
    for (Counter& bucket : buckets_) bucket.clear();
    sum_.clear();
  }

  // How many fell into one bucket alone (not cumulative).
  [[nodiscard]] std::uint64_t in_bucket(std::size_t index) const { return buckets_[index].value(); }
  [[nodiscard]] std::uint64_t sum_nanoseconds() const { return sum_.value(); }

 private:
  std::array<Counter, kBuckets> buckets_;
  Counter sum_;
};

}  // namespace dao::sense

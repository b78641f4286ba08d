// Counts of durations in log-linear buckets: 64 of equal width in each octave of nanoseconds, from 1 us to 18 min (what
// is shorter or longer counts as the first or the last). A quantile is told as the middle of its bucket, so it is off
// by at most half a bucket: 1/128 of the exact value, that is below 1 %.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace dao::sense {

inline constexpr unsigned kLogSubBucketBits = 6;
inline constexpr unsigned kLogFirstOctave = 10;  // 2^10 ns
inline constexpr unsigned kLogLastOctave = 39;   // up to 2^40 ns
inline constexpr std::size_t kLogSubBuckets = std::size_t{1} << kLogSubBucketBits;
inline constexpr std::size_t kLogOctaves = kLogLastOctave - kLogFirstOctave + 1;
inline constexpr std::size_t kLogBuckets = kLogOctaves * kLogSubBuckets;

// The bucket of a duration, without a branch.
constexpr std::uint16_t log_bucket_of(std::uint64_t nanoseconds) {
  constexpr std::uint64_t kFirst = std::uint64_t{1} << kLogFirstOctave;
  constexpr std::uint64_t kLast = (std::uint64_t{1} << (kLogLastOctave + 1)) - 1;
  const std::uint64_t value = std::clamp(nanoseconds, kFirst, kLast);
  const auto octave = static_cast<unsigned>(std::bit_width(value)) - 1;
  const std::uint64_t sub = (value >> (octave - kLogSubBucketBits)) & (kLogSubBuckets - 1);
  return static_cast<std::uint16_t>(((octave - kLogFirstOctave) << kLogSubBucketBits) + sub);
}

// The middle of a bucket, in nanoseconds.
constexpr std::uint64_t log_bucket_middle(std::size_t bucket) {
  const std::size_t octave = kLogFirstOctave + (bucket >> kLogSubBucketBits);
  const std::uint64_t width = std::uint64_t{1} << (octave - kLogSubBucketBits);
  return (kLogSubBuckets + (bucket & (kLogSubBuckets - 1))) * width + width / 2;
}

// One thread. Memory only for the octaves that hold something (256 bytes each).
class LogHistogram {
 public:
  void add(std::uint16_t bucket, std::uint32_t count = 1) {
    const std::size_t octave = bucket >> kLogSubBucketBits;
    if (!octaves_[octave]) octaves_[octave] = std::make_unique<Octave>();
    (*octaves_[octave])[bucket & (kLogSubBuckets - 1)] += count;
    totals_[octave] += count;
    count_ += count;
    sum_ += count * log_bucket_middle(bucket);
  }
  // Takes back what was added.
  void remove(std::uint16_t bucket, std::uint32_t count) {
    const std::size_t octave = bucket >> kLogSubBucketBits;
    (*octaves_[octave])[bucket & (kLogSubBuckets - 1)] -= count;
    totals_[octave] -= count;
    if (totals_[octave] == 0) octaves_[octave].reset();
    count_ -= count;
    sum_ -= count * log_bucket_middle(bucket);
  }
  void clear() { *this = LogHistogram(); }

  [[nodiscard]] std::uint64_t count() const { return count_; }
  // 0 when empty.
  [[nodiscard]] double mean_nanoseconds() const {
    return count_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(count_);
  }
  // The smallest duration that at least `share` (0..1) of all do not exceed: the nearest rank. 0 when empty.
  [[nodiscard]] double quantile_nanoseconds(double share) const {
    if (count_ == 0) return 0;
    auto rank = static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(count_)));
    rank = std::clamp<std::uint64_t>(rank, 1, count_);
    std::size_t octave = 0;
    while (rank > totals_[octave]) rank -= totals_[octave++];
    std::size_t sub = 0;
    while (rank > (*octaves_[octave])[sub]) rank -= (*octaves_[octave])[sub++];
    return static_cast<double>(log_bucket_middle((octave << kLogSubBucketBits) + sub));
  }

 private:
  using Octave = std::array<std::uint32_t, kLogSubBuckets>;
  std::array<std::unique_ptr<Octave>, kLogOctaves> octaves_;
  std::array<std::uint64_t, kLogOctaves> totals_{};
  std::uint64_t count_ = 0;
  std::uint64_t sum_ = 0;  // of the middles
};

}  // namespace dao::sense

// Latencies counted in buckets that are at most 1/256 of their value wide, so a quantile is right to 0.2 %. The mean
// and the largest are exact.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace dao::simulate {

class LatencyRecord {
 public:
  void add(std::uint64_t nanoseconds) {
    ++buckets_[bucket_of(nanoseconds)];
    ++count_;
    sum_ += static_cast<double>(nanoseconds);
    max_ = std::max(max_, nanoseconds);
  }

  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] double mean_ms() const { return count_ == 0 ? 0 : sum_ / static_cast<double>(count_) * 1e-6; }
  [[nodiscard]] double max_ms() const { return static_cast<double>(max_) * 1e-6; }
  // The smallest value that at least the share `quantile` of all does not exceed; 0 without any.
  [[nodiscard]] double quantile_ms(double quantile) const {
    const double wanted = quantile * static_cast<double>(count_);
    double seen = 0;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      seen += static_cast<double>(buckets_[i]);
      if (buckets_[i] != 0 && seen >= wanted) return std::min(middle_of(i) * 1e-6, max_ms());
    }
    return max_ms();
  }

 private:
  static constexpr unsigned kBits = 8;  // of a value behind its leading one
  static constexpr std::size_t kEach = std::size_t{1} << kBits;

  static std::size_t bucket_of(std::uint64_t value) {
    const auto width = static_cast<unsigned>(std::bit_width(value));
    if (width <= kBits + 1) return static_cast<std::size_t>(value);
    const unsigned shift = width - kBits - 1;
    return (std::size_t{shift} << kBits) + static_cast<std::size_t>(value >> shift);
  }
  static double middle_of(std::size_t bucket) {
    if (bucket < 2 * kEach) return static_cast<double>(bucket);
    const auto shift = static_cast<unsigned>((bucket >> kBits) - 1);
    const std::uint64_t low = (kEach + (bucket & (kEach - 1))) << shift;
    return static_cast<double>(low) + static_cast<double>(std::uint64_t{1} << shift) / 2;
  }

  std::vector<std::uint64_t> buckets_ = std::vector<std::uint64_t>((64 - kBits + 1) * kEach);
  std::uint64_t count_ = 0;
  std::uint64_t max_ = 0;
  double sum_ = 0;
};

}  // namespace dao::simulate

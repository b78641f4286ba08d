// Latency histogram of the load generator: log-linear, 128 buckets per power of two, so a reported quantile is at most
// 1/128 (0.8 %) above the true sample. Values are nanoseconds, 0 up to 2^40 (18 minutes); larger ones land in the last
// bucket. One thread.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace dao::bench {

class Histogram {
 public:
  void record(std::uint64_t ns) {
    ++counts_[index_of(ns)];
    ++total_;
    sum_ += ns;
    max_ = std::max(max_, ns);
  }

  [[nodiscard]] std::uint64_t count() const { return total_; }
  [[nodiscard]] std::uint64_t max_ns() const { return max_; }
  [[nodiscard]] double mean_ns() const {
    return total_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(total_);
  }

  // The smallest bucket limit that at least `quantile` (0..1) of the samples do not exceed; 0 without samples.
  [[nodiscard]] std::uint64_t quantile_ns(double quantile) const {
    if (total_ == 0) return 0;
    const auto wanted =
        std::max<std::uint64_t>(1, static_cast<std::uint64_t>(quantile * static_cast<double>(total_) + 0.5));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (seen >= wanted) return std::min(upper_limit(i), max_);
    }
    return max_;
  }

 private:
  static constexpr int kSubBits = 7;
  static constexpr std::uint64_t kSub = 1U << kSubBits;
  static constexpr int kTopBit = 40;
  static constexpr std::size_t kBuckets = (kTopBit - kSubBits + 1) * kSub;

  // Below kSub every value has its own bucket; above, the top kSubBits bits after the leading one choose it.
  static std::size_t index_of(std::uint64_t ns) {
    if (ns < kSub) return ns;
    const int shift = static_cast<int>(std::bit_width(ns)) - 1 - kSubBits;
    return std::min<std::size_t>((static_cast<std::size_t>(shift) + 1) * kSub + ((ns >> shift) - kSub), kBuckets - 1);
  }
  static std::uint64_t upper_limit(std::size_t index) {
    if (index < kSub) return index;
    const auto shift = index / kSub - 1;
    return ((kSub + index % kSub + 1) << shift) - 1;
  }

  std::vector<std::uint64_t> counts_ = std::vector<std::uint64_t>(kBuckets, 0);
  std::uint64_t total_ = 0;
  std::uint64_t sum_ = 0;
  std::uint64_t max_ = 0;
};

}  // namespace dao::bench

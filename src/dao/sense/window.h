// What happened in the last 60 seconds, in slices of one second: the open one and the 59 before it. Time is told as the
// number of the second since some start. One thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "dao/sense/log_histogram.h"

namespace dao::sense {

class Window {
 public:
  static constexpr std::int64_t kSlices = 60;
  // Rates are of this many whole seconds and the open one.
  static constexpr std::int64_t kRateSlices = 5;

  explicit Window(std::int64_t second) : second_(second) {}

  // Closes the open slice if `second` is a later one, and forgets what is too old.
  void advance(std::int64_t second);
  // Into the open slice.
  void count(std::uint32_t requests, std::uint32_t failures) {
    requests_[slot(second_)] += requests;
    failures_[slot(second_)] += failures;
    requests_sum_ += requests;
    failures_sum_ += failures;
  }
  void add_duration(std::uint16_t bucket) {
    open_.push_back(bucket);
    durations_.add(bucket);
  }

  [[nodiscard]] bool empty() const { return requests_sum_ == 0 && durations_.count() == 0; }
  [[nodiscard]] std::uint64_t requests() const { return requests_sum_; }
  [[nodiscard]] std::uint64_t failures() const { return failures_sum_; }
  // `ago` seconds before the open one, < kSlices.
  [[nodiscard]] std::uint64_t requests_in_slice(std::int64_t ago) const { return requests_[slot(second_ - ago)]; }
  [[nodiscard]] const LogHistogram& durations() const { return durations_; }
  // Failed requests of all, 0..1.
  [[nodiscard]] double error_rate() const {
    return requests_sum_ == 0 ? 0 : static_cast<double>(failures_sum_) / static_cast<double>(requests_sum_);
  }
  // Requests per second over the last five whole seconds and the open one; `elapsed`: since the start, in seconds.
  // Before a first second has passed, as if it had.
  [[nodiscard]] double rate(double elapsed) const;
  // The coefficient of variation of the requests per second over the whole seconds of the window, without what chance
  // alone makes of a steady rate: sqrt(variance - mean) / mean, since Poisson arrivals have variance = mean. 0: steady,
  // or fewer than five whole seconds since the start.
  [[nodiscard]] double spikiness() const;

 private:
  struct Entry {
    std::uint32_t count = 0;
    std::uint16_t bucket = 0;
    std::uint16_t second = 0;  // its last 16 bits
  };
  static std::size_t slot(std::int64_t second) { return static_cast<std::size_t>(second) % kSlices; }
  void close_open_slice();
  void forget_oldest_slice();

  std::int64_t second_;
  std::array<std::uint32_t, kSlices> requests_{};
  std::array<std::uint32_t, kSlices> failures_{};
  std::uint64_t requests_sum_ = 0;
  std::uint64_t failures_sum_ = 0;
  std::vector<std::uint16_t> open_;  // the buckets as they came
  std::vector<Entry> closed_;        // oldest first
  std::size_t first_ = 0;            // of closed_, those before are gone
  LogHistogram durations_;           // of open_ and closed_
};

}  // namespace dao::sense

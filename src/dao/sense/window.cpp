#include "dao/sense/window.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace dao::sense {

void Window::advance(std::int64_t second) {
  if (second <= second_) return;
  if (second - second_ >= kSlices) {
    *this = Window(second);
    return;
  }
  close_open_slice();
  while (second_ < second) {
    ++second_;
    forget_oldest_slice();
  }
  if (first_ > closed_.size() / 2) {
    closed_.erase(closed_.begin(), closed_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }
}

void Window::close_open_slice() {
  std::ranges::sort(open_);
  for (std::size_t i = 0; i < open_.size();) {
    std::size_t end = i + 1;
    while (end < open_.size() && open_[end] == open_[i]) ++end;
    closed_.push_back({.count = static_cast<std::uint32_t>(end - i),
                       .bucket = open_[i],
                       .second = static_cast<std::uint16_t>(second_)});
    i = end;
  }
  open_.clear();
}

// Its place is that of the open one.
void Window::forget_oldest_slice() {
  requests_sum_ -= std::exchange(requests_[slot(second_)], 0);
  failures_sum_ -= std::exchange(failures_[slot(second_)], 0);
  const auto oldest = static_cast<std::uint16_t>(second_ - kSlices);
  while (first_ < closed_.size() && closed_[first_].second == oldest) {
    durations_.remove(closed_[first_].bucket, closed_[first_].count);
    ++first_;
  }
}

double Window::rate(double elapsed) const {
  const std::int64_t whole = std::min(kRateSlices, second_);
  std::uint64_t counted = 0;
  for (std::int64_t ago = 0; ago <= whole; ++ago) counted += requests_in_slice(ago);
  const double seconds = static_cast<double>(whole) + (elapsed - static_cast<double>(second_));
  return static_cast<double>(counted) / std::max(1.0, seconds);
}

double Window::spikiness() const {
  constexpr std::int64_t kEnough = 5;
  const std::int64_t whole = std::min(kSlices - 1, second_);
  if (whole < kEnough) return 0;
  double sum = 0;
  double squares = 0;
  for (std::int64_t ago = 1; ago <= whole; ++ago) {
    const auto requests = static_cast<double>(requests_in_slice(ago));
    sum += requests;
    squares += requests * requests;
  }
  if (sum == 0) return 0;
  const auto count = static_cast<double>(whole);
  const double mean = sum / count;
  const double variance = (squares - sum * mean) / (count - 1);
  return std::sqrt(std::max(0.0, variance - mean)) / mean;
}

}  // namespace dao::sense

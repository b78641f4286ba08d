// What a route has learned of itself: figures that follow slowly, told once in each second with traffic. In the first
// seconds they are the (geometric) mean of what was told; later they rise by 1/600 of the distance each time and fall
// by 1/60: what gets worse stays a deviation for minutes, what was learned in a bad hour is soon forgotten.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace dao::sense {

// On the scale of log(floor + value): twice as much counts the same at every height well above the floor.
class Typical {
 public:
  // What is worth keeping over a restart: the value, and in how many seconds it was learned.
  struct State {
    double value = 0;
    std::uint64_t told = 0;
  };

  explicit Typical(double floor) : floor_(floor) {}

  void learn(double value) {
    constexpr double kRise = 1 / kRiseSeconds;
    constexpr double kFall = 1.0 / 60;
    const double told = std::log(floor_ + std::max(0.0, value));
    const double step = std::max(1.0 / static_cast<double>(++told_), told > learned_ ? kRise : kFall);
    learned_ += step * (told - learned_);
  }
  // 0 before the first.
  [[nodiscard]] double value() const { return told_ == 0 ? 0 : std::max(0.0, std::exp(learned_) - floor_); }

  [[nodiscard]] State save() const { return {.value = value(), .told = told_}; }
  // The start, before anything is learned; later it does nothing. `weight`, 0..1: how far it is to be believed. It
  // counts as that share of its seconds (of the last kRiseSeconds), against each second that is told from now on.
  void restore(const State& state, double weight) {
    if (told_ > 0) return;
    const double seconds = std::min(static_cast<double>(state.told), kRiseSeconds) * std::clamp(weight, 0.0, 1.0);
    if (seconds < 1) return;
    told_ = static_cast<std::uint64_t>(seconds);
    learned_ = std::log(floor_ + std::max(0.0, state.value));
  }

 private:
  static constexpr double kRiseSeconds = 600;

  double floor_;
  double learned_ = 0;
  std::uint64_t told_ = 0;
};

// The middle one, of an even number the lower: half of the upstreams may go wrong and it does not move. 0 of none.
inline double lower_median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

}  // namespace dao::sense

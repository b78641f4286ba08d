// What a route has learned of itself: figures that follow slowly, told once in each second with traffic. In the first
// seconds they are the (geometric) mean of what was told; later they rise by 1/600 of the distance each time and fall
// by 1/60: what gets worse stays a deviation for minutes, what was learned in a bad hour is soon forgotten.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace dao::sense {

// On the scale of log(floor + value): twice as much counts the same at every height well above the floor.
class Typical {
 public:
  explicit Typical(double floor) : floor_(floor) {}

  void learn(double value) {
    constexpr double kRise = 1.0 / 600;
    constexpr double kFall = 1.0 / 60;
    const double told = std::log(floor_ + std::max(0.0, value));
    const double step = std::max(1.0 / static_cast<double>(++told_), told > learned_ ? kRise : kFall);
    learned_ += step * (told - learned_);
  }
  // 0 before the first.
  [[nodiscard]] double value() const { return told_ == 0 ? 0 : std::max(0.0, std::exp(learned_) - floor_); }

 private:
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

// When the requests of an open load are due. One thread.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>

namespace dao::bench {

class Arrivals {
 public:
  // `poisson`: gaps are exponential with the mean 1/rate, the same for the same seed; else all alike.
  Arrivals(double rate, bool poisson, std::uint64_t seed) : gap_ns_(1e9 / rate), poisson_(poisson), random_(seed) {}

  // Nanoseconds from the start; ascending. The first of a fixed rate is 0.
  std::int64_t next() {
    if (poisson_) {
      // Not std::exponential_distribution, whose numbers differ between standard libraries.
      constexpr double kUnit = 0x1p-53;
      at_ns_ -= gap_ns_ * std::log1p(-static_cast<double>(random_() >> 11U) * kUnit);
      return static_cast<std::int64_t>(at_ns_);
    }
    return static_cast<std::int64_t>(static_cast<double>(count_++) * gap_ns_);
  }

 private:
  double gap_ns_;
  bool poisson_;
  std::mt19937_64 random_;
  double at_ns_ = 0;
  std::uint64_t count_ = 0;
};

}  // namespace dao::bench

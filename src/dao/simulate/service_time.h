// How long serving a request takes: distributions by their mean.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

#include "dao/base/random.h"

namespace dao::simulate {

enum class Distribution : std::uint8_t { exponential, constant, lognormal, pareto };

struct ServiceTime {
  Distribution distribution = Distribution::exponential;
  double mean_seconds = 0.01;
  double sigma = 1;    // lognormal: standard deviation of the logarithm
  double shape = 2.5;  // pareto: the exponent of the tail, above 1

  [[nodiscard]] double sample(Random& random) const {
    const double uniform = 1 - random.unit();  // (0, 1]
    switch (distribution) {
      case Distribution::exponential:
        return -mean_seconds * std::log(uniform);
      case Distribution::constant:
        return mean_seconds;
      case Distribution::lognormal: {
        // Box and Muller, 1958.
        const double normal = std::sqrt(-2 * std::log(uniform)) * std::cos(2 * std::numbers::pi * random.unit());
        return mean_seconds * std::exp(sigma * normal - sigma * sigma / 2);
      }
      case Distribution::pareto:
        return mean_seconds * (shape - 1) / shape * std::pow(uniform, -1 / shape);
    }
    return mean_seconds;
  }
};

}  // namespace dao::simulate

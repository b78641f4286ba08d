// Evidence that one side is worse, which may be looked at as often as one likes: an e-value, "so many times likelier if
// it is worse than if it is not". If it is not, it ever reaches 1/a with a chance of at most a (Ville's inequality), so
// whoever acts at 100 acts wrongly in one of 100 cases, however often he looks.
//
// The mixture of Robbins ("Statistical methods related to the law of the iterated logarithm", 1970), one-sided, with a
// half-normal weight on how much worse it may be; used for experiments that are watched as they run by Johari, Pekelis,
// Walsh ("Always valid inference: continuous monitoring of A/B tests", 2022) and for software being rolled out by
// Lindon, Sanden, Shirikian ("Rapid regression detection in software deployments through sequential testing", 2022).
// The variance is estimated from the data, as in Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas ("Time-uniform central
// limit theory and asymptotic confidence sequences", 2024). E-values are merged by their mean, whatever their
// dependence (Vovk, Wang: "E-values: calibration, combination and applications", 2021).
#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

namespace dao::liminal {

// The amount of information (requests of the smaller side, about) at which the mixture is sharpest: it is made for
// differences of 1/sqrt of this, in standard deviations of one request.
inline constexpr double kSharpestAt = 50;

// `sum`: what should be near 0, or below. `variance`: of it. `information`: see above. The natural logarithm of the
// e-value.
inline double log_evidence(double sum, double variance, double information) {
  const double ratio = information / kSharpestAt;
  const double z = variance > 0 ? sum / std::sqrt(variance) : 0;
  const double shrunk = z * std::sqrt(ratio / (1 + ratio));
  // log(2 * Phi(x)), which for x far below 0 is about -x^2 / 2 - log(-x * sqrt(pi / 2)).
  const double log_tail = shrunk > -30 ? std::log(std::erfc(-shrunk / std::numbers::sqrt2))
                                       : -shrunk * shrunk / 2 - std::log(-shrunk * std::sqrt(std::numbers::pi / 2));
  return -std::log1p(ratio) / 2 + shrunk * shrunk / 2 + log_tail;
}

inline double evidence_of(double log_value) {
  return std::exp(std::min(log_value, 690.0));
}

}  // namespace dao::liminal

// The load score of an upstream, 0..10, from three terms of 0..10 each; a small one is better. Every term compares with
// what the route has learned of itself (typical.h), never with a constant: a service of 2 ms and one of 2 s get the
// same marks for the same change. The scale is that of doubling: one point more for twice as much, whatever the unit.
#pragma once

#include <algorithm>
#include <cmath>

#include "dao/sense/view.h"

namespace dao::sense {

// The 95th percentile against the route's typical time: log2(1 + p95 / typical), at most 10. So 1 for as fast as the
// typical attempt, about 2.4 for exponential times at their usual, 10 from 1023 times on. 0 while nothing is known.
inline double latency_term(double p95_ms, double typical_ms) {
  if (typical_ms <= 0) return 0;
  return std::clamp(std::log2(1 + p95_ms / typical_ms), 0.0, 10.0);
}

// The error rate in excess of the route's usual one: log2(1 + 1023 * (rate - usual) / (1 - usual)). So 0 at the usual
// rate, 3.5 for 1 % more than none, 6.7 for 10 %, 10 when all fails.
inline double error_term(double rate, double usual_rate) {
  if (rate <= usual_rate) return 0;  // which also keeps 1 - usual from being 0
  return std::clamp(std::log2(1 + 1023 * (rate - usual_rate) / (1 - usual_rate)), 0.0, 10.0);
}

// The attempts under way against the route's usual number at one upstream, at least one: log2(1 + in flight / usual),
// at most 10. So 0 when idle, 1 at the usual.
inline double queue_term(double in_flight, double usual_in_flight) {
  return std::clamp(std::log2(1 + std::max(0.0, in_flight) / std::max(1.0, usual_in_flight)), 0.0, 10.0);
}

struct LoadTerms {
  double latency = 0;
  double errors = 0;
  double queue = 0;

  // The mean: each has the same say.
  [[nodiscard]] double load_resonance() const { return (latency + errors + queue) / 3; }
};

inline LoadTerms load_terms(const UpstreamView& upstream, const RouteView& route) {
  return {.latency = latency_term(upstream.p95_ms, route.typical_ms),
          .errors = error_term(upstream.error_rate, route.typical_error_rate),
          .queue = queue_term(upstream.in_flight, route.typical_in_flight)};
}

}  // namespace dao::sense

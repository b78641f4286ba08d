#include "dao/simulate/arrivals.h"

#include <numeric>

namespace dao::simulate {

ArrivalProcess::ArrivalProcess(const Scenario& scenario, std::uint64_t seed)
    : arrivals_(scenario.arrivals), rate_(scenario.mean_rate()), random_(seed) {
  if (arrivals_.kind == ArrivalKind::bursts) {
    const double share = arrivals_.burst_seconds / arrivals_.burst_every_seconds;
    calm_rate_ = rate_ / (1 - share + share * arrivals_.burst_factor);
    phase_ends_ = exponential() * (arrivals_.burst_every_seconds - arrivals_.burst_seconds);
  }
  if (arrivals_.kind == ArrivalKind::trace) {
    const double requests = std::accumulate(arrivals_.trace.begin(), arrivals_.trace.end(), 0.0);
    const double seconds = static_cast<double>(arrivals_.trace.size()) * arrivals_.trace_step_seconds;
    trace_scale_ = rate_ * seconds / requests;
  }
}

Time ArrivalProcess::next() {
  switch (arrivals_.kind) {
    case ArrivalKind::poisson:
      now_ += exponential() / rate_;
      break;
    case ArrivalKind::constant:
      now_ += 1 / rate_;
      break;
    case ArrivalKind::bursts:
      now_ = next_of_bursts();
      break;
    case ArrivalKind::trace:
      now_ = next_of_trace();
      if (now_ < 0) return kEndOfTime;
      break;
  }
  return static_cast<Time>(now_ * 1e9);
}

double ArrivalProcess::next_of_bursts() {
  double at = now_;
  for (;;) {
    const double next = at + exponential() / (bursting_ ? calm_rate_ * arrivals_.burst_factor : calm_rate_);
    if (next < phase_ends_) return next;
    // Exponential gaps have no memory: the rest of this one is drawn anew with the new rate.
    at = phase_ends_;
    bursting_ = !bursting_;
    const double mean = bursting_ ? arrivals_.burst_seconds : arrivals_.burst_every_seconds - arrivals_.burst_seconds;
    phase_ends_ += exponential() * mean;
  }
}

double ArrivalProcess::next_of_trace() {
  double at = now_;
  for (; step_ < arrivals_.trace.size(); ++step_) {
    const double ends = static_cast<double>(step_ + 1) * arrivals_.trace_step_seconds;
    const double rate = arrivals_.trace[step_] * trace_scale_ / arrivals_.trace_step_seconds;
    if (rate > 0) {
      const double next = at + exponential() / rate;
      if (next < ends) return next;
    }
    at = ends;
  }
  return -1;
}

}  // namespace dao::simulate

// When requests arrive. A process of its own random numbers, so that every policy meets the same requests.
#pragma once

#include <cstdint>

#include "dao/base/random.h"
#include "dao/simulate/event_queue.h"
#include "dao/simulate/scenario.h"

namespace dao::simulate {

class ArrivalProcess {
 public:
  // The scenario outlives it.
  ArrivalProcess(const Scenario& scenario, std::uint64_t seed);

  // The time of the next request, never before that of the last one; kEndOfTime when a trace has ended.
  Time next();

 private:
  double exponential() { return -std::log(1 - random_.unit()); }
  double next_of_bursts();
  double next_of_trace();

  const Arrivals& arrivals_;
  double rate_;     // mean, per second
  double now_ = 0;  // seconds
  bool bursting_ = false;
  double calm_rate_ = 0;
  double phase_ends_ = 0;
  double trace_scale_ = 1;
  std::size_t step_ = 0;
  Random random_;
};

}  // namespace dao::simulate

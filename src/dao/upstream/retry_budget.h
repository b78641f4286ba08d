// The retry budget: retries may be at most a share of the requests, so that an outage is not made worse by its victims
// (docs/core-invariants.md). A token bucket: every request deposits a fraction, every retry takes one. A trickle per
// second lets a quiet proxy retry too. One worker each; the process' budget is the sum.
#pragma once

#include <algorithm>

#include "dao/base/clock.h"

namespace dao::upstream {

class RetryBudget {
 public:
  // `percent` of requests may be retried, and `min_per_second` in any case. Holds at most ten seconds' trickle plus
  // what ten thousand requests deposit, and starts with one second's trickle.
  RetryBudget(double percent, double min_per_second, Instant now) : tokens_(min_per_second), filled_(now) {
    configure(percent, min_per_second);
  }

  // What is there stays, up to the new bound.
  void configure(double percent, double min_per_second) {
    deposit_ = percent / 100.0;
    per_second_ = min_per_second;
    most_ = 10.0 * min_per_second + 10'000.0 * deposit_;
    tokens_ = std::min(tokens_, most_);
  }

  void request_began() { tokens_ = std::min(most_, tokens_ + deposit_); }
  [[nodiscard]] bool available(Instant now) {
    const double seconds = std::chrono::duration<double>(now - filled_).count();
    filled_ = now;
    tokens_ = std::min(most_, tokens_ + seconds * per_second_);
    return tokens_ >= 1.0;
  }
  // To be called after available() said yes.
  void spend() { tokens_ -= 1.0; }

 private:
  double deposit_ = 0;
  double per_second_ = 0;
  double most_ = 0;
  double tokens_;
  Instant filled_;
};

}  // namespace dao::upstream

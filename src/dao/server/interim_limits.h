// The rate limits of two configurations while one becomes the other: between the old values and the new ones
// (liminal/interpolate.h). Afterwards each limit is again what its own configuration says. One thread at a time.
#pragma once

#include <memory>
#include <vector>

#include "dao/config/config.h"
#include "dao/flow/rate_limit.h"
#include "dao/server/generation.h"

namespace dao::server {

class InterimLimits {
 public:
  InterimLimits(std::shared_ptr<const Generation> before, std::shared_ptr<const Generation> after);
  InterimLimits(const InterimLimits&) = delete;
  InterimLimits& operator=(const InterimLimits&) = delete;

  // `progress`: 0..1. O(limits that differ).
  void set(double progress);
  // Each limit by itself. Requests may be counted by the limits of both sides until no worker is at one of them any
  // more: keep this object until then.
  void end();

 private:
  struct Pair {
    flow::RateLimiter* before = nullptr;  // null: that side has none
    flow::RateLimiter* after = nullptr;
    config::RateLimit limit_before{};
    config::RateLimit limit_after{};
  };

  const std::shared_ptr<const Generation> before_;
  const std::shared_ptr<const Generation> after_;
  std::vector<Pair> pairs_;
};

}  // namespace dao::server

// The rate limit of a rule: which key a request counts for, and what the response says of it. Any thread; all workers
// share one.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "dao/config/filters.h"
#include "dao/flow/facts.h"
#include "dao/flow/gcra.h"
#include "dao/http/head.h"

namespace dao::flow {

class RateLimiter {
 public:
  // `ipv6_prefix`: how many bits of an IPv6 address stand for one client. `seed`: secret.
  RateLimiter(const config::RateLimit& limit, unsigned ipv6_prefix, std::uint64_t seed);

  Admission admit(const Facts& facts, Instant now);
  // It was made for the same.
  [[nodiscard]] bool is_for(const config::RateLimit& limit, unsigned ipv6_prefix) const {
    return limit == limit_ && ipv6_prefix == ipv6_prefix_;
  }
  [[nodiscard]] bool announces() const { return limit_.announce; }
  // RateLimit-Policy: "default";q=100;w=1 (draft-ietf-httpapi-ratelimit-headers-10)
  [[nodiscard]] std::string_view policy() const { return policy_; }

 private:
  [[nodiscard]] std::uint64_t key_of(const Facts& facts) const;

  const config::RateLimit limit_;
  const unsigned ipv6_prefix_;
  const std::uint64_t seed_;
  std::string policy_;
  GcraCell all_;
  std::unique_ptr<GcraTable> by_key_;  // null: Key::route
};

// RateLimit: "default";r=9;t=1, and Retry-After for a refusal; in whole seconds, rounded up.
void announce(const Admission& admission, const RateLimiter& limiter, http::ResponseHead& response);

}  // namespace dao::flow

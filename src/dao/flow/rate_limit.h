// The rate limit of a rule: which key a request counts for, and what the response says of it. Any thread; all workers
// share one.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
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
  // From now on, any thread: what admit() goes by instead of the limit's own rate; nothing: by that again.
  struct Interim {
    double per_second = 0;              // > 0
    double burst = 1;                   // >= 1
    RateLimiter* counted_by = nullptr;  // counts for this one too, by the same keys; null: this one itself
  };
  // While one configuration becomes another. `counted_by` lives until it was replaced and no thread is in admit().
  void go_by(const std::optional<Interim>& interim);
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
  std::atomic<std::uint64_t> cost_;    // the Terms; of two changes at once each may be seen alone
  std::atomic<std::uint64_t> tolerance_;
  std::atomic<RateLimiter*> counted_by_{nullptr};
};

// RateLimit: "default";r=9;t=1, and Retry-After for a refusal; in whole seconds, rounded up.
void announce(const Admission& admission, const RateLimiter& limiter, http::ResponseHead& response);

}  // namespace dao::flow

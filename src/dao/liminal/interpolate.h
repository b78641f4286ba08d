// The numbers that both sides of a transition have in common, at a given progress: between the old value and the new
// one in a straight line. What belongs to one side alone (timeouts, filters, policies) is never between.
//
// Weights: requests are shared out twice, among the sides by the clients' points, and within a side by that side's own
// weights. Together that is the straight line, for every upstream, and the sides still differ in what is compared. So a
// worker leaves the weights of each generation as they are; shares_of() says what comes of it.
//
// Pure functions, any thread. They are called for each new View, not for each request.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "dao/config/config.h"

namespace dao::liminal {

// `progress`: 0..1.
constexpr double interpolated(double before, double after, double progress) {
  return before * (1 - progress) + after * progress;
}
// A limit for which 0 means that there is none. Between none and some there is nothing: the old one stays until the
// transition is finished.
std::uint64_t interpolated_limit(std::uint64_t before, std::uint64_t after, double progress);

// An upstream of a rule that both configurations have, by name; or of one of them.
struct UpstreamShare {
  std::string_view upstream;  // of the configuration that was given
  double share = 0;           // 0..1, of the rule's requests, if its policy goes by weights
};
std::vector<UpstreamShare> shares_of(const config::Config& before, const config::Rule& rule_before,
                                     const config::Config& after, const config::Rule& rule_after, double progress);

// Requests per second, and at once.
struct EffectiveRate {
  double per_second = 0;
  double burst = 0;  // >= 1

  friend bool operator==(const EffectiveRate&, const EffectiveRate&) = default;
};
struct EffectiveRates {
  // Both sides count together, with one limit. Otherwise each side has its own, if it has one; the sum of two limits
  // of a route's requests is the straight line again, as each gets the part that its clients make.
  bool shared = false;
  std::optional<EffectiveRate> before;
  std::optional<EffectiveRate> after;  // the same as `before` if it is shared
};
// Of two rules of the same name.
EffectiveRates effective_rates(const config::RateLimit& before, const config::RateLimit& after, double progress);

// What the process has once, whichever side a request is on. 0 means no limit where it does in the configuration.
struct EffectiveLimits {
  std::uint64_t max_connections = 0;             // Server
  std::uint64_t max_connections_per_client = 0;  // Server
  double retry_budget_percent = 0;               // Proxy
  double retry_budget_min_per_second = 0;

  friend bool operator==(const EffectiveLimits&, const EffectiveLimits&) = default;
};
EffectiveLimits effective_limits(const config::Config& before, const config::Config& after, double progress);

}  // namespace dao::liminal

#include "dao/liminal/interpolate.h"

#include <algorithm>
#include <cmath>

namespace dao::liminal {
namespace {

std::string_view name_at(const config::Config& config, const config::Rule& rule, std::size_t position) {
  return config.upstreams[rule.upstreams[position].index].name;
}

double total_weight(const config::Rule& rule) {
  double total = 0;
  for (const config::RuleUpstream& upstream : rule.upstreams) total += upstream.weight;
  return total;
}

EffectiveRate rate_of(const config::RateLimit& limit) {
  return {.per_second = limit.rps != 0 ? limit.rps : limit.rpm / 60.0, .burst = static_cast<double>(limit.burst)};
}

// What a limit of all requests of a route comes to for the part of the clients that is on its side.
EffectiveRate part_of(const config::RateLimit& limit, double part) {
  // One client of the side must be able to ask at all.
  constexpr double kSmallest = 0.001;
  EffectiveRate rate = rate_of(limit);
  const bool of_each_client =
      limit.key == config::RateLimit::Key::client || limit.key == config::RateLimit::Key::header;
  if (of_each_client) return rate;
  part = std::max(part, kSmallest);
  return {.per_second = rate.per_second * part, .burst = std::max(1.0, rate.burst * part)};
}

}  // namespace

std::uint64_t interpolated_limit(std::uint64_t before, std::uint64_t after, double progress) {
  if (progress >= 1) return after;
  if (before == 0 || after == 0) return before;
  return static_cast<std::uint64_t>(
      std::llround(interpolated(static_cast<double>(before), static_cast<double>(after), progress)));
}

std::vector<UpstreamShare> shares_of(const config::Config& before, const config::Rule& rule_before,
                                     const config::Config& after, const config::Rule& rule_after, double progress) {
  std::vector<UpstreamShare> shares;
  const auto add = [&](std::string_view upstream, double share) {
    const auto known = std::ranges::find(shares, upstream, &UpstreamShare::upstream);
    if (known == shares.end()) {
      shares.push_back({.upstream = upstream, .share = share});
    } else {
      known->share += share;
    }
  };
  const double of_before = total_weight(rule_before);
  const double of_after = total_weight(rule_after);
  for (std::size_t i = 0; i < rule_before.upstreams.size(); ++i) {
    add(name_at(before, rule_before, i), (1 - progress) * rule_before.upstreams[i].weight / of_before);
  }
  for (std::size_t i = 0; i < rule_after.upstreams.size(); ++i) {
    add(name_at(after, rule_after, i), progress * rule_after.upstreams[i].weight / of_after);
  }
  return shares;
}

EffectiveRates effective_rates(const config::RateLimit& before, const config::RateLimit& after, double progress) {
  EffectiveRates rates;
  const bool same_key = before.key == after.key && before.header == after.header;
  if (before.on() && after.on() && same_key) {
    const EffectiveRate from = rate_of(before);
    const EffectiveRate to = rate_of(after);
    rates.shared = true;
    rates.before = EffectiveRate{.per_second = interpolated(from.per_second, to.per_second, progress),
                                 .burst = interpolated(from.burst, to.burst, progress)};
    rates.after = rates.before;
    return rates;
  }
  if (before.on()) rates.before = part_of(before, 1 - progress);
  if (after.on()) rates.after = part_of(after, progress);
  return rates;
}

EffectiveLimits effective_limits(const config::Config& before, const config::Config& after, double progress) {
  const auto limit = [progress](std::uint64_t from, std::uint64_t to) {
    return interpolated_limit(from, to, progress);
  };
  return {
      .max_connections = limit(before.server.max_connections, after.server.max_connections),
      .max_connections_per_client =
          limit(before.server.max_connections_per_client, after.server.max_connections_per_client),
      .retry_budget_percent =
          interpolated(before.proxy.retry_budget_percent, after.proxy.retry_budget_percent, progress),
      .retry_budget_min_per_second =
          interpolated(before.proxy.retry_budget_min_per_second, after.proxy.retry_budget_min_per_second, progress),
  };
}

}  // namespace dao::liminal

#include "dao/server/worker_generation.h"

#include <algorithm>
#include <utility>

#include "dao/align/stable_hash.h"

namespace dao::server {

namespace {

http::ForwardingRules forwarding_of(const config::Server& server) {
  const config::Forwarded kind = server.forwarded;
  http::ForwardingRules rules;
  rules.via = server.via;
  rules.x_forwarded = kind == config::Forwarded::both || kind == config::Forwarded::x_forwarded;
  rules.forwarded = kind == config::Forwarded::both || kind == config::Forwarded::forwarded;
  return rules;
}

Route route_of(const Generation& generation, std::size_t index) {
  const config::Config& config = *generation.config;
  const config::Rule& rule = config.rules[index];
  Route route;
  route.number = rule.number;
  route.policy = align::make_policy(rule.policy);
  route.filters = flow::Chain::compile(config, index, *generation.filters);
  for (const config::RuleUpstream& of_rule : rule.upstreams) {
    const config::Upstream& upstream = config.upstreams[of_rule.index];
    route.candidates.push_back({.upstream = upstream.number,
                                .weight = of_rule.weight,
                                .max_in_flight = upstream.max_in_flight,
                                .intents = of_rule.intents,
                                .near = !config.server.zone.empty() && upstream.zone == config.server.zone,
                                .identity = align::stable_hash(upstream.name)});
  }
  route.policy->prepare(route.candidates);
  const auto near = std::ranges::count_if(route.candidates, &align::Candidate::near);
  route.prefers_near = near > 0 && static_cast<std::size_t>(near) < route.candidates.size();
  route.slow_start = align::SlowStart(rule.slow_start);
  return route;
}

}  // namespace

http::HeadLimits response_limits_of(const config::Config& config) {
  http::HeadLimits limits;
  limits.head_max_bytes = config.proxy.response_header_max_bytes;
  limits.fields_max = 1000;  // bounded by the bytes; backends send more fields than clients
  return limits;
}

WorkerGeneration::WorkerGeneration(std::shared_ptr<const Generation> the_generation)
    : generation(std::move(the_generation)),
      config(*generation->config),
      forwarding(forwarding_of(config.server)),
      response_limits(response_limits_of(config)),
      asks_for_client_certificates(std::ranges::any_of(
          config.server.listeners,
          [](const config::Listener& listener) { return listener.tls.client_auth != config::ClientAuth::off; })),
      failures_that_close(config.liminal.presence.enabled ? config.liminal.presence.failures : 0) {
  routes.reserve(config.rules.size());
  for (std::size_t i = 0; i < config.rules.size(); ++i) routes.push_back(route_of(*generation, i));
}

}  // namespace dao::server

#include "dao/server/worker_state.h"

#include <algorithm>
#include <ctime>
#include <string_view>
#include <utility>

namespace dao::server {

std::string_view DateText::at(WallTime now) {
  const std::int64_t second = std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count();
  if (second != second_) {
    second_ = second;
    const std::time_t time = second;
    std::tm utc{};
    gmtime_r(&time, &utc);
    // strftime would use the locale's names of days and months; the program never sets one, so it is "C".
    std::strftime(text_.data(), text_.size(), "%a, %d %b %Y %H:%M:%S GMT", &utc);
  }
  return text_.data();
}

namespace {

upstream::Protocol protocol_of(const config::Upstream& upstream) {
  if (upstream.url.scheme == config::Scheme::h2c) return upstream::Protocol::h2;
  const bool may_be_h2 = upstream.url.scheme == config::Scheme::https && upstream.tls.protocols.h2;
  return may_be_h2 ? upstream::Protocol::negotiated : upstream::Protocol::h1;
}

std::optional<net::ProxyVersion> proxy_version(config::ProxyAnnouncement wanted) {
  switch (wanted) {
    case config::ProxyAnnouncement::off:
      break;
    case config::ProxyAnnouncement::v1:
      return net::ProxyVersion::v1;
    case config::ProxyAnnouncement::v2:
      return net::ProxyVersion::v2;
  }
  return std::nullopt;
}

}  // namespace

WorkerState::WorkerState(rt::Loop& the_loop, std::shared_ptr<const config::Config> the_config,
                         upstream::Connector& connector, sense::Shard& the_shard, sense::InFlight& the_in_flight,
                         sense::Admission& the_admission, telemetry::AccessLogLane* lane, std::uint64_t seed,
                         std::shared_ptr<flow::Shared> the_filters_shared)
    : loop(the_loop),
      config(std::move(the_config)),
      shard(the_shard),
      in_flight(the_in_flight),
      admission(the_admission),
      queue(the_loop, the_in_flight, the_shard),
      failures_that_close(config->liminal.presence.enabled ? config->liminal.presence.failures : 0),
      signals(config->upstreams.size()),
      view(std::make_shared<const sense::View>()),
      access_log(lane),
      filters_shared(std::move(the_filters_shared)),
      routes_by_match(config->rules),
      resolution_errors(config->upstreams.size()),
      retry_budget(config->proxy.retry_budget_percent, config->proxy.retry_budget_min_per_second, loop.now()),
      random(seed),
      asks_for_client_certificates(std::ranges::any_of(config->server.listeners, [](const config::Listener& listener) {
        return listener.tls.client_auth != config::ClientAuth::off;
      })) {
  const config::Forwarded kind = config->server.forwarded;
  forwarding.via = config->server.via;
  forwarding.x_forwarded = kind == config::Forwarded::both || kind == config::Forwarded::x_forwarded;
  forwarding.forwarded = kind == config::Forwarded::both || kind == config::Forwarded::forwarded;
  response_limits.head_max_bytes = config->proxy.response_header_max_bytes;
  response_limits.fields_max = 1000;  // bounded by the bytes; backends send more fields than clients
  upstream::PoolSettings pool_settings;
  pool_settings.max_idle = config->proxy.pool_max_idle;
  pool_settings.idle_timeout = config->proxy.pool_idle_timeout;
  pool_settings.max_sessions = config->proxy.http2_max_connections;
  pool_settings.h2.response_limits = response_limits;
  pool_settings.h2.interim_responses_max = config->proxy.interim_responses_max;
  pool_settings.h2.max_streams = config->proxy.http2_max_streams;
  pool_settings.h2.idle_timeout = config->proxy.pool_idle_timeout;
  pool_settings.h2.ping_after = config->proxy.http2_ping_after;
  pool_settings.h2.ping_timeout = config->proxy.http2_ping_timeout;
  for (std::size_t i = 0; i < config->upstreams.size(); ++i) {
    const config::Url& url = config->upstreams[i].url;
    std::string host = url.host.empty() ? "localhost" : url.host;
    if (host.find(':') != std::string::npos) host = "[" + host + "]";
    const std::uint16_t usual_port = url.scheme == config::Scheme::https ? 443 : 80;
    if (url.port != 0 && url.port != usual_port) host += ":" + std::to_string(url.port);
    host_fields.push_back(std::move(host));
    const config::Protocols& protocols = config->upstreams[i].tls.protocols;
    const bool secure = url.scheme == config::Scheme::https;
    pool_settings.protocol = protocol_of(config->upstreams[i]);
    pool_settings.h1_allowed = protocols.h1;
    pool_settings.h2.secure = secure;
    pool_settings.proxy_header = proxy_version(config->upstreams[i].proxy_protocol);
    pools.push_back(
        std::make_unique<upstream::Pool>(loop, connector.for_upstream(i), buffers, shard.upstream(i), pool_settings));
  }
  for (const config::Rule& rule : config->rules) {
    Route route;
    route.policy = align::make_policy(rule.policy);
    route.filters = flow::Chain::compile(*config, routes.size(), *filters_shared);
    for (const config::RuleUpstream& upstream : rule.upstreams) {
      route.candidates.push_back(
          {.upstream = static_cast<std::uint32_t>(upstream.index),
           .weight = upstream.weight,
           .max_in_flight = config->upstreams[upstream.index].max_in_flight,
           .intents = upstream.intents,
           .near = !config->server.zone.empty() && config->upstreams[upstream.index].zone == config->server.zone,
           .identity = align::stable_hash(config->upstreams[upstream.index].name)});
    }
    route.policy->prepare(route.candidates);
    const auto near = std::ranges::count_if(route.candidates, &align::Candidate::near);
    route.prefers_near = near > 0 && static_cast<std::size_t>(near) < route.candidates.size();
    route.slow_start = align::SlowStart(rule.slow_start);
    routes.push_back(std::move(route));
  }
}

std::unique_ptr<http::ResponseHead> WorkerState::borrow_response_head() {
  if (spare_response_heads_.empty()) return std::make_unique<http::ResponseHead>();
  std::unique_ptr<http::ResponseHead> head = std::move(spare_response_heads_.back());
  spare_response_heads_.pop_back();
  return head;
}

void WorkerState::return_response_head(std::unique_ptr<http::ResponseHead> head) {
  constexpr std::size_t kKept = 512;
  if (spare_response_heads_.size() >= kKept) return;
  head->clear();
  spare_response_heads_.push_back(std::move(head));
}

}  // namespace dao::server

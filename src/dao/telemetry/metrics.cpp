#include "dao/telemetry/metrics.h"

#include <fmt/format.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "dao/http/grpc_status.h"
#include "dao/http/h2/flood.h"

namespace dao::telemetry {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using sense::RouteCounters;
using sense::UpstreamCounters;

static_assert(sense::kFloodKinds == http::h2::kFloods);
static_assert(sense::kNoGrpcStatus == http::kGrpcStatusNames.size());

constexpr double kMillisecondsPerSecond = 1000;

struct Upstream {
  UpstreamCounters counters;
  std::int64_t in_flight = 0;
  sense::UpstreamView view;  // what can be summed is
};

// The sums over all workers that the table's rows read, by name.
struct Sums {
  const MetricsSnapshot& snapshot;
  sense::WorkerCounters worker;
  std::map<std::string_view, RouteCounters> routes;
  std::map<std::string_view, Upstream> upstreams;
  std::map<std::string_view, const sense::RouteView*> seen_routes;
  std::map<std::string_view, const sense::UpstreamView*> seen_upstreams;
};

using Labels = std::vector<ClientMetric::Label>;

// Adds series to one family.
class Series {
 public:
  explicit Series(MetricFamily& family) : family_(family) {}

  template <class Number>
  void value(Number number, Labels labels = {}) {
    ClientMetric metric;
    metric.label = std::move(labels);
    if (family_.type == MetricType::Counter) {
      metric.counter.value = static_cast<double>(number);
    } else {
      metric.gauge.value = static_cast<double>(number);
    }
    family_.metric.push_back(std::move(metric));
  }

  void histogram(const sense::Histogram& counts, Labels labels) {
    ClientMetric metric;
    metric.label = std::move(labels);
    std::uint64_t cumulative = 0;
    for (std::size_t i = 0; i < sense::kBucketBounds.size(); ++i) {
      cumulative += counts.in_bucket(i);
      metric.histogram.bucket.push_back({cumulative, static_cast<double>(sense::kBucketBounds[i]) / 1e9});
    }
    cumulative += counts.in_bucket(sense::kBuckets - 1);
    metric.histogram.sample_count = cumulative;
    metric.histogram.sample_sum = static_cast<double>(counts.sum_nanoseconds()) / 1e9;
    family_.metric.push_back(std::move(metric));
  }

 private:
  MetricFamily& family_;
};

constexpr std::array<const char*, sense::kStatusClasses> kCodeClasses = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
constexpr std::array<const char*, sense::kWebSocketEnds> kWebSocketEnds = {
    "client-close",   "backend-close",   "client-lost", "backend-lost",
    "client-timeout", "backend-timeout", "idle",        "drain"};
constexpr std::array<const char*, sense::kRetryReasons> kRetryReasons = {"connect-failure", "connection-lost", "5xx",
                                                                         "silence"};

// The reasons that are shown from the start, so that a rate over them sees the first error too. Any other kind appears
// with its first error.
constexpr ErrorKind kClientErrors[] = {ErrorKind::closed,         ErrorKind::reset,
                                       ErrorKind::timeout_head,   ErrorKind::timeout_body,
                                       ErrorKind::timeout_write,  ErrorKind::malformed,
                                       ErrorKind::head_too_large, ErrorKind::target_too_large,
                                       ErrorKind::body_too_large, ErrorKind::unsupported,
                                       ErrorKind::version,        ErrorKind::expectation,
                                       ErrorKind::incomplete,     ErrorKind::method_not_allowed};
constexpr ErrorKind kTlsFailures[] = {ErrorKind::tls_protocol, ErrorKind::tls_certificate, ErrorKind::tls_alert,
                                      ErrorKind::timeout_head, ErrorKind::closed,          ErrorKind::reset};
constexpr ErrorKind kRejections[] = {
    ErrorKind::no_route,     ErrorKind::no_upstream,    ErrorKind::connection_limit, ErrorKind::client_connection_limit,
    ErrorKind::rate_limited, ErrorKind::address_denied, ErrorKind::queue_full,       ErrorKind::timeout_queue};
constexpr ErrorKind kUpstreamErrors[] = {
    ErrorKind::closed,         ErrorKind::reset,           ErrorKind::refused,
    ErrorKind::unreachable,    ErrorKind::timeout_head,    ErrorKind::timeout_body,
    ErrorKind::timeout_total,  ErrorKind::timeout_connect, ErrorKind::dns_error,
    ErrorKind::dns_timeout,    ErrorKind::malformed,       ErrorKind::incomplete,
    ErrorKind::connect_failed, ErrorKind::head_too_large,  ErrorKind::unexpected_upgrade,
    ErrorKind::stream_reset};

void each_reason(Series& series, const std::array<Counter, sense::kErrorKinds>& counts,
                 std::span<const ErrorKind> always, const Labels& labels = {}) {
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const auto kind = static_cast<ErrorKind>(i);
    if (counts[i].value() == 0 && std::ranges::find(always, kind) == always.end()) continue;
    Labels all = labels;
    all.push_back({"reason", std::string{name_of(kind)}});
    series.value(counts[i].value(), std::move(all));
  }
}

void each_code_class(Series& series, const std::array<Counter, sense::kStatusClasses>& counts,
                     const ClientMetric::Label& label) {
  for (std::size_t i = 0; i < counts.size(); ++i) {
    series.value(counts[i].value(), {label, {"code_class", kCodeClasses[i]}});
  }
}

template <class Read>
void each_route(const Sums& sums, Series& series, Read read) {
  for (const auto& [name, route] : sums.routes) series.value(read(route), {{"route", std::string{name}}});
}

template <class Read>
void each_upstream(const Sums& sums, Series& series, Read read) {
  for (const auto& [name, upstream] : sums.upstreams) {
    series.value(read(upstream), {{"upstream", std::string{name}}});
  }
}

// The figures of the mind's view; `read` answers nothing where there is nothing to tell.
template <class Seen, class Read>
void each_seen(const std::map<std::string_view, const Seen*>& all, const char* label, Series& series, Read read) {
  for (const auto& [name, seen] : all) {
    if (const std::optional<double> figure = read(*seen)) series.value(*figure, {{label, std::string{name}}});
  }
}

template <class Seen>
void each_quantile(const std::map<std::string_view, const Seen*>& all, const char* label, Series& series) {
  for (const auto& [name, seen] : all) {
    if (seen->p50_ms <= 0) continue;
    const std::pair<const char*, double> quantiles[] = {
        {"0.5", seen->p50_ms}, {"0.95", seen->p95_ms}, {"0.99", seen->p99_ms}};
    for (const auto& [quantile, milliseconds] : quantiles) {
      series.value(milliseconds / kMillisecondsPerSecond, {{label, std::string{name}}, {"quantile", quantile}});
    }
  }
}

template <class Seen>
std::optional<double> error_ratio(const Seen& seen) {
  return seen.requests > 0 ? std::optional{seen.error_rate} : std::nullopt;
}

struct Metric {
  std::string_view name;
  MetricType type;
  std::string_view labels;
  std::string_view help;
  void (*collect)(const Sums& sums, Series& series);
};

constexpr Metric kMetrics[] = {
    // Clients
    {"dao_requests_total", MetricType::Counter, "route, code_class",
     "Requests finished, by route and class of the status sent; clients that were gone before count as 499, so 4xx.",
     [](const Sums& sums, Series& series) {
       for (const auto& [name, route] : sums.routes)
         each_code_class(series, route.requests, {"route", std::string{name}});
     }},
    {"dao_request_duration_seconds", MetricType::Histogram, "route",
     "From the first byte of the request head to the last byte of the response, or to giving up.",
     [](const Sums& sums, Series& series) {
       for (const auto& [name, route] : sums.routes) series.histogram(route.duration, {{"route", std::string{name}}});
     }},
    {"dao_request_bytes_total", MetricType::Counter, "route", "Bytes of request bodies, without framing.",
     [](const Sums& sums, Series& series) {
       each_route(sums, series, [](const RouteCounters& route) { return route.request_bytes.value(); });
     }},
    {"dao_response_bytes_total", MetricType::Counter, "route", "Bytes of response bodies sent, without framing.",
     [](const Sums& sums, Series& series) {
       each_route(sums, series, [](const RouteCounters& route) { return route.response_bytes.value(); });
     }},
    {"dao_requests_active", MetricType::Gauge, "", "Requests being read or answered.",
     [](const Sums& sums, Series& series) { series.value(sums.worker.requests_active.value()); }},
    {"dao_connections_accepted_total", MetricType::Counter, "", "Client connections accepted.",
     [](const Sums& sums, Series& series) { series.value(sums.worker.connections_accepted.value()); }},
    {"dao_connections_closed_total", MetricType::Counter, "", "Client connections closed, by either side.",
     [](const Sums& sums, Series& series) { series.value(sums.worker.connections_closed.value()); }},
    {"dao_connections", MetricType::Gauge, "state",
     "Open client connections: active with a request, idle between requests.",
     [](const Sums& sums, Series& series) {
       series.value(sums.worker.connections_active.value(), {{"state", "active"}});
       series.value(sums.worker.connections_idle.value(), {{"state", "idle"}});
     }},
    {"dao_tls_handshakes_total", MetricType::Counter, "resumed",
     "TLS handshakes with clients that succeeded; resumed yes: on a session from before.",
     [](const Sums& sums, Series& series) {
       series.value(sums.worker.tls_full.value(), {{"resumed", "no"}});
       series.value(sums.worker.tls_resumed.value(), {{"resumed", "yes"}});
     }},
    {"dao_tls_handshake_failures_total", MetricType::Counter, "reason",
     "TLS handshakes with clients that failed, by cause.",
     [](const Sums& sums, Series& series) { each_reason(series, sums.worker.tls_failures, kTlsFailures); }},
    {"dao_client_errors_total", MetricType::Counter, "reason",
     "Requests that failed by the client's doing: broken messages, exceeded limits, timeouts, lost connections.",
     [](const Sums& sums, Series& series) { each_reason(series, sums.worker.client_errors, kClientErrors); }},
    {"dao_rejected_requests_total", MetricType::Counter, "reason",
     "Requests and connections DAO refused itself: no route, no usable upstream, connection limit, limit for one "
     "client, rate limit, address not allowed, every upstream at its limit.",
     [](const Sums& sums, Series& series) { each_reason(series, sums.worker.rejected, kRejections); }},
    {"dao_http2_floods_total", MetricType::Counter, "kind",
     "HTTP/2 connections of clients ended because they flooded DAO, by what they sent too much of or made it send.",
     [](const Sums& sums, Series& series) {
       for (std::size_t i = 0; i < sense::kFloodKinds; ++i) {
         series.value(sums.worker.floods[i].value(),
                      {{"kind", std::string{http::h2::name_of(static_cast<http::h2::Flood>(i))}}});
       }
     }},
    {"dao_grpc_calls_total", MetricType::Counter, "route, grpc_status",
     "Of the requests, gRPC calls, by the status that the client got from the backend or from DAO; none: it got none, "
     "or none that there is. A status is shown from its first call.",
     [](const Sums& sums, Series& series) {
       for (const auto& [name, route] : sums.routes) {
         for (std::size_t i = 0; i < sense::kGrpcStatuses; ++i) {
           if (route.grpc_calls[i].value() == 0) continue;
           const std::string_view status = i == sense::kNoGrpcStatus ? "none" : http::kGrpcStatusNames[i];
           series.value(route.grpc_calls[i].value(),
                        {{"route", std::string{name}}, {"grpc_status", std::string{status}}});
         }
       }
     }},
    // Filters
    {"dao_rate_limited_total", MetricType::Counter, "route", "Requests refused with 429: above the route's rate limit.",
     [](const Sums& sums, Series& series) {
       each_route(sums, series, [](const RouteCounters& route) { return route.rate_limited.value(); });
     }},
    {"dao_address_denied_total", MetricType::Counter, "route",
     "Requests refused with 403: the route does not allow the client's address.",
     [](const Sums& sums, Series& series) {
       each_route(sums, series, [](const RouteCounters& route) { return route.denied.value(); });
     }},
    {"dao_sticky_cookies_unknown_total", MetricType::Counter, "route",
     "Cookies of sticky sessions that name no upstream of the route: forged, signed with another secret, or of an "
     "upstream that is gone. They are ignored.",
     [](const Sums& sums, Series& series) {
       each_route(sums, series, [](const RouteCounters& route) { return route.sticky_unknown.value(); });
     }},
    // WebSockets
    {"dao_websockets", MetricType::Gauge, "", "WebSockets open now; each is an attempt under way, and not a request.",
     [](const Sums& sums, Series& series) { series.value(sums.worker.websockets.value()); }},
    {"dao_websocket_messages_total", MetricType::Counter, "from",
     "Text and binary messages relayed, from client or backend; fragments count as the message they make up.",
     [](const Sums& sums, Series& series) {
       series.value(sums.worker.websocket_messages_from_client.value(), {{"from", "client"}});
       series.value(sums.worker.websocket_messages_from_backend.value(), {{"from", "backend"}});
     }},
    {"dao_websocket_bytes_total", MetricType::Counter, "from",
     "Bytes of frames relayed, headers and control frames included, from client or backend.",
     [](const Sums& sums, Series& series) {
       series.value(sums.worker.websocket_bytes_from_client.value(), {{"from", "client"}});
       series.value(sums.worker.websocket_bytes_from_backend.value(), {{"from", "backend"}});
     }},
    {"dao_websocket_ends_total", MetricType::Counter, "reason",
     "WebSockets ended: by a closing handshake that one side began (client-close, backend-close), because a side left "
     "without one (client-lost, backend-lost) or stopped answering or reading (client-timeout, backend-timeout), "
     "because both were silent (idle), because DAO stops (drain).",
     [](const Sums& sums, Series& series) {
       for (std::size_t i = 0; i < sense::kWebSocketEnds; ++i) {
         series.value(sums.worker.websocket_ends[i].value(), {{"reason", kWebSocketEnds[i]}});
       }
     }},
    // Upstreams
    {"dao_upstream_requests_total", MetricType::Counter, "upstream, code_class",
     "Attempts finished, by class of the status received; code_class none: no response came. More than requests when "
     "there were retries.",
     [](const Sums& sums, Series& series) {
       for (const auto& [name, upstream] : sums.upstreams) {
         each_code_class(series, upstream.counters.responses, {"upstream", std::string{name}});
       }
     }},
    {"dao_upstream_errors_total", MetricType::Counter, "upstream, reason", "Attempts that failed, by cause.",
     [](const Sums& sums, Series& series) {
       for (const auto& [name, upstream] : sums.upstreams) {
         each_reason(series, upstream.counters.errors, kUpstreamErrors, {{"upstream", std::string{name}}});
       }
     }},
    {"dao_upstream_response_head_seconds", MetricType::Histogram, "upstream",
     "From sending a request to its final response head.",
     [](const Sums& sums, Series& series) {
       for (const auto& [name, upstream] : sums.upstreams) {
         series.histogram(upstream.counters.response_head, {{"upstream", std::string{name}}});
       }
     }},
    {"dao_upstream_in_flight", MetricType::Gauge, "upstream", "Attempts under way, over all workers.",
     [](const Sums& sums, Series& series) {
       each_upstream(sums, series, [](const auto& upstream) { return upstream.in_flight; });
     }},
    {"dao_upstream_connections", MetricType::Gauge, "upstream, state",
     "Open connections: active with an attempt, idle in a pool.",
     [](const Sums& sums, Series& series) {
       for (const auto& [name, upstream] : sums.upstreams) {
         series.value(upstream.counters.connections_active.value(),
                      {{"upstream", std::string{name}}, {"state", "active"}});
         series.value(upstream.counters.connections_idle.value(), {{"upstream", std::string{name}}, {"state", "idle"}});
       }
     }},
    {"dao_upstream_connects_total", MetricType::Counter, "upstream", "Connections DAO tried to open.",
     [](const Sums& sums, Series& series) {
       each_upstream(sums, series, [](const auto& upstream) { return upstream.counters.connects.value(); });
     }},
    {"dao_upstream_connect_failures_total", MetricType::Counter, "upstream", "Of these, not established.",
     [](const Sums& sums, Series& series) {
       each_upstream(sums, series, [](const auto& upstream) { return upstream.counters.connect_failures.value(); });
     }},
    {"dao_upstream_reused_connections_total", MetricType::Counter, "upstream",
     "Attempts on a connection that had served before.",
     [](const Sums& sums, Series& series) {
       each_upstream(sums, series, [](const auto& upstream) { return upstream.counters.reused.value(); });
     }},
    {"dao_upstream_retries_total", MetricType::Counter, "upstream, reason",
     "Attempts made because the one before, with this upstream, failed.",
     [](const Sums& sums, Series& series) {
       for (const auto& [name, upstream] : sums.upstreams) {
         for (std::size_t i = 0; i < sense::kRetryReasons; ++i) {
           series.value(upstream.counters.retries[i].value(),
                        {{"upstream", std::string{name}}, {"reason", kRetryReasons[i]}});
         }
       }
     }},
    // What the mind sees: the last 60 seconds
    {"dao_route_latency_window_seconds", MetricType::Gauge, "route, quantile",
     "Quantiles of the duration of requests in the last 60 s, within 1 %; from the first byte of the request head to "
     "the last byte of the response. Not shown without requests.",
     [](const Sums& sums, Series& series) { each_quantile(sums.seen_routes, "route", series); }},
    {"dao_route_error_ratio", MetricType::Gauge, "route",
     "Share of the requests in the last 60 s that were answered with 5xx or not at all. Not shown without requests.",
     [](const Sums& sums, Series& series) {
       each_seen(sums.seen_routes, "route", series, [](const auto& route) { return error_ratio(route); });
     }},
    {"dao_route_requests_per_second", MetricType::Gauge, "route",
     "Requests that ended, per second, over the last 5 to 6 s.",
     [](const Sums& sums, Series& series) {
       each_seen(sums.seen_routes, "route", series, [](const auto& route) { return std::optional{route.rps}; });
     }},
    {"dao_route_tempo_spikiness", MetricType::Gauge, "route",
     "Coefficient of variation of the requests per second in the last 60 s, without what chance makes of a steady "
     "rate; 0: steady.",
     [](const Sums& sums, Series& series) {
       each_seen(sums.seen_routes, "route", series,
                 [](const auto& route) { return std::optional{route.tempo_spikiness}; });
     }},
    {"dao_route_typical_latency_seconds", MetricType::Gauge, "route",
     "What the route has learned of itself: the usual time from sending an attempt to its response head. Not shown "
     "before it has learned anything.",
     [](const Sums& sums, Series& series) {
       each_seen(sums.seen_routes, "route", series, [](const auto& route) {
         return route.typical_ms > 0 ? std::optional{route.typical_ms / kMillisecondsPerSecond} : std::nullopt;
       });
     }},
    {"dao_upstream_latency_window_seconds", MetricType::Gauge, "upstream, quantile",
     "Quantiles of the time from sending an attempt to its response head in the last 60 s, within 1 %. Not shown "
     "without responses.",
     [](const Sums& sums, Series& series) { each_quantile(sums.seen_upstreams, "upstream", series); }},
    {"dao_upstream_error_ratio", MetricType::Gauge, "upstream",
     "Share of the attempts in the last 60 s that failed or were answered with 5xx. Not shown without attempts.",
     [](const Sums& sums, Series& series) {
       each_seen(sums.seen_upstreams, "upstream", series, [](const auto& upstream) { return error_ratio(upstream); });
     }},
    {"dao_upstream_requests_per_second", MetricType::Gauge, "upstream",
     "Attempts that ended, per second, over the last 5 to 6 s.",
     [](const Sums& sums, Series& series) {
       each_seen(sums.seen_upstreams, "upstream", series,
                 [](const auto& upstream) { return std::optional{upstream.rps}; });
     }},
    {"dao_upstream_tempo_spikiness", MetricType::Gauge, "upstream",
     "Coefficient of variation of the attempts per second in the last 60 s, without what chance makes of a steady "
     "rate; 0: steady.",
     [](const Sums& sums, Series& series) {
       each_seen(sums.seen_upstreams, "upstream", series,
                 [](const auto& upstream) { return std::optional{upstream.tempo_spikiness}; });
     }},
    {"dao_upstream_load_resonance", MetricType::Gauge, "upstream",
     "Load score, 0 to 10, from latency, errors and attempts under way against what the route has learned "
     "(sense.md); small is good.",
     [](const Sums& sums, Series& series) {
       each_seen(sums.seen_upstreams, "upstream", series,
                 [](const auto& upstream) { return std::optional{upstream.load_resonance}; });
     }},
    {"dao_mind_steps_total", MetricType::Counter, "", "Views that the mind has made of the traffic; ten a second.",
     [](const Sums& sums, Series& series) {
       series.value(sums.snapshot.view == nullptr ? 0 : sums.snapshot.view->number);
     }},
    {"dao_mind_step_seconds", MetricType::Histogram, "", "What making a view took.",
     [](const Sums& sums, Series& series) {
       if (sums.snapshot.mind_steps != nullptr) series.histogram(*sums.snapshot.mind_steps, {});
     }},
    {"dao_mind_samples_lost_total", MetricType::Counter, "",
     "Durations that are in no window of the last 60 s, since the mind came too late for them; counts are complete "
     "all the same.",
     [](const Sums& sums, Series& series) {
       series.value(sums.snapshot.view == nullptr ? 0 : sums.snapshot.view->samples_lost);
     }},
    {"dao_upstream_presence_state", MetricType::Gauge, "upstream, state",
     "1 for the state that the upstream is in: unknown, present, liminal or absent; 0 for the others.",
     [](const Sums& sums, Series& series) {
       for (const auto& [name, upstream] : sums.upstreams) {
         for (std::size_t state = 0; state < sense::kPresenceStates; ++state) {
           series.value(static_cast<std::size_t>(upstream.view.presence) == state ? 1 : 0,
                        {{"upstream", std::string{name}}, {"state", std::string{sense::kPresenceNames[state]}}});
         }
       }
     }},
    {"dao_upstream_presence_transitions_total", MetricType::Counter, "upstream, state",
     "How often the upstream came to be in that state.",
     [](const Sums& sums, Series& series) {
       for (const auto& [name, upstream] : sums.upstreams) {
         for (std::size_t state = 0; state < sense::kPresenceStates; ++state) {
           series.value(upstream.view.figures.entered[state],
                        {{"upstream", std::string{name}}, {"state", std::string{sense::kPresenceNames[state]}}});
         }
       }
     }},
    {"dao_upstream_probes_total", MetricType::Counter, "upstream, outcome",
     "Probes of the upstream that were good, or failed.",
     [](const Sums& sums, Series& series) {
       for (const auto& [name, upstream] : sums.upstreams) {
         const sense::PresenceFigures& figures = upstream.view.figures;
         series.value(figures.probes_good, {{"upstream", std::string{name}}, {"outcome", "good"}});
         series.value(figures.probes_failed, {{"upstream", std::string{name}}, {"outcome", "failed"}});
       }
     }},
    {"dao_upstream_trials_total", MetricType::Counter, "upstream",
     "How often requests were sent to an upstream that was away, to find out whether it is back.",
     [](const Sums& sums, Series& series) {
       each_upstream(sums, series, [](const auto& upstream) { return upstream.view.figures.trials; });
     }},
    {"dao_upstream_trials_failed_total", MetricType::Counter, "upstream", "Of these, it was not.",
     [](const Sums& sums, Series& series) {
       each_upstream(sums, series, [](const auto& upstream) { return upstream.view.figures.trials_failed; });
     }},
    {"dao_route_fail_open_total", MetricType::Counter, "route",
     "Requests for which no upstream was admitted, so that one was asked all the same.",
     [](const Sums& sums, Series& series) {
       each_route(sums, series, [](const RouteCounters& route) { return route.fail_open.value(); });
     }},
    {"dao_route_queue_waiting", MetricType::Gauge, "route",
     "Requests that wait now for an upstream below its max_in_flight.",
     [](const Sums& sums, Series& series) {
       each_route(sums, series, [](const RouteCounters& route) { return route.queue_waiting.value(); });
     }},
    {"dao_route_queued_total", MetricType::Counter, "route",
     "Requests that had to wait since every upstream was at its max_in_flight; a retry counts anew.",
     [](const Sums& sums, Series& series) {
       each_route(sums, series, [](const RouteCounters& route) { return route.queued.value(); });
     }},
    {"dao_route_queue_timeouts_total", MetricType::Counter, "route", "Of these, waited in vain for queue_timeout_ms.",
     [](const Sums& sums, Series& series) {
       each_route(sums, series, [](const RouteCounters& route) { return route.queue_timeouts.value(); });
     }},
    {"dao_route_queue_overflows_total", MetricType::Counter, "route",
     "Requests that could not wait, for queue_max of them did already.",
     [](const Sums& sums, Series& series) {
       each_route(sums, series, [](const RouteCounters& route) { return route.queue_overflows.value(); });
     }},
    {"dao_route_queue_seconds", MetricType::Histogram, "route",
     "How long requests waited for an upstream below its max_in_flight, whatever came of it.",
     [](const Sums& sums, Series& series) {
       for (const auto& [name, route] : sums.routes) series.histogram(route.queue_time, {{"route", std::string{name}}});
     }},
    {"dao_retries_denied_total", MetricType::Counter, "", "Retries not made because the retry budget was spent.",
     [](const Sums& sums, Series& series) { series.value(sums.worker.retries_denied.value()); }},
    // DAO itself
    {"dao_ready", MetricType::Gauge, "", "1 while /ready answers 200.",
     [](const Sums& sums, Series& series) { series.value(sums.snapshot.ready ? 1 : 0); }},
    {"dao_build_info", MetricType::Gauge, "version", "Always 1.",
     [](const Sums& sums, Series& series) { series.value(1, {{"version", std::string{sums.snapshot.version}}}); }},
    // Configuration and memory
    {"dao_config_generation", MetricType::Gauge, "",
     "Number of the configuration in use; it goes up whenever one comes into use.",
     [](const Sums& sums, Series& series) { series.value(sums.snapshot.config.generation); }},
    {"dao_config_last_reload_successful", MetricType::Gauge, "",
     "1 if the last order of a configuration was obeyed, or there was none; 0 if it changed nothing for what was wrong "
     "with it.",
     [](const Sums& sums, Series& series) { series.value(sums.snapshot.config.last_reload_successful ? 1 : 0); }},
    {"dao_config_last_reload_success_timestamp_seconds", MetricType::Gauge, "",
     "When a configuration last came into use, in seconds since 1970.",
     [](const Sums& sums, Series& series) { series.value(sums.snapshot.config.last_success_seconds); }},
    {"dao_config_reloads_total", MetricType::Counter, "result",
     "Configurations that were ordered by a signal, a changed file or the admin API since the start: applied, or "
     "failed "
     "and nothing was changed.",
     [](const Sums& sums, Series& series) {
       series.value(sums.snapshot.config.reloads_applied, {{"result", "applied"}});
       series.value(sums.snapshot.config.reloads_failed, {{"result", "failed"}});
     }},
    {"dao_config_pending_restart", MetricType::Gauge, "", "Keys whose new values need a restart.",
     [](const Sums& sums, Series& series) { series.value(sums.snapshot.config.pending_restart); }},
    {"dao_config_transition_under_way", MetricType::Gauge, "",
     "1 while a configuration takes over gradually (docs/metamorphic.md).",
     [](const Sums& sums, Series& series) { series.value(sums.snapshot.config.transition_under_way ? 1 : 0); }},
    {"dao_config_transition_progress", MetricType::Gauge, "",
     "Which part of the clients see the new configuration, 0 to 1; 0 without a transition.",
     [](const Sums& sums, Series& series) { series.value(sums.snapshot.config.transition_progress); }},
    {"dao_config_transition_worse", MetricType::Gauge, "",
     "1 if the new configuration was found worse by the transition that is under way, which waits for the operator, or "
     "by the last one.",
     [](const Sums& sums, Series& series) { series.value(sums.snapshot.config.transition_worse ? 1 : 0); }},
    {"dao_config_transitions_total", MetricType::Counter, "outcome",
     "Gradual transitions that are over: finished, rolled_back because the new configuration was worse, or aborted.",
     [](const Sums& sums, Series& series) {
       series.value(sums.snapshot.config.transitions_finished, {{"outcome", "finished"}});
       series.value(sums.snapshot.config.transitions_rolled_back, {{"outcome", "rolled_back"}});
       series.value(sums.snapshot.config.transitions_aborted, {{"outcome", "aborted"}});
     }},
    {"dao_store_persistent", MetricType::Gauge, "", "1 if what is kept survives a restart; 0: it is in memory.",
     [](const Sums& sums, Series& series) { series.value(sums.snapshot.store.persistent ? 1 : 0); }},
    {"dao_store_healthy", MetricType::Gauge, "",
     "1 if the last try to write to the store succeeded, or there was none.",
     [](const Sums& sums, Series& series) { series.value(sums.snapshot.store.healthy ? 1 : 0); }},
    {"dao_store_pending_writes", MetricType::Gauge, "", "Changes that wait to be written.",
     [](const Sums& sums, Series& series) { series.value(sums.snapshot.store.pending); }},
    {"dao_store_writes_total", MetricType::Counter, "", "Changes that were written.",
     [](const Sums& sums, Series& series) { series.value(sums.snapshot.store.written); }},
    {"dao_store_flushes_total", MetricType::Counter, "", "Transactions that wrote them.",
     [](const Sums& sums, Series& series) { series.value(sums.snapshot.store.flushes); }},
    {"dao_store_failures_total", MetricType::Counter, "", "Tries to write that failed.",
     [](const Sums& sums, Series& series) { series.value(sums.snapshot.store.failures); }},
    {"dao_store_lost_writes_total", MetricType::Counter, "",
     "Changes that were given up for want of memory, or gone with a damaged store.",
     [](const Sums& sums, Series& series) { series.value(sums.snapshot.store.lost); }},
    {"dao_store_begun_anew_total", MetricType::Counter, "",
     "How often the store was found damaged, or gone, and an empty one begun.",
     [](const Sums& sums, Series& series) { series.value(sums.snapshot.store.begun_anew); }},
    {"dao_workers", MetricType::Gauge, "", "Worker threads.",
     [](const Sums& sums, Series& series) { series.value(sums.snapshot.shards.size()); }},
    {"dao_tasks", MetricType::Gauge, "", "Coroutine tasks alive in the workers.",
     [](const Sums& sums, Series& series) { series.value(sums.worker.tasks.value()); }},
    {"dao_access_log_dropped_total", MetricType::Counter, "", "Access log lines lost: the writer could not keep up.",
     [](const Sums& sums, Series& series) { series.value(sums.snapshot.access_log_dropped); }},
    {"dao_log_dropped_total", MetricType::Counter, "", "Operational log lines lost: stderr could not keep up.",
     [](const Sums& sums, Series& series) { series.value(sums.snapshot.log_dropped); }},
    {"process_cpu_seconds_total", MetricType::Counter, "", "User and system CPU time.",
     [](const Sums& sums, Series& series) { series.value(sums.snapshot.process.cpu_seconds); }},
    {"process_resident_memory_bytes", MetricType::Gauge, "", "Resident memory.",
     [](const Sums& sums, Series& series) { series.value(sums.snapshot.process.resident_bytes); }},
    {"process_open_fds", MetricType::Gauge, "", "Open file descriptors.",
     [](const Sums& sums, Series& series) { series.value(sums.snapshot.process.open_fds); }},
    {"process_max_fds", MetricType::Gauge, "", "Limit of open file descriptors.",
     [](const Sums& sums, Series& series) { series.value(sums.snapshot.process.max_fds); }},
    {"process_start_time_seconds", MetricType::Gauge, "", "Start of the process, in seconds since 1970.",
     [](const Sums& sums, Series& series) { series.value(sums.snapshot.process.start_time_seconds); }},
};

std::string_view name_of(MetricType type) {
  switch (type) {
    case MetricType::Counter:
      return "counter";
    case MetricType::Gauge:
      return "gauge";
    case MetricType::Histogram:
      return "histogram";
    default:
      return "untyped";
  }
}

// The unit that Prometheus' naming convention puts at the end of a name.
std::string_view unit_of(std::string_view name) {
  if (name.ends_with("_total")) name.remove_suffix(6);
  if (name.ends_with("_seconds")) return "seconds";
  if (name.ends_with("_bytes")) return "bytes";
  if (name.ends_with("_ratio")) return "ratio";
  return "";
}

template <class Seen>
void keep_busiest(std::span<const Numbered> shown, const std::vector<Seen>& seen,
                  std::map<std::string_view, const Seen*>& into) {
  for (const auto& [name, number] : shown) {
    if (number >= seen.size()) continue;  // the view is from before it came
    const Seen*& kept = into[name];
    if (kept == nullptr || seen[number].requests > kept->requests) kept = &seen[number];
  }
}

void sum_up(Sums& sums) {
  const MetricsSnapshot& snapshot = sums.snapshot;
  for (const sense::Shard* shard : snapshot.shards) {
    sums.worker.add(shard->worker());
    sums.routes[kNoRouteLabel].add(shard->unrouted());
    for (const auto& [name, number] : snapshot.routes) sums.routes[name].add(shard->routes()[number]);
    for (const auto& [name, number] : snapshot.upstreams) {
      sums.upstreams[name].counters.add(shard->upstreams()[number]);
    }
  }
  if (snapshot.view != nullptr) {
    keep_busiest(snapshot.routes, snapshot.view->routes, sums.seen_routes);
    keep_busiest(snapshot.upstreams, snapshot.view->upstreams, sums.seen_upstreams);
    const auto& views = snapshot.view->upstreams;
    for (const auto& [name, number] : snapshot.upstreams) {
      if (number >= views.size()) continue;
      const sense::UpstreamView& seen = views[number];
      sense::UpstreamView& sum = sums.upstreams[name].view;
      sum.presence = seen.presence;
      sense::PresenceFigures& figures = sum.figures;
      for (std::size_t state = 0; state < sense::kPresenceStates; ++state) {
        figures.entered[state] += seen.figures.entered[state];
      }
      figures.probes_good += seen.figures.probes_good;
      figures.probes_failed += seen.figures.probes_failed;
      figures.trials += seen.figures.trials;
      figures.trials_failed += seen.figures.trials_failed;
    }
  }
  if (snapshot.in_flight == nullptr) return;
  for (const auto& [name, number] : snapshot.upstreams) {
    sums.upstreams[name].in_flight += snapshot.in_flight->count(number);
  }
}

}  // namespace

std::string render_metrics(const MetricsSnapshot& snapshot) {
  Sums sums{.snapshot = snapshot, .worker = {}, .routes = {}, .upstreams = {}, .seen_routes = {}, .seen_upstreams = {}};
  sum_up(sums);
  std::vector<MetricFamily> families;
  families.reserve(std::size(kMetrics));
  for (const Metric& metric : kMetrics) {
    MetricFamily& family = families.emplace_back();
    family.name = metric.name;
    family.help = metric.help;
    family.type = metric.type;
    Series series{family};
    metric.collect(sums, series);
  }
  return prometheus::TextSerializer{}.Serialize(families);
}

std::string render_metrics_reference() {
  std::string page =
      "# Metrics\n"
      "\n"
      "<!-- Generated from the table in src/dao/telemetry/metrics.cpp; do not edit. -->\n"
      "\n"
      "`GET /metrics` on `telemetry.prometheus_bind`, Prometheus text format 0.0.4. Figures are sums over all workers "
      "since\n"
      "start, but for those of the last 60 seconds, which say so ([sense.md](sense.md)). Label values come from the "
      "configuration or from fixed lists, never from a client. `route` is the name "
      "of a\n"
      "rule, or `(none)` for requests that matched none; `code_class` is `1xx` ... `5xx` or `none`; a `reason` is "
      "shown\n"
      "from the start if it is usual there, others appear when they first happen.\n"
      "\n"
      "Bounds of every histogram, in seconds:";
  for (std::size_t i = 0; i < sense::kBucketBounds.size(); ++i) {
    page += fmt::format("{} {}", i == 0 ? "" : ",", static_cast<double>(sense::kBucketBounds[i]) / 1e9);
  }
  page +=
      ".\n"
      "\n"
      "| metric | type | unit | labels | meaning |\n"
      "|---|---|---|---|---|\n";
  for (const Metric& metric : kMetrics) {
    page += fmt::format("| `{}` | {} | {} | {} | {} |\n", metric.name, name_of(metric.type), unit_of(metric.name),
                        metric.labels, metric.help);
  }
  return page;
}

}  // namespace dao::telemetry

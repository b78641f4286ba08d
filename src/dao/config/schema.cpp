#include "dao/config/schema.h"

#include <fmt/format.h>

#include <algorithm>

#include "dao/config/address.h"
#include "dao/config/admin_keys.h"
#include "dao/config/draft.h"
#include "dao/config/filter_keys.h"
#include "dao/config/include.h"
#include "dao/config/match_values.h"
#include "dao/config/memory_keys.h"
#include "dao/config/metamorphic_keys.h"
#include "dao/config/policies.h"
#include "dao/config/presence_keys.h"
#include "dao/config/schema_rows.h"
#include "dao/config/tls_keys.h"
#include "dao/config/url.h"

namespace dao::config {
namespace {

constexpr std::size_t kMaxItems = 64;  // of lists that are compared each with each
constexpr Range kTimeout = {1, kDayMs};
constexpr Range kOptionalTimeout = {0, kDayMs};

constexpr std::array kForwarded = {
    Named<Forwarded>{"both", Forwarded::both, "`X-Forwarded-*` and RFC 7239 `Forwarded`"},
    Named<Forwarded>{"x-forwarded", Forwarded::x_forwarded, "`X-Forwarded-For`, `-Proto` and `-Host` only"},
    Named<Forwarded>{"forwarded", Forwarded::forwarded, "RFC 7239 `Forwarded` only"},
    Named<Forwarded>{"off", Forwarded::off, "none"},
};
constexpr std::array kRetryOn = {
    Named<bool RetryOn::*>{"connect-failure", &RetryOn::connect_failure, "no connection could be made; any method"},
    Named<bool RetryOn::*>{"connection-lost", &RetryOn::connection_lost,
                           "the connection was lost before any answer; idempotent methods"},
    Named<bool RetryOn::*>{"5xx", &RetryOn::status_5xx, "the answer was a 5xx; safe methods"},
    Named<bool RetryOn::*>{
        "silence", &RetryOn::silence,
        "the upstream has become silent: of several requests that wait there none is answered, though "
        "by its usual times a dozen would have been, and others answer; safe methods"},
};
constexpr std::array kAccessLogFormats = {
    Named<AccessLogFormat>{"json", AccessLogFormat::json, "one JSON object per line"},
    Named<AccessLogFormat>{"combined", AccessLogFormat::combined, "the combined log format"},
};
constexpr std::array kLogLevels = {
    Named<LogLevel>{"debug", LogLevel::debug, "everything"},
    Named<LogLevel>{"info", LogLevel::info, "start, stop and changes of state"},
    Named<LogLevel>{"warning", LogLevel::warning, "what an operator should look at"},
    Named<LogLevel>{"error", LogLevel::error, "what an operator must act on"},
};

constexpr std::array kProtocols = {
    Named<bool Protocols::*>{"h2", &Protocols::h2,
                             "HTTP/2: by ALPN where the listener has TLS, with prior knowledge (h2c) where it has not"},
    Named<bool Protocols::*>{"h1", &Protocols::h1, "HTTP/1.1 and HTTP/1.0"},
};
constexpr std::array kProxyHeaders = {
    Named<ProxyHeader>{"off", ProxyHeader::off, "connections begin with TLS or HTTP"},
    Named<ProxyHeader>{
        "required", ProxyHeader::required,
        "connections begin with a PROXY protocol header, version 1 or 2; what begins otherwise is closed"},
};

constexpr std::array kProxyAnnouncements = {
    Named<ProxyAnnouncement>{"off", ProxyAnnouncement::off, "connections begin with TLS or HTTP"},
    Named<ProxyAnnouncement>{"v1", ProxyAnnouncement::v1, "a line of text with the two addresses"},
    Named<ProxyAnnouncement>{"v2", ProxyAnnouncement::v2,
                             "binary; also says what is known of the client's TLS: the name asked for by SNI, ALPN, "
                             "version, cipher, and the common name of a client certificate"},
};

constexpr std::array kUpgrades = {
    Named<Upgrade>{"websocket", Upgrade::websocket, "requests that ask for a WebSocket (RFC 6455, RFC 8441)"},
};

constexpr std::string_view kBindForm = R"("host:port", "[ipv6]:port", "*:port", "unix:/path" or "fd:NAME")";
constexpr std::string_view kBindPattern = "^(unix:/.+|fd:.+|.*:[0-9]{1,5})$";
constexpr std::string_view kIntentForm = "a word such as \"realtime\", \"batch\", \"streaming\" or \"ai\"";
constexpr std::string_view kNameForm = "printable ASCII characters, at most 128";

Key with_example(Key key, std::string_view example) {
  key.example = example;
  return key;
}

Parsed<std::optional<Address>> parse_optional_bind(std::string_view text) {
  return parse_bind(text);
}

Parsed<std::optional<std::string>> parse_optional_path(std::string_view text) {
  return parse_path(text);
}

void store_trusted_proxies(void* object, const Value& value, Objections& objections) {
  auto& trusted = field_of<&Server::trusted_proxies>(object);
  for (std::size_t i = 0; i < value.texts.size(); ++i) {
    if (value.texts[i].text == "unix") {
      trusted.unix_sockets = true;
    } else if (auto block = parse_address_block(value.texts[i].text)) {
      trusted.blocks.push_back(*block);
    } else {
      objections.object(i, std::move(block.error()));
    }
  }
}

void store_headers(void* object, const Value& value, Objections& objections) {
  auto& headers = field_of<&Match::headers>(object);
  for (std::size_t i = 0; i < value.texts.size(); ++i) {
    auto header = parse_header_match(value.texts[i].name, value.texts[i].text);
    if (!header) {
      objections.object(i, std::move(header.error()));
    } else if (std::ranges::find(headers, header->name, &HeaderMatch::name) != headers.end()) {
      objections.object(i, {.message = "the header " + in_quotes(header->name) + " is named twice",
                            .expected = "each header once; names of headers are case-insensitive"});
    } else {
      headers.push_back(*std::move(header));
    }
  }
}

void store_policy(void* object, const Value& value, Objections& objections) {
  field_of<&RuleDraft::policy>(object) = value.texts.front().text;
  if (value.texts.front().text.empty()) {
    objections.object(0, {.message = "the name of the policy is empty", .expected = R"(a policy such as "resonant")"});
  }
}

Key policy_key() {
  Key key{.name = "policy",
          .kind = Kind::text,
          .doc = "How one of the upstreams is chosen; docs/align.md says which policy is for what.",
          .fallback = std::string_view("round-robin"),
          .open = true,
          .form = "the NAME of a [policies.NAME]",
          .example = "\"resonant\"",
          .store = store_policy};
  for (const BuiltInPolicy& policy : built_in_policies()) key.choices.push_back({policy.name, policy.doc});
  return key;
}

Table policies_table() {
  Table table{.name = "policies",
              .doc =
                  "A policy with a name of your choice, to be used as `policy` of rules: `resonant` with other "
                  "weights in its score, w_load * load + w_intent * intent gap + w_tempo * spikiness, in which each "
                  "term is from 0 to 10 and the smallest sum wins. Not all of them can be 0."};
  table.enter_named = [](void* draft, std::string_view name) -> Parsed<void*> {
    Parsed<std::string> parsed = parse_policy_name(name);
    if (!parsed) return std::unexpected(std::move(parsed.error()));
    return &field_of<&Draft::policies>(draft).emplace_back(*std::move(parsed));
  };
  constexpr Range kWeight = {0, 100};
  table.keys = {
      number<&PolicyDraft::weights, &ResonantWeights::load>(
          "w_load", 0.6, kWeight, "Weight of the load: latency, errors and queue of the upstream."),
      number<&PolicyDraft::weights, &ResonantWeights::intent>(
          "w_intent", 0.3, kWeight, "Weight of the intent: whether the upstream is for this class of traffic."),
      number<&PolicyDraft::weights, &ResonantWeights::tempo>(
          "w_tempo", 0.1, kWeight, "Weight of the tempo: how unsteady the upstream's requests per second are."),
  };
  return table;
}

Table listener_table() {
  Table table{.name = "listener",
              .doc =
                  "A listener with settings of its own. Those of `server.bind` are listeners too, named \"1\", \"2\" "
                  "and so on, with the defaults of the keys here.",
              .repeated = true};
  table.enter = [](void* server) -> void* { return &field_of<&Server::listeners>(server).emplace_back(); };
  Key name = with_example(
      text<parse_name, &Listener::name>("name", kNameForm, "The name of the listener in DAO's own log; unique."),
      "\"public\"");
  Key bind = with_example(
      text<parse_bind, &Listener::address>("bind", kBindForm,
                                           "Where to listen; `*` means every address, IPv4 and IPv6, and port 0 lets "
                                           "the kernel pick one."),
      "\"*:443\"");
  bind.pattern = kBindPattern;
  name.required = true;
  bind.required = true;
  Key protocols =
      switches<kProtocols, &Listener::protocols>("protocols", std::vector<std::string_view>{"h2", "h1"},
                                                 "What is spoken here; a client that offers both by ALPN gets HTTP/2.");
  protocols.min_items = 1;
  table.keys = {
      name,
      bind,
      protocols,
      choice<kProxyHeaders, &Listener::proxy_protocol>(
          "proxy_protocol", "off",
          "Whether the peer is a load balancer that tells of the client in a PROXY protocol header. The address in it "
          "then is the client's in logs, in `X-Forwarded-For` and for `trusted_proxies`: whoever can connect here can "
          "name any address."),
      integer<&Listener::max_connections>(
          "max_connections", 0, {0, 10'000'000}, "",
          "Client connections at once through this listener; more get a 503 with `Retry-After`. 0 = only "
          "`server.max_connections` limits them."),
      integer<&Listener::max_connections_per_client>(
          "max_connections_per_client", 0, {0, 10'000'000}, "",
          "Connections at once through this listener from one client address, as "
          "`server.max_connections_per_client`; both limits hold. 0 = no limit of its own."),
  };
  table.tables = {listener_tls_table()};
  return table;
}

Table server_table() {
  Table table{.name = "server", .doc = "The client side: where DAO listens, and what a client may do."};
  table.enter = [](void* draft) -> void* { return &field_of<&Draft::config, &Config::server>(draft); };

  Key bind = texts<parse_bind, &Server::bind>(
      Kind::text_or_list, "bind", kBindForm,
      "Where to listen; `*` means every address, IPv4 and IPv6, and port 0 lets the kernel pick one. `fd:NAME` is a "
      "socket that systemd opened (socket activation), by its `FileDescriptorName=`, or by its number. Short for "
      "`[[server.listener]]` with nothing but a `bind`.");
  bind.absent = "`127.0.0.1:8080`, or nothing if there is a `[[server.listener]]`";
  bind.min_items = 1;
  bind.max_items = kMaxItems;
  bind.unique_items = false;
  bind.pattern = kBindPattern;
  bind.example = R"(["0.0.0.0:80", "[::]:80"])";

  Key via = text<parse_token, &Server::via>(
      "via", "an HTTP token", "The name DAO gives itself in `Via` (RFC 9110 section 7.6.3) and `Proxy-Status`.");
  via.fallback = std::string_view("dao");
  via.pattern = "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";

  Key zone = with_example(text<parse_name, &Server::zone>("zone", kNameForm,
                                                          "Where this DAO runs, such as the zone of a data centre. "
                                                          "Upstreams with the same `zone` are preferred: others "
                                                          "are asked only while none of them may be."),
                          "\"eu-1a\"");
  zone.absent = "nowhere in particular: no upstream is preferred";

  Key trusted{
      .name = "trusted_proxies",
      .kind = Kind::text_list,
      .doc =
          "Peers whose own forwarding headers (`X-Forwarded-*`, `Forwarded`) are believed and continued; those of "
          "all other peers are removed. `unix` stands for every peer on a unix socket.",
      .fallback = std::vector<std::string_view>{},
      .form = R"("192.0.2.7", "10.0.0.0/8" or "unix")",
      .unique_items = true,
      .example = R"(["10.0.0.0/8", "2001:db8::/32"])",
      .store = store_trusted_proxies};

  table.keys = {
      bind,
      integer<&Server::workers>("workers", 0, {0, 1024}, "", "Worker threads; 0 = one per CPU."),
      integer<&Server::busy_poll_us>(
          "busy_poll_us", 0, {0, 1000}, "microseconds",
          "How long a worker looks for more events before it sleeps: answers under light load come sooner, and its CPU "
          "is busier. 0 = sleeps at once."),
      integer<&Server::max_connections>(
          "max_connections", 0, {0, 10'000'000}, "",
          "Client connections at once; more get a 503 with `Retry-After`. 0 = as many as the "
          "limit on file descriptors allows."),
      integer<&Server::max_connections_per_client>(
          "max_connections_per_client", 0, {0, 10'000'000}, "",
          "Connections at once from one client address, over all listeners; more get a 503 with `Retry-After`, or are "
          "closed where TLS is spoken. Where `proxy_protocol` is required, the address in the header counts. "
          "`trusted_proxies`, which stand for many clients, and peers on unix sockets have no such limit. 0 = no "
          "limit."),
      integer<&Server::ipv6_client_prefix>(
          "ipv6_client_prefix", 64, {1, 128}, "bits",
          "How much of an IPv6 address stands for one client in `max_connections_per_client`: whoever has a network "
          "has all of its addresses, and a network mostly has 64 bits."),
      integer<&Server::target_max_bytes>("target_max_bytes", 8192, {64, 1 << 20}, "bytes",
                                         "The longest request target; a longer one gets a 414."),
      integer<&Server::header_max_bytes>("header_max_bytes", 32768, {256, 1 << 20}, "bytes",
                                         "The largest request head; a larger one gets a 431."),
      integer<&Server::header_max_count>("header_max_count", 100, {1, 10'000}, "",
                                         "The most header lines in a request; more get a 431."),
      integer<&Server::body_max_bytes>("body_max_bytes", 0, {0, std::int64_t{1} << 50}, "bytes",
                                       "The largest request body; a larger one gets a 413. 0 = no limit."),
      integer<&Server::header_timeout>(
          "header_timeout_ms", 10'000, kTimeout, "ms",
          "How long a whole request head may take, from its first byte, or from the accept for the "
          "first one; then 408."),
      integer<&Server::body_timeout>("body_timeout_ms", 30'000, kTimeout, "ms",
                                     "The longest gap between two reads of a request body; then 408."),
      integer<&Server::body_min_bytes_per_second>("body_min_bytes_per_second", 64, {0, 1 << 30}, "bytes per second",
                                                  "The slowest average at which a request body may arrive, once "
                                                  "`body_timeout_ms` has passed; slower ones get a 408. 0 = off."),
      integer<&Server::idle_timeout>("idle_timeout_ms", 60'000, kTimeout, "ms",
                                     "How long a keep-alive connection may wait for its next request."),
      integer<&Server::write_timeout>("write_timeout_ms", 30'000, kTimeout, "ms",
                                      "How long a client may leave a response unread before its connection is closed."),
      integer<&Server::drain_timeout>("drain_timeout_ms", 30'000, kOptionalTimeout, "ms",
                                      "How long a stopping DAO lets requests in progress finish; 0 = not at all."),
      integer<&Server::websocket_drain>(
          "websocket_drain_ms", 10'000, kOptionalTimeout, "ms",
          "How long a stopping DAO leaves WebSockets open before it sends both sides a Close (1012, service restart); "
          "at most half of `drain_timeout_ms`, so that they can answer."),
      zone,
      via,
      choice<kForwarded, &Server::forwarded>("forwarded", "both", "Which headers tell the backend about the client."),
      trusted,
      boolean<&Server::proxy_status_details>(
          "proxy_status_details", false,
          "Adds `details` to the `Proxy-Status` of DAO's own errors; tells clients about "
          "the inside."),
  };
  const std::vector<Key> tls = server_tls_keys();
  table.keys.insert(table.keys.begin() + 1, tls.begin(), tls.end());
  table.tables = {listener_table()};
  return table;
}

// The keys that [proxy] and [routes.rule.proxy] have in common; `Path` leads from the object of the table to its
// ProxySettings.
template <auto... Path>
std::vector<Key> proxy_settings_keys() {
  return {
      integer<Path..., &ProxySettings::connect_timeout>("connect_timeout_ms", 1000, kTimeout, "ms",
                                                        "How long connecting to an upstream may take; then 504."),
      integer<Path..., &ProxySettings::first_byte_timeout>(
          "first_byte_timeout_ms", 30'000, kTimeout, "ms",
          "How long an upstream may take from the sent request to the first byte of its response; then 504."),
      integer<Path..., &ProxySettings::read_timeout>("read_timeout_ms", 30'000, kTimeout, "ms",
                                                     "The longest gap between two reads of a response body; then the "
                                                     "client's connection is aborted."),
      integer<Path..., &ProxySettings::total_timeout>(
          "total_timeout_ms", 0, kOptionalTimeout, "ms",
          "How long a request may take with all its retries; then 504. 0 = no limit."),
      integer<Path..., &ProxySettings::retries>(
          "retries", 1, {0, 2}, "",
          "How often a failed request is tried again, each time on another upstream of the rule."),
      switches<kRetryOn, Path..., &ProxySettings::retry_on>(
          "retry_on", std::vector<std::string_view>{"connect-failure", "connection-lost", "5xx", "silence"},
          "What is tried again; never after a byte of the response was forwarded. An empty list = nothing."),
      integer<Path..., &ProxySettings::websocket_idle_timeout>("websocket_idle_timeout_ms", 300'000, kOptionalTimeout,
                                                               "ms",
                                                               "How long a WebSocket may be silent in both directions, "
                                                               "and how long a side may leave a Ping unanswered; then "
                                                               "it is closed with 1001. 0 = for ever."),
      integer<Path..., &ProxySettings::websocket_ping_interval>(
          "websocket_ping_interval_ms", 0, kOptionalTimeout, "ms",
          "DAO sends a Ping of its own to a side of a WebSocket that was silent for this long. 0 = never: the Pings of "
          "the endpoints pass in any case."),
      integer<Path..., &ProxySettings::queue_max>(
          "queue_max", 1024, {0, 1'000'000}, "",
          "Requests of a rule that may wait, in each worker, while every upstream of the rule is at its "
          "`max_in_flight`; more get a 503 with `Retry-After`. 0 = none waits."),
      integer<Path..., &ProxySettings::queue_timeout>(
          "queue_timeout_ms", 5000, kTimeout, "ms",
          "How long a request may wait for room at an upstream; then a 503 with `Retry-After`."),
  };
}

Table proxy_table() {
  Table table{.name = "proxy", .doc = "The backend side: timeouts, retries and connection pools."};
  table.enter = [](void* draft) -> void* { return &field_of<&Draft::config, &Config::proxy>(draft); };
  table.keys = proxy_settings_keys<&Proxy::defaults>();
  const std::vector<Key> own = {
      integer<&Proxy::retry_budget_percent>(
          "retry_budget_percent", 20, {0, 100}, "percent",
          "Retries may be at most this share of requests, so that they cannot become a storm."),
      integer<&Proxy::retry_budget_min_per_second>(
          "retry_budget_min_per_second", 10, {0, 1'000'000}, "retries per second",
          "Retries that are always within the budget, however few requests there are."),
      integer<&Proxy::response_header_max_bytes>("response_header_max_bytes", 65'536, {256, 1 << 20}, "bytes",
                                                 "The largest response head an upstream may send; then 502."),
      integer<&Proxy::interim_responses_max>("interim_responses_max", 16, {0, 1000}, "",
                                             "The most 1xx responses before the final one; then 502."),
      integer<&Proxy::pool_max_idle>(
          "pool_max_idle", 1024, {0, 100'000}, "",
          "Idle connections kept per upstream and worker, which are never more than were in use at once within "
          "`pool_idle_timeout_ms`; 0 = none."),
      integer<&Proxy::pool_idle_timeout>("pool_idle_timeout_ms", 60'000, kTimeout, "ms",
                                         "How long a connection to an upstream is kept while idle."),
      integer<&Proxy::http2_max_streams>("http2_max_streams", 100, {1, 10'000}, "",
                                         "Requests at the same time on one HTTP/2 connection before another one is "
                                         "opened; the upstream may allow fewer."),
      integer<&Proxy::http2_max_connections>(
          "http2_max_connections", 4, {1, 1000}, "",
          "HTTP/2 connections per upstream address and worker; when all are full, requests wait for their turn."),
      integer<&Proxy::http2_ping_after>(
          "http2_ping_after_ms", 10'000, kTimeout, "ms",
          "Silence of an HTTP/2 connection with requests under way after which DAO asks by PING whether it lives."),
      integer<&Proxy::http2_ping_timeout>(
          "http2_ping_timeout_ms", 5000, kTimeout, "ms",
          "How long the answer to that PING may take; then the connection is given up."),
  };
  table.keys.insert(table.keys.end(), own.begin(), own.end());
  return table;
}

Table dns_table() {
  Table table{.name = "dns", .doc = "How the host names of upstreams are resolved."};
  table.enter = [](void* draft) -> void* { return &field_of<&Draft::config, &Config::dns>(draft); };
  Key servers =
      texts<parse_name_server, &Dns::servers>(Kind::text_list, "servers", R"("ip:port" or "[ipv6]:port")",
                                              "DNS servers to ask; empty = the system's. Without a port, 53.");
  servers.fallback = std::vector<std::string_view>{};
  servers.example = R"(["192.0.2.53:53"])";
  table.keys = {
      servers,
      integer<&Dns::timeout>("timeout_ms", 2000, {1, 600'000}, "ms", "How long resolving a name may take; then 504."),
      integer<&Dns::min_ttl>("min_ttl_ms", 1000, kOptionalTimeout, "ms",
                             "An answer is used at least this long, whatever its TTL says."),
      integer<&Dns::max_ttl>("max_ttl_ms", 300'000, kTimeout, "ms",
                             "An answer is used at most this long; not less than `min_ttl_ms`."),
  };
  return table;
}

Table telemetry_table() {
  Table access_log{.name = "access_log", .doc = "One line per request."};
  access_log.enter = [](void* telemetry) -> void* { return &field_of<&Telemetry::access_log>(telemetry); };
  Key path =
      text<parse_log_path, &AccessLog::path>("path", "a path of a file",
                                             "Where the access log goes: a file, `-` for standard output, or the empty "
                                             "text for no access log. SIGUSR1 opens the file anew.");
  path.fallback = std::string_view("");
  path.example = R"("/var/log/dao/access.log")";
  access_log.keys = {
      path,
      choice<kAccessLogFormats, &AccessLog::format>("format", "json", "What a line looks like."),
      integer<&AccessLog::buffer_bytes>(
          "buffer_bytes", 1 << 20, {65536, 1 << 30}, "bytes",
          "Lines waiting to be written, per worker; when it is full, lines are dropped and counted "
          "rather than requests delayed."),
  };

  Table log{.name = "log", .doc = "DAO's own log, on standard error."};
  log.enter = [](void* telemetry) -> void* { return telemetry; };
  log.keys = {
      choice<kLogLevels, &Telemetry::log_level>("level", "info", "The least important lines that are written.")};

  Table table{.name = "telemetry", .doc = "What DAO tells about itself."};
  table.enter = [](void* draft) -> void* { return &field_of<&Draft::config, &Config::telemetry>(draft); };
  Key prometheus = text<parse_optional_bind, &Telemetry::prometheus_bind>(
      "prometheus_bind", kBindForm, "Where `/metrics` (Prometheus), `/livez` and `/ready` are served.");
  prometheus.absent = "no such listener";
  prometheus.pattern = kBindPattern;
  prometheus.example = R"("127.0.0.1:9090")";
  table.keys = {prometheus};
  table.tables = {access_log, log};
  return table;
}

Table match_table() {
  Table table{.name = "match",
              .doc = "Which requests the rule takes: all conditions that are present must hold; none = every request."};
  table.exclusive = "path_prefix path_exact";
  table.enter = [](void* rule) -> void* { return &field_of<&RuleDraft::rule, &Rule::match>(rule); };

  Key host = texts<parse_host_pattern, &Match::hosts>(
      Kind::text_or_list, "host", R"("example.org", "*.example.org" or an IP address)",
      "Any of these hosts, compared without case and port; `*.example.org` matches every name below example.org, at "
      "any depth, "
      "but not example.org itself.");
  host.absent = "every host";
  host.min_items = 1;
  host.example = R"(["example.org", "*.example.org"])";

  Key prefix = text<parse_optional_path, &Match::path_prefix>("path_prefix", R"(a path starting with "/")",
                                                              "The path of the request starts with these characters: "
                                                              "`/api` also matches `/api2`, `/api/` does not.");
  Key exact = text<parse_optional_path, &Match::path_exact>(
      "path_exact", R"(a path starting with "/")", "The path of the request is exactly this one, without its query.");
  prefix.example = "\"/api/\"";
  exact.example = "\"/health\"";
  for (Key* key : {&prefix, &exact}) {
    key->absent = "every path";
    key->pattern = "^/[^?#\\s]*$";
  }

  Key headers{
      .name = "headers",
      .kind = Kind::text_table,
      .doc = "All of these headers are present with exactly these values; their names are compared without case.",
      .absent = "whatever the headers are",
      .form = "the name of a header and its value",
      .max_items = kMaxItems,
      .example = R"({ "X-Canary" = "1" })",
      .store = store_headers};

  Key upgrade = choice<kUpgrades, &Match::upgrade>(
      "upgrade", "",
      "Only requests that ask for this protocol. It selects, it does not allow: a WebSocket passes by any rule.");
  upgrade.fallback = std::monostate{};
  upgrade.absent = "requests with and without an upgrade";
  upgrade.example = "\"websocket\"";
  table.keys = {host, prefix, exact, headers, upgrade};
  return table;
}

Table rule_table() {
  Table proxy{.name = "proxy", .doc = "Overrides of [proxy] for this rule."};
  proxy.enter = [](void* rule) -> void* { return &field_of<&RuleDraft::rule, &Rule::proxy>(rule); };
  proxy.keys = proxy_settings_keys<>();
  for (Key& key : proxy.keys) {
    key.fallback = std::monostate{};
    key.absent = "as in [proxy]";
  }

  Table upstreams{
      .name = "upstreams",
      .doc =
          "The backend servers of the rule, at least one. An upstream that several rules name is one upstream, with "
          "one pool: its name then stands for the same URL everywhere. A rule that redirects or responds by itself "
          "needs "
          "none.",
      .repeated = true};
  upstreams.enter = [](void* rule) -> void* { return &field_of<&RuleDraft::upstreams>(rule).emplace_back(); };
  Key name = with_example(
      text<parse_name, &UpstreamDraft::name>("name", kNameForm, "The name of the upstream in logs and metrics."),
      "\"api-1\"");
  Key url = with_example(
      text<parse_url, &UpstreamDraft::url>(
          "url", R"("http://host[:port][/base/path]", the same with "https://" or "h2c://", or "unix:/path")",
          "Where the upstream is; a base path is put before the path of every request. The port is 80 if none is "
          "given, with https 443. `ws://` means the same as `http://`, `wss://` the same as `https://`; `h2c://` is "
          "HTTP/2 without TLS."),
      "\"https://api.internal:8443\"");
  url.pattern = "^(([Hh][Tt][Tt][Pp]|[Ww][Ss])[Ss]?://[^?#]+|[Hh]2[Cc]://[^?#]+|[Uu][Nn][Ii][Xx]:/.+)$";
  name.required = true;
  url.required = true;
  Key intent = texts<parse_intent, &UpstreamDraft::intents>(
      Kind::text_or_list, "intent", kIntentForm,
      "The classes of traffic that the upstream is for, compared without case; at most 64 different ones in a file. "
      "Other traffic still reaches it when the rest of the score says so.");
  intent.absent = "for any traffic";
  intent.min_items = 1;
  intent.max_items = kMaxIntents;
  intent.example = "[\"realtime\", \"streaming\"]";
  Key zone =
      with_example(text<parse_name, &UpstreamDraft::zone>("zone", kNameForm, "Where the upstream runs."), "\"eu-1a\"");
  zone.absent = "unknown: never preferred";
  upstreams.keys = {name,
                    url,
                    intent,
                    zone,
                    integer<&UpstreamDraft::weight>("weight", 1, {1, 1000}, "",
                                                    "The share of this upstream, relative to the others of the rule."),
                    integer<&UpstreamDraft::max_in_flight>(
                        "max_in_flight", 0, {0, 1'000'000}, "",
                        "Requests to the upstream at once, over all workers and rules; a WebSocket counts until it is "
                        "closed. A full upstream is not chosen; while all are full, requests wait (`queue_max`, "
                        "`queue_timeout_ms`). 0 = no limit."),
                    choice<kProxyAnnouncements, &UpstreamDraft::proxy_protocol>(
                        "proxy_protocol", "off",
                        "Whether connections to the upstream begin with a PROXY protocol header, before TLS if there "
                        "is TLS. It tells who connected to DAO and where, or, behind `proxy_protocol = \"required\"`, "
                        "what that header told; never what `X-Forwarded-For` says. Such a connection carries requests "
                        "of that one client connection only, and is closed with it, so there are as many as clients.")};
  const std::vector<Key> tls = upstream_tls_keys();
  upstreams.keys.insert(upstreams.keys.end(), tls.begin(), tls.end());
  upstreams.tables = {probe_table()};

  Table rule{
      .name = "rule",
      .doc =
          "A route. Rules are tried in the order of the file, and the first that matches takes the request; when none "
          "matches, DAO answers 404.",
      .repeated = true,
      .missing = "no routes: there is nothing to serve",
      .order_matters = true};
  rule.enter = [](void* object) -> void* {
    auto& draft = *static_cast<Draft*>(object);
    RuleDraft& added = draft.rules.emplace_back();
    added.rule.proxy = draft.config.proxy.defaults;  // [proxy] stands before the routes in the schema, so it is loaded
    return &added;
  };
  Key rule_name = with_example(text<parse_name, &RuleDraft::rule, &Rule::name>(
                                   "name", kNameForm, "The name of the rule in logs and metrics; unique."),
                               "\"api\"");
  rule_name.required = true;
  Key hash_key = text<parse_hash_key, &RuleDraft::rule, &Rule::hash_key>(
      "hash_key", R"("client", "header:NAME" or "cookie:NAME")",
      "What `policy = \"consistent-hash\"` keeps together: requests from one address, with one value of a header, or "
      "of "
      "a cookie. Requests without it go anywhere. The address is that of the connection, or of the PROXY protocol, or, "
      "behind `trusted_proxies`, the one that `X-Forwarded-For` tells.");
  hash_key.fallback = std::string_view("client");
  hash_key.pattern = "^(client|header:.+|cookie:.+)$";
  hash_key.example = "\"cookie:session\"";
  Key rule_intent = text<parse_intent, &RuleDraft::intent>(
      "intent", kIntentForm,
      "The class of the rule's traffic. Policies with an intent weight prefer upstreams of the same intent.");
  rule_intent.absent = "no intent: every upstream is as good";
  rule_intent.example = "\"realtime\"";
  rule.keys = {
      rule_name, policy_key(), hash_key,
      integer<&RuleDraft::rule, &Rule::slow_start>(
          "slow_start_ms", 10'000, kOptionalTimeout, "ms",
          "An upstream that comes back, or joins while DAO runs, begins with a tenth of its weight and has all "
          "of it after this time. 0 = at once."),
      rule_intent};
  const std::vector<Key> more_keys = filter_keys();
  rule.keys.insert(rule.keys.end(), more_keys.begin(), more_keys.end());
  rule.tables = {match_table(), proxy, upstreams};
  const std::vector<Table> filters = filter_tables();
  rule.tables.insert(rule.tables.end(), filters.begin(), filters.end());
  return rule;
}

Table build() {
  Table routes{.name = "routes", .doc = "Which request goes where."};
  routes.enter = [](void* draft) -> void* { return draft; };
  Key intent_header = text<parse_optional_header_name, &Draft::config, &Config::intent_header>(
      "intent_header", "the name of a header",
      "A header in which requests name their intent; it takes the place of the rule's. Believed only from "
      "`server.trusted_proxies`, since whoever may set it can take the best upstreams for itself; a name that the file "
      "does not know is ignored. Empty: no such header.");
  intent_header.fallback = std::string_view("");
  intent_header.example = "\"X-Intent\"";
  routes.keys = {intent_header};
  routes.tables = {rule_table()};

  Table liminal{.name = "liminal", .doc = "What DAO does by itself."};
  liminal.enter = [](void* draft) -> void* { return &field_of<&Draft::config, &Config::liminal>(draft); };
  liminal.tables = {presence_table(), metamorphic_table()};

  Table root{.name = {}, .doc = "A config file of DAO."};
  root.enter = [](void* draft) -> void* { return draft; };
  Key include = texts<parse_include, &Draft::includes>(
      Kind::text_or_list, "include", R"(a path such as "conf.d/*.toml")",
      "Files that belong to this one, relative to its directory. `*`, `?` and `[...]` stand for parts of a name and "
      "take "
      "what there is, in order of name, without hidden files; any other name must be there. Included files may hold "
      "all tables and include nothing themselves. Rules of this file come first, then those of the included files in "
      "their order; a key that two files set is an error.");
  include.fallback = std::vector<std::string_view>{};
  include.max_items = kMaxItems;
  include.example = R"(["conf.d/*.toml"])";
  root.keys = {include};
  root.tables = {server_table(),   proxy_table(), dns_table(), telemetry_table(), admin_table(), memory_table(),
                 policies_table(), liminal,       routes};
  return root;
}

std::string describe_text(const Key& key) {
  if (key.choices.empty()) return std::string(key.form);
  std::string names;
  for (const Choice& option : key.choices) names += fmt::format("{}\"{}\"", names.empty() ? "" : ", ", option.name);
  return (key.open ? "" : "one of ") + names + (key.open ? " or " + std::string(key.form) : "");
}

}  // namespace

const Table& schema() {
  static const Table root = build();
  return root;
}

std::string describe_value(const Key& key) {
  switch (key.kind) {
    case Kind::boolean:
      return "true or false";
    case Kind::integer:
      return fmt::format("an integer from {} to {}{}{}", key.min, key.max, key.unit.empty() ? "" : ", in ",
                         key.unit == "ms" ? "milliseconds" : key.unit);
    case Kind::number:
      return fmt::format("a number from {} to {}", key.min, key.max);
    case Kind::text:
      return key.choices.empty() ? "a string: " + describe_text(key) : describe_text(key);
    case Kind::text_list:
      return "an array of strings: " + describe_text(key);
    case Kind::text_or_list:
      return "a string or an array of strings: " + describe_text(key);
    case Kind::text_table:
      return "a table of strings: " + describe_text(key);
  }
  return {};
}

std::string default_as_toml(const Key& key) {
  struct AsToml {
    std::string operator()(std::monostate) const { return {}; }
    std::string operator()(bool value) const { return value ? "true" : "false"; }
    std::string operator()(std::int64_t value) const { return fmt::format("{}", value); }
    std::string operator()(double value) const { return fmt::format("{}", value); }
    std::string operator()(std::string_view value) const { return fmt::format("\"{}\"", value); }
    std::string operator()(const std::vector<std::string_view>& values) const {
      std::string items;
      for (const auto value : values) items += fmt::format("{}\"{}\"", items.empty() ? "" : ", ", value);
      return "[" + items + "]";
    }
  };
  if (const auto* values = std::get_if<std::vector<std::string_view>>(&key.fallback);
      values != nullptr && key.kind == Kind::text_or_list && values->size() == 1) {
    return AsToml{}(values->front());
  }
  return std::visit(AsToml{}, key.fallback);
}

std::string path_inside(std::string_view around, const Table& table) {
  std::string path = around.empty() ? std::string(table.name) : fmt::format("{}.{}", around, table.name);
  if (table.enter_named != nullptr) path += ".NAME";
  return path;
}

std::string header_of(std::string_view path, const Table& table) {
  std::string name;
  for (std::size_t i = 0; i < path.size(); ++i) {
    if (path[i] == '[') {
      i = path.find(']', i);
    } else {
      name += path[i];
    }
  }
  return table.repeated ? "[[" + name + "]]" : "[" + name + "]";
}

}  // namespace dao::config

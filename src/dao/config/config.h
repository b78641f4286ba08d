// A loaded and checked configuration: plain values that the rest of DAO reads.
//
// Made by load.h only, which guarantees what the comments here say; nothing changes it afterwards, so it is shared
// between threads as std::shared_ptr<const Config>. What each key means to an operator, with its range and default, is
// in the schema table (schema.cpp) and the page generated from it, docs/config-reference.md. Keys named *_ms are
// durations here, without the suffix.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dao/base/clock.h"
#include "dao/config/address_block.h"
#include "dao/config/filters.h"

namespace dao::config {

// Where to listen or to send: an IP address and port, the path of a unix socket, or (listeners only) a socket that is
// there when DAO starts.
struct Address {
  enum class Kind : std::uint8_t { tcp, unix_socket, inherited };

  std::string text;  // as the operator wrote it
  Kind kind = Kind::tcp;
  std::string host;  // tcp: IPv4 or IPv6 literal without brackets; empty = every address, IPv4 and IPv6 ("*:80", ":80")
                     // inherited: the socket's name, or its number
  std::uint16_t port = 0;  // tcp: 0 = the kernel picks (listeners only)
  std::string path;        // unix_socket: absolute path

  friend bool operator==(const Address&, const Address&) = default;
};

// Whose X-Forwarded-*, Forwarded and the like are believed.
using TrustedProxies = AddressSet;

enum class Forwarded : std::uint8_t { both, x_forwarded, forwarded, off };

enum class ProxyHeader : std::uint8_t { off, required };

// The version of the PROXY protocol that connections to an upstream begin with.
enum class ProxyAnnouncement : std::uint8_t { off, v1, v2 };

// What a listener, or an upstream, speaks; at least one.
struct Protocols {
  bool h1 = false;
  bool h2 = false;

  friend bool operator==(const Protocols&, const Protocols&) = default;
};

enum class TlsVersion : std::uint8_t { tls12, tls13 };
enum class ClientAuth : std::uint8_t { off, optional, required };

struct CertificateFiles {
  std::string cert;
  std::string key;
  std::string ocsp;  // empty = none

  friend bool operator==(const CertificateFiles&, const CertificateFiles&) = default;
};

// Forward secrecy and authenticated encryption only; AES with 128 bits first, which costs the least.
inline constexpr std::string_view kDefaultCiphers =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
inline constexpr std::string_view kDefaultCipherSuites =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

struct ListenerTls {
  std::vector<CertificateFiles> certificates{};  // empty = no TLS
  TlsVersion min_version = TlsVersion::tls12;    // <= max_version
  TlsVersion max_version = TlsVersion::tls13;
  std::string ciphers{kDefaultCiphers};
  std::string cipher_suites{kDefaultCipherSuites};
  ClientAuth client_auth = ClientAuth::off;
  std::string client_ca{};   // a file; empty only if client_auth is off
  std::string client_crl{};  // a file; empty = nobody is revoked; only with client_auth
  bool session_tickets = true;
  Milliseconds session_timeout = std::chrono::hours(1);

  friend bool operator==(const ListenerTls&, const ListenerTls&) = default;
};

// One place where clients connect.
struct Listener {
  std::string name;  // unique in Server::listeners
  Address address;   // all different
  Protocols protocols;
  ProxyHeader proxy_protocol = ProxyHeader::off;
  std::size_t max_connections = 0;             // 0 = only Server::max_connections limits
  std::size_t max_connections_per_client = 0;  // 0 = only Server::max_connections_per_client limits
  ListenerTls tls{};
};

struct Server {
  std::vector<Address> bind;  // the key as it was given; `listeners` has these too
  // Never empty. First those of `bind`, named "1", "2", …, then those of [[server.listener]].
  std::vector<Listener> listeners;
  std::string tls_cert;  // with tls_key: TLS for the listeners of `bind`, which have it already
  std::string tls_key;
  std::uint32_t workers = 0;                   // 0 = one per CPU
  std::uint32_t busy_poll_us = 0;              // 0 = off
  std::size_t max_connections = 0;             // 0 = derived from the limit on file descriptors
  std::size_t max_connections_per_client = 0;  // 0 = no limit
  std::uint8_t ipv6_client_prefix = 0;         // bits of an IPv6 address that stand for one client, 1..128
  std::size_t target_max_bytes = 0;
  std::size_t header_max_bytes = 0;
  std::size_t header_max_count = 0;
  std::size_t body_max_bytes = 0;  // 0 = no limit
  Milliseconds header_timeout{};
  Milliseconds body_timeout{};
  std::size_t body_min_bytes_per_second = 0;  // 0 = off
  Milliseconds idle_timeout{};
  Milliseconds write_timeout{};
  Milliseconds drain_timeout{};
  Milliseconds websocket_drain{};
  std::string zone;  // where this DAO runs; empty = nowhere in particular
  std::string via;   // an HTTP token (RFC 9110 section 7.6.3, pseudonym)
  Forwarded forwarded = Forwarded::both;
  TrustedProxies trusted_proxies;
  bool proxy_status_details = false;
};

struct RetryOn {
  bool connect_failure = false;  // nothing was sent: any method
  bool connection_lost = false;  // lost before any answer: idempotent methods
  bool status_5xx = false;       // safe methods
  bool silence = false;          // the upstream answers nothing any more: safe methods
};

// The part of [proxy] that a rule may override.
struct ProxySettings {
  Milliseconds connect_timeout{};
  Milliseconds first_byte_timeout{};
  Milliseconds read_timeout{};
  Milliseconds total_timeout{};  // 0 = none
  std::uint32_t retries = 0;     // 0..2
  RetryOn retry_on;
  Milliseconds websocket_idle_timeout{};   // 0 = none
  Milliseconds websocket_ping_interval{};  // 0 = none of DAO's own
  std::size_t queue_max = 0;               // per route and worker; 0 = nobody waits
  Milliseconds queue_timeout{};
};

struct Proxy {
  ProxySettings defaults;  // already merged into every Rule::proxy; the request path reads that one
  std::uint32_t retry_budget_percent = 0;
  std::uint32_t retry_budget_min_per_second = 0;
  std::size_t response_header_max_bytes = 0;
  std::uint32_t interim_responses_max = 0;
  std::size_t pool_max_idle = 0;  // per upstream and worker
  Milliseconds pool_idle_timeout{};
  std::size_t http2_max_streams = 0;      // on a connection, before another one is opened
  std::size_t http2_max_connections = 0;  // per address and worker
  Milliseconds http2_ping_after{};
  Milliseconds http2_ping_timeout{};
};

struct Dns {
  std::vector<Address> servers;  // tcp kind, port never 0; empty = the system's resolvers
  Milliseconds timeout{};
  Milliseconds min_ttl{};
  Milliseconds max_ttl{};  // >= min_ttl

  friend bool operator==(const Dns&, const Dns&) = default;
};

enum class AccessLogFormat : std::uint8_t { json, combined };
enum class LogLevel : std::uint8_t { debug, info, warning, error };

struct AccessLog {
  std::string path;  // empty = off, "-" = standard output, otherwise a file
  AccessLogFormat format = AccessLogFormat::json;
  std::size_t buffer_bytes = 0;  // per worker

  friend bool operator==(const AccessLog&, const AccessLog&) = default;
};

struct Telemetry {
  std::optional<Address> prometheus_bind;  // absent = no telemetry listener; differs from every Listener::address
  AccessLog access_log;
  LogLevel log_level = LogLevel::info;
};

// The admin API (docs/admin-api.md) and what DAO tells trusted clients of its choices.
struct Admin {
  std::optional<Address> bind;           // absent = off; differs from every other listener
  bool bind_given = false;               // false: it is the default, which another DAO of the machine may have taken
  std::string token_file;                // empty only if `bind` is a loopback address or a unix socket
  std::vector<std::string> allow_hosts;  // in lower case, IPv6 in brackets
  bool explain_header = false;
  TrustedProxies explain_trusted;  // whose requests may ask for x-dao-explain
};

// The store (docs/memory.md).
struct Memory {
  bool off = false;  // nothing is kept beyond the process
  std::string path;  // empty = the default place, unless it is off
  Milliseconds flush_interval{1000};
  std::size_t snapshots = 100;  // at least 1
  bool follow_files = true;     // a changed configuration file is loaded by itself
};

enum class Scheme : std::uint8_t { http, https, h2c, unix_socket };

// Where an upstream is. http: "http://host[:port][/base/path]" or the same with ws; https, the same with https or wss;
// h2c, HTTP/2 without TLS: "h2c://host[:port][/base/path]"; unix: "unix:/path/of.sock". What is said of http below
// holds for https and h2c too.
struct Url {
  std::string text;  // as the operator wrote it
  Scheme scheme = Scheme::http;
  std::string host;         // http: DNS name in lower case, or an IP literal without brackets
  bool host_is_ip = false;  // no DNS needed
  std::uint16_t port = 0;   // http: 1..65535
  std::string socket_path;  // unix_socket: absolute path
  std::string base_path;    // put before the path of the request; empty or "/x/y", never with a slash at its end

  // Both name the same place, however they are spelled.
  [[nodiscard]] bool same_place(const Url& other) const;
};

// How an https upstream is spoken to. Files; empty = none, or the default.
struct UpstreamTls {
  bool verify = true;
  std::string ca{};           // empty = the system's
  std::string server_name{};  // empty = the host of the URL
  std::string cert{};         // with key
  std::string key{};
  Protocols protocols{.h1 = true, .h2 = true};  // offered by ALPN; what the backend picks is spoken

  friend bool operator==(const UpstreamTls&, const UpstreamTls&) = default;
};

// How an upstream is probed; docs/presence.md. Every rule that names it says the same.
enum class ProbeType : std::uint8_t {
  off,  // only while it is absent, by connecting
  http,
  tcp,
};
struct StatusRange {
  std::uint16_t first = 200;
  std::uint16_t last = 399;

  friend bool operator==(const StatusRange&, const StatusRange&) = default;
};
struct Probe {
  ProbeType type = ProbeType::off;
  std::string path = "/";
  std::string host{};  // empty = that of the URL
  Milliseconds interval{5000};
  Milliseconds timeout{1000};
  std::uint32_t jitter_percent = 20;
  std::uint32_t rise = 2;
  std::uint32_t fall = 3;
  StatusRange expect_status;
  std::string expect_body{};  // empty = any

  friend bool operator==(const Probe&, const Probe&) = default;
};

// [liminal.presence]
struct Presence {
  bool enabled = true;
  std::uint32_t history = 20;
  std::uint32_t present_percent = 80;
  std::uint32_t liminal_percent = 30;  // <= present_percent
  Milliseconds absent_after{30'000};
  std::uint32_t failures = 3;
  std::uint32_t trial_requests = 1;
  Milliseconds trial_backoff{250};
  Milliseconds trial_backoff_max{1500};  // >= trial_backoff
  Milliseconds probe_backoff{250};
  Milliseconds probe_backoff_max{1500};  // >= probe_backoff
  std::uint32_t probes_max = 64;

  friend bool operator==(const Presence&, const Presence&) = default;
};

// What requests are kept together by, for Policy::consistent_hash and for transitions.
struct HashKey {
  enum class Kind : std::uint8_t { client, header, cookie };

  Kind kind = Kind::client;
  std::string name{};  // of the header, in lower case, or of the cookie
};

// [liminal.metamorphic]
struct Metamorphic {
  Milliseconds transition{};  // 0 = at once
  HashKey key{};
  double max_error_increase_percent = 0.5;
  double max_latency_increase_percent = 10;
  double false_alarm_percent = 1;  // > 0
  bool rollback = true;
};

struct Liminal {
  Presence presence;
  Metamorphic metamorphic;
};

struct Upstream {
  std::string name;  // unique in Config::upstreams
  // What counts, holds and knows of it is indexed by this, for as long as there is an upstream of the same name and
  // place (server/roster.h). As loaded: its index in Config::upstreams.
  std::uint32_t number = 0;
  Url url;
  UpstreamTls tls{};
  ProxyAnnouncement proxy_protocol = ProxyAnnouncement::off;
  Probe probe{};
  std::string zone{};               // where it runs; empty = unknown
  std::uint32_t max_in_flight = 0;  // requests at once, over all workers; 0 = no limit
};

enum class Policy : std::uint8_t {
  round_robin,
  random,
  least_connections,
  two_choices,
  peak_ewma,
  consistent_hash,
  resonant
};

// Of the score of Policy::resonant. Each 0..100, not all zero.
struct ResonantWeights {
  double load = 0.6;
  double intent = 0.3;
  double tempo = 0.1;

  friend bool operator==(const ResonantWeights&, const ResonantWeights&) = default;
};

struct PolicyChoice {
  Policy kind = Policy::round_robin;
  ResonantWeights weights{};        // Policy::resonant only
  std::string name{"round-robin"};  // as the rule gives it: a built-in one, or a [policies.NAME]
};

// One host pattern, in lower case and without port.
struct HostPattern {
  bool wildcard = false;
  std::string text;  // exact: "example.org", "192.0.2.1", "[::1]"; wildcard "*.example.org": ".example.org", which a
                     // host matches by ending with it and having at least one more character before it
};

struct HeaderMatch {
  std::string name;   // lower case
  std::string value;  // compared exactly, case-sensitively
};

// Which requests to leave HTTP a rule is for.
enum class Upgrade : std::uint8_t { any, websocket };

// All conditions that are present must hold; no conditions match everything.
struct Match {
  std::vector<HostPattern> hosts;          // any of them; empty = every host
  std::optional<std::string> path_prefix;  // starts with '/'; the path of the request starts with these characters
  std::optional<std::string> path_exact;   // starts with '/'; never together with path_prefix
  std::vector<HeaderMatch> headers;        // all of them; names all different
  Upgrade upgrade = Upgrade::any;          // any: whether or not the request asks for an upgrade
};

struct RuleUpstream {
  std::size_t index = 0;      // into Config::upstreams
  std::uint32_t weight = 1;   // 1..1000
  std::uint64_t intents = 0;  // bits, by the numbers of Config::intents; 0 = for any
};

struct Rule {
  std::string name;          // unique
  std::uint32_t number = 0;  // as Upstream::number, for as long as there is a rule of that name
  PolicyChoice policy;
  HashKey hash_key{};
  Milliseconds slow_start{};
  std::uint64_t intent = 0;  // one bit, by the number in Config::intents; 0 = none
  Match match;
  std::vector<RuleUpstream> upstreams;  // indexes all different; empty only if `redirect` or `respond` is on
  ProxySettings proxy;                  // [proxy] with this rule's overrides
  Filters filters;
  Rewrite rewrite;
  Redirect redirect;
  Respond respond;  // never with `redirect`
  Sticky sticky;
  Split split;
};

inline constexpr std::size_t kMaxIntents = 64;

struct Config {
  std::string source;                         // the file it came from
  std::vector<std::string> files;             // with those it includes, in the order in which they count
  std::vector<std::string> include_patterns;  // of glob(7): a new file that matches one would be included as well
  Server server;
  Proxy proxy;
  Dns dns;
  Telemetry telemetry;
  Liminal liminal;
  Admin admin;
  Memory memory;
  std::vector<std::string> intents;  // traffic classes that rules and upstreams name; lower case, at most kMaxIntents
  std::string intent_header;         // lower case; empty = off
  std::vector<Rule> rules;           // in order; the first that matches is taken; never empty
  std::vector<Upstream> upstreams;   // every upstream once, in order of first mention
};

}  // namespace dao::config

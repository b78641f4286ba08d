// The one error type of the request path: where a failure came from, what it was, and whether anything had already been
// sent, which together decide the status, the Proxy-Status name (RFC 9209), the log line and whether a retry is
// allowed.
//
// Trivially copyable, no allocation: `detail` must point at static storage. Any thread.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace dao {

enum class Origin : std::uint8_t {
  client,   // the peer that asked, or its network
  backend,  // the upstream server, or its network
  us,       // DAO itself: limits, shutdown, bugs
  config,   // what the operator wrote
};

enum class ErrorKind : std::uint8_t {
  none,
  // transport
  closed,          // orderly end of stream where more was expected
  reset,           // connection reset, broken pipe
  stream_reset,    // HTTP/2: this exchange was reset, the connection lives
  refused,         // connection refused
  unreachable,     // no route, network down
  connect_failed,  // any other failure to connect
  io,              // any other system error
  // time
  timeout_connect,
  timeout_head,
  timeout_body,
  timeout_write,
  timeout_idle,
  timeout_total,
  silent,     // no answer while many were due; another upstream was asked instead
  cancelled,  // somebody in DAO no longer wants the result
  // names
  dns_timeout,
  dns_error,
  // TLS
  tls_protocol,     // the handshake or a record broke the rules, or nothing was found in common
  tls_certificate,  // the peer's certificate is missing, or was not accepted by us
  tls_alert,        // the peer ended it with an alert
  // protocol
  malformed,           // RFC 9112 violated, or open to two readings
  head_too_large,      // 431
  target_too_large,    // 414
  body_too_large,      // 413
  unsupported,         // 501
  version,             // 505
  expectation,         // 417
  method_not_allowed,  // 405
  unexpected_upgrade,  // 101 nobody asked for
  misdirected,         // 421
  incomplete,          // message cut short
  proxy_header,        // no PROXY protocol header where one must be
  // DAO's own answers
  no_route,
  no_upstream,
  address_denied,  // 403
  rate_limited,    // 429
  connection_limit,
  client_connection_limit,
  queue_full,     // every upstream is at its limit, and so many wait already
  timeout_queue,  // no upstream had room in time
  draining,
};

// How much of the request the other side may have seen when the failure happened.
enum class Sent : std::uint8_t {
  nothing,  // certainly nothing: safe to retry any method
  maybe,    // part or all of the request may have been read
  answered  // response bytes were already forwarded to the client: never retry
};

struct Error {
  Origin origin = Origin::us;
  ErrorKind kind = ErrorKind::none;
  Sent sent = Sent::nothing;
  int sys_errno = 0;
  std::string_view detail = {};  // static text for operators; names the rule that was broken

  [[nodiscard]] constexpr Error with_sent(Sent value) const {
    Error copy = *this;
    copy.sent = value;
    return copy;
  }
  [[nodiscard]] constexpr Error with_origin(Origin value) const {
    Error copy = *this;
    copy.origin = value;
    return copy;
  }
};

// The name of a kind as used in logs and metrics: "timeout_connect".
std::string_view name_of(ErrorKind kind);
std::string_view name_of(Origin origin);

// One line for an operator: "backend: refused (Connection refused)".
std::string describe(const Error& error);

template <class T = void>
using Result = std::expected<T, Error>;

}  // namespace dao

// What one worker has counted since it started. The worker that owns a shard is its only writer; metrics and the mind
// read it at any time from other threads (counter.h says what they see). Nothing here allocates, locks or fails after
// construction. Each group has its own cache lines.
//
// Routes and upstreams are numbered by the caller, who may add numbers while the shard is in use, and give one to
// another route or upstream after clearing it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "dao/base/counter.h"
#include "dao/base/error.h"
#include "dao/sense/histogram.h"
#include "dao/sense/log_histogram.h"
#include "dao/sense/outcomes.h"
#include "dao/sense/sample_ring.h"
#include "dao/sense/slots.h"

namespace dao::sense {

inline constexpr std::size_t kErrorKinds = static_cast<std::size_t>(ErrorKind::draining) + 1;

// 1..5 for 100..599. 0: no status at all (the client or the backend was gone before one existed) or one outside.
inline constexpr std::size_t kStatusClasses = 6;
constexpr std::size_t status_class(unsigned status) {
  return status >= 100 && status <= 599 ? status / 100 : 0;
}

// Stands for "no route matched" in FinishedRequest; counted in a slot of its own.
inline constexpr std::uint32_t kNoRoute = ~std::uint32_t{0};

// Why an attempt was followed by another one; the names of `proxy.retry_on`.
enum class RetryReason : std::uint8_t { connect_failure, connection_lost, server_error, silence };
inline constexpr std::size_t kRetryReasons = 4;

// How a WebSocket ended; server/tunnel.h says when.
enum class WebSocketEnd : std::uint8_t {
  client_close,   // by the closing handshake; the client began it
  backend_close,  // the backend began it
  client_lost,    // closed or reset without a Close
  backend_lost,
  client_timeout,  // left a Ping or a Close unanswered, or took nothing
  backend_timeout,
  idle,  // nothing from either side
  drain,
};
inline constexpr std::size_t kWebSocketEnds = 8;

// How gRPC calls ended, by their status codes 0 ... 16 (http/grpc_status.h) and, last, without one.
inline constexpr std::size_t kGrpcStatuses = 18;
inline constexpr std::uint8_t kNoGrpcStatus = 17;
inline constexpr std::uint8_t kNotGrpc = 0xff;  // a request of another kind

// Kinds of floods over HTTP/2 (http/h2/flood.h).
inline constexpr std::size_t kFloodKinds = 10;

// One exchange with a client, when its last byte is out or it was given up.
struct FinishedRequest {
  std::uint32_t route = kNoRoute;
  std::uint16_t status = 0;          // sent to the client; 0 if none was
  std::uint64_t request_bytes = 0;   // body, without framing
  std::uint64_t response_bytes = 0;  // body, without framing
  std::uint64_t duration_ns = 0;     // from the first byte of the request head to the end
  std::uint8_t grpc_status = kNotGrpc;
};

// One try with one upstream.
struct FinishedAttempt {
  std::uint32_t upstream = 0;
  std::uint16_t status = 0;           // received final status; 0 if none was
  ErrorKind error = ErrorKind::none;  // why it failed, before or after its status
  bool reused_connection = false;
  std::uint64_t head_ns = 0;  // from sending to the final response head; counted only if there is a status
};

// add() sums the same group over workers, into one that nobody else writes. clear(): as it was in the beginning; the
// owner's thread.
struct alignas(64) RouteCounters {
  std::array<Counter, kStatusClasses> requests;
  Counter request_bytes;
  Counter response_bytes;
  Histogram duration;
  std::array<Counter, kGrpcStatuses> grpc_calls;
  Counter rate_limited;     // requests
  Counter denied;           // by client address
  Counter sticky_unknown;   // cookies that name no upstream of the route
  Counter fail_open;        // requests sent to an upstream that was not admitted, for none was
  Gauge queue_waiting;      // requests that wait for room at an upstream, now
  Counter queued;           // that had to wait
  Counter queue_timeouts;   // of these, in vain
  Counter queue_overflows;  // that could not even wait
  Histogram queue_time;     // of those that waited, whatever came of it

  void add(const RouteCounters& other);
  void clear();
};

struct alignas(64) UpstreamCounters {
  Counter reused;                                 // attempts on a connection that had served before
  std::array<Counter, kStatusClasses> responses;  // attempts, by the status received; [0]: none came
  Counter failures;                               // attempts that failed or were answered with 5xx
  std::array<Counter, kErrorKinds> errors;
  std::array<Counter, kRetryReasons> retries;  // attempts made because one with this upstream failed
  Counter connects;                            // connections asked for
  Counter connect_failures;                    // of these, not established
  Gauge connections_idle;                      // this worker's pool
  Gauge connections_active;                    // connections that carry an attempt now
  Histogram response_head;
  OutcomeCounters outcomes;  // for presence; outcomes.h

  void add(const UpstreamCounters& other);
  void clear();
};

// What belongs to no route and no upstream.
struct alignas(64) WorkerCounters {
  Counter connections_accepted;
  Counter connections_closed;
  Gauge connections_active;  // with a request being read or answered
  Gauge connections_idle;    // between requests
  Gauge requests_active;
  Gauge tasks;             // live coroutine tasks of the worker's loop
  Counter retries_denied;  // the retry budget was spent
  Gauge websockets;        // open now
  Counter websocket_messages_from_client;
  Counter websocket_messages_from_backend;
  Counter websocket_bytes_from_client;  // frames with their headers
  Counter websocket_bytes_from_backend;
  std::array<Counter, kWebSocketEnds> websocket_ends;
  Counter tls_full;                                // handshakes that succeeded
  Counter tls_resumed;                             // the same, on a session from before
  std::array<Counter, kErrorKinds> tls_failures;   // handshakes that did not
  std::array<Counter, kFloodKinds> floods;         // client connections ended for one
  std::array<Counter, kErrorKinds> client_errors;  // Origin::client: bad requests, limits, timeouts, lost clients
  std::array<Counter, kErrorKinds>
      rejected;  // Origin::us: refused by DAO itself (no route, no upstream, limits, draining)

  void add(const WorkerCounters& other);
};

class Shard {
 public:
  Shard(std::size_t routes, std::size_t upstreams) : routes_(routes), upstreams_(upstreams) {}

  // One thread, as Slots::grow; not necessarily the owner's.
  void grow(std::size_t routes, std::size_t upstreams) {
    routes_.grow(routes);
    upstreams_.grow(upstreams);
  }

  // A handful of plain additions, and a word for the mind; see shard_bench.cpp.
  void record(const FinishedRequest& request) {
    RouteCounters& route = request.route == kNoRoute ? unrouted_ : routes_[request.route];
    route.requests[status_class(request.status)].add();
    route.request_bytes.add(request.request_bytes);
    route.response_bytes.add(request.response_bytes);
    route.duration.record(request.duration_ns);
    if (request.grpc_status < kGrpcStatuses) route.grpc_calls[request.grpc_status].add();
    if (request.route != kNoRoute) {
      samples_.push(
          {.kind = SampleKind::request, .number = request.route, .bucket = log_bucket_of(request.duration_ns)});
    }
  }
  void record(const FinishedAttempt& attempt) {
    UpstreamCounters& upstream = upstreams_[attempt.upstream];
    upstream.responses[status_class(attempt.status)].add();
    if (attempt.reused_connection) upstream.reused.add();
    if (attempt.status != 0) upstream.response_head.record(attempt.head_ns);
    if (attempt.error != ErrorKind::none) upstream.errors[static_cast<std::size_t>(attempt.error)].add();
    upstream.failures.add(attempt.error != ErrorKind::none || status_class(attempt.status) == 5 ? 1 : 0);
    samples_.push({.kind = SampleKind::attempt,
                   .number = attempt.upstream,
                   .bucket = attempt.status != 0 ? log_bucket_of(attempt.head_ns) : Sample::kNoBucket});
  }
  // Counts an error of the client or of DAO itself. Those of a backend belong into its FinishedAttempt.
  void record(const Error& error) {
    const auto kind = static_cast<std::size_t>(error.kind);
    if (error.origin == Origin::client) worker_.client_errors[kind].add();
    if (error.origin == Origin::us) worker_.rejected[kind].add();
  }
  // The owner's thread: the number may be another's from now on.
  void forget_route(std::size_t route) {
    gone_.add(routes_[route]);
    routes_[route].clear();
  }
  void forget_upstream(std::size_t upstream) { upstreams_[upstream].clear(); }
  void record_fail_open(std::uint32_t route) { routes_[route].fail_open.add(); }
  void record_retry(std::uint32_t upstream, RetryReason reason) {
    upstreams_[upstream].retries[static_cast<std::size_t>(reason)].add();
  }

  [[nodiscard]] WorkerCounters& worker() { return worker_; }
  [[nodiscard]] const WorkerCounters& worker() const { return worker_; }
  [[nodiscard]] RouteCounters& route(std::size_t index) { return routes_[index]; }
  [[nodiscard]] UpstreamCounters& upstream(std::size_t index) { return upstreams_[index]; }
  [[nodiscard]] std::span<const UpstreamCounters> upstreams() const { return upstreams_.all(); }
  [[nodiscard]] std::span<const RouteCounters> routes() const { return routes_.all(); }
  // Requests without a route.
  [[nodiscard]] const RouteCounters& unrouted() const { return unrouted_; }
  // The sum of the routes that are no more.
  [[nodiscard]] const RouteCounters& gone() const { return gone_; }
  // One for each recorded attempt, and for each request with a route.
  [[nodiscard]] const SampleRing& samples() const { return samples_; }

 private:
  WorkerCounters worker_;
  RouteCounters unrouted_;
  RouteCounters gone_;
  Slots<RouteCounters> routes_;
  Slots<UpstreamCounters> upstreams_;
  SampleRing samples_;
};

}  // namespace dao::sense

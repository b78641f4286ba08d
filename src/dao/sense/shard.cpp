#include "dao/sense/shard.h"

namespace dao::sense {
namespace {

template <std::size_t N>
void add_each(std::array<Counter, N>& to, const std::array<Counter, N>& from) {
  for (std::size_t i = 0; i < N; ++i) to[i].add(from[i].value());
}

template <std::size_t N>
void clear_each(std::array<Counter, N>& counters) {
  for (Counter& counter : counters) counter.clear();
}

}  // namespace

void RouteCounters::add(const RouteCounters& other) {
  add_each(requests, other.requests);
  request_bytes.add(other.request_bytes.value());
  response_bytes.add(other.response_bytes.value());
  duration.add(other.duration);
  add_each(grpc_calls, other.grpc_calls);
  rate_limited.add(other.rate_limited.value());
  denied.add(other.denied.value());
  sticky_unknown.add(other.sticky_unknown.value());
  fail_open.add(other.fail_open.value());
  queue_waiting.add(other.queue_waiting.value());
  queued.add(other.queued.value());
  queue_timeouts.add(other.queue_timeouts.value());
  queue_overflows.add(other.queue_overflows.value());
  queue_time.add(other.queue_time);
}

void RouteCounters::clear() {
  clear_each(requests);
  request_bytes.clear();
  response_bytes.clear();
  duration.clear();
  clear_each(grpc_calls);
  rate_limited.clear();
  denied.clear();
  sticky_unknown.clear();
  fail_open.clear();
  queue_waiting.clear();
  queued.clear();
  queue_timeouts.clear();
  queue_overflows.clear();
  queue_time.clear();
}

void UpstreamCounters::add(const UpstreamCounters& other) {
  reused.add(other.reused.value());
  add_each(responses, other.responses);
  failures.add(other.failures.value());
  add_each(errors, other.errors);
  add_each(retries, other.retries);
  connects.add(other.connects.value());
  connect_failures.add(other.connect_failures.value());
  connections_idle.add(other.connections_idle.value());
  connections_active.add(other.connections_active.value());
  response_head.add(other.response_head);
  add_each(outcomes, other.outcomes);
}

void UpstreamCounters::clear() {
  reused.clear();
  clear_each(responses);
  failures.clear();
  clear_each(errors);
  clear_each(retries);
  connects.clear();
  connect_failures.clear();
  connections_idle.clear();
  connections_active.clear();
  response_head.clear();
  clear_each(outcomes);
}

void WorkerCounters::add(const WorkerCounters& other) {
  connections_accepted.add(other.connections_accepted.value());
  connections_closed.add(other.connections_closed.value());
  connections_active.add(other.connections_active.value());
  connections_idle.add(other.connections_idle.value());
  requests_active.add(other.requests_active.value());
  tasks.add(other.tasks.value());
  tls_full.add(other.tls_full.value());
  tls_resumed.add(other.tls_resumed.value());
  add_each(tls_failures, other.tls_failures);
  retries_denied.add(other.retries_denied.value());
  websockets.add(other.websockets.value());
  websocket_messages_from_client.add(other.websocket_messages_from_client.value());
  websocket_messages_from_backend.add(other.websocket_messages_from_backend.value());
  websocket_bytes_from_client.add(other.websocket_bytes_from_client.value());
  websocket_bytes_from_backend.add(other.websocket_bytes_from_backend.value());
  add_each(websocket_ends, other.websocket_ends);
  add_each(floods, other.floods);
  add_each(client_errors, other.client_errors);
  add_each(rejected, other.rejected);
}

}  // namespace dao::sense

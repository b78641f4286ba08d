// What is known of one request for the counters and the access log, gathered along the request path and written once,
// when the request ends.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "dao/base/error.h"
#include "dao/http/exchange.h"
#include "dao/server/tunnel.h"
#include "dao/server/worker_state.h"
#include "dao/upstream/attempt.h"

namespace dao::server {

class RequestJournal {
 public:
  // `generation`: the number of the configuration that the request began with, `side` its side of a gradual transition.
  RequestJournal(WorkerState& worker, http::Exchange& exchange, std::uint64_t generation, SideTaken side);
  RequestJournal(const RequestJournal&) = delete;
  RequestJournal& operator=(const RequestJournal&) = delete;
  // Writes.
  ~RequestJournal();

  // `rule` outlives the journal.
  void matched(const config::Rule& rule) { rule_ = &rule; }
  // Has waited for room at an upstream, once more.
  void queued(Nanoseconds waited) { queued_ = queued_.value_or(Nanoseconds::zero()) + waited; }
  void attempting() { attempt_began_ = worker_.loop.now(); }
  void attempted(std::uint32_t upstream, upstream::AttemptOutcome&& outcome);
  void answered(std::uint16_t status) { status_ = status; }
  // The same for an answer of DAO's own; `grpc_status` if it was one of gRPC.
  void answered(std::uint16_t status, std::optional<std::uint8_t> grpc_status);
  // The client has got its 101: the request is over, the WebSocket begins. The log line comes when that ends.
  void upgraded();
  void tunnelled(const TunnelOutcome& outcome);
  // Why the client did not get the upstream's answer, or not all of it.
  void failed(const Error& error) { error_ = error; }

 private:
  void count_request(Nanoseconds duration);
  void tell_of_side(Nanoseconds duration) const;
  void write_access_log(Nanoseconds duration) const;

  WorkerState& worker_;
  http::Exchange& exchange_;
  const std::uint64_t generation_;
  const SideTaken side_;
  const config::Rule* rule_ = nullptr;  // null: none
  std::optional<std::uint32_t> upstream_;
  upstream::AttemptOutcome last_;
  std::optional<Nanoseconds> queued_;
  Instant attempt_began_{};
  std::optional<Nanoseconds> answered_after_;  // since the request's head: an upstream's answer's
  std::uint32_t attempts_ = 0;
  std::uint16_t status_ = 0;
  std::uint8_t grpc_status_;  // as in sense::FinishedRequest
  Error error_;
  std::optional<TunnelOutcome> tunnel_;
  bool counted_ = false;
};

}  // namespace dao::server

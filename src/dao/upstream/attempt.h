// One try with one upstream: send the request, upload the rest of its body while the answer comes in, pass the answer
// on. It either answers the client, or fails in a way that says whether another upstream may be tried.
//
// Upload and download are two joined tasks: a backend may answer before it has read the body. The download decides:
// when it ends the upload is called off; when the client fails, both are. A connection from the pool that turns out to
// be dead before anything was answered is replaced once, silently, if the request can be sent again.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "dao/base/clock.h"
#include "dao/config/config.h"
#include "dao/http/exchange.h"
#include "dao/http/forwarding.h"
#include "dao/http/head.h"
#include "dao/rt/cancel.h"
#include "dao/rt/loop.h"
#include "dao/rt/task.h"
#include "dao/sense/outcomes.h"
#include "dao/sense/signals.h"
#include "dao/upstream/pool.h"

namespace dao::upstream {

// What an attempt borrows for its time.
struct AttemptInput {
  rt::Loop& loop;
  http::Exchange& exchange;
  http::BodyPiece first;  // of the request's body: what had arrived when the request path began
  http::ResponseHead& response;
  const config::ProxySettings& settings;
  const http::HeadLimits& response_limits;
  std::uint32_t interim_responses_max;
  const http::ForwardingRules& forwarding;
  std::string_view date;
  std::string_view base_path;
  rt::Cancel& client_gone;  // to be requested when the client is gone (closed, reset); outlives the exchange
  rt::Cancel& cancel;       // ends the attempt: requested when that one is, when the time is over, or to ask elsewhere
  bool hold_back_5xx;       // another upstream could answer instead: report a 5xx, do not forward it
  bool grpc = false;        // look for the status of a gRPC call
  sense::UpstreamSignals* signals = nullptr;  // if given: learn how long the answer takes
  sense::OutcomeReport report = {};           // told what comes of it, as soon as that is known
  std::string_view explanation = {};          // goes to the client as x-dao-explain; empty: nothing does
};

// Both sides have agreed to leave HTTP: the client has got its 101.
struct Upgraded {
  Pool::Lease lease;  // to be released when the streams are no longer used
  http::UpgradedStream client;
  http::UpgradedStream backend;
};

struct AttemptOutcome {
  Error error;                              // kind none: the client was answered in full
  bool held_back = false;                   // a 5xx came and was not forwarded
  std::uint16_t status = 0;                 // of the final answer received; 0 if none came
  std::optional<std::uint8_t> grpc_status;  // if asked for: of an answer that the client got in full
  bool reused = false;
  bool measured_connect = false;
  Nanoseconds connect{};                       // of a fresh connection: until the head could be sent
  Nanoseconds head{};                          // from then until the response head was complete
  std::shared_ptr<const std::string> address;  // null if no connection was begun
  std::optional<Upgraded> upgraded;            // what follows is the caller's to relay
};

// Statuses that say "this server cannot now", as against "nobody will" (501, 505).
bool is_retryable_status(std::uint16_t status);

rt::Task<AttemptOutcome> attempt(AttemptInput input, Pool& pool);

}  // namespace dao::upstream

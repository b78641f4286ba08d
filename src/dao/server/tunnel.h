// The relay of a WebSocket once both handshakes are done: bytes in both directions, and a proper end. One thread.
//
// Payloads are not looked at; only frame boundaries are followed (http/websocket_frames.h), to count messages and to
// know where a Close may be put in. Each direction is a task of its own with one block from the worker's pool, held
// only while it has bytes in it; a side that does not read stops the other through its socket.
//
// How it ends (RFC 6455 section 7):
//   - A Close passes, and its answer passes back. An answer that does not come within kCloseTime of silence is given by
//     DAO.
//   - A side is gone (closed or reset without a Close, a Ping that it left unanswered for the idle timeout, taking
//     nothing for its stall time): the other one gets a Close at the next frame boundary: 1001 (going away) when the
//     client went, or the backend closed its connection; 1011 (unexpected condition) when the backend's was lost. If
//     the last frame was cut there is no boundary any more, and its connection is closed without one.
//   - Nothing came from either side for the idle timeout: both get 1001. The worker drains: both get 1012 (restart).
//   After a Close of DAO's own the answer is waited for, at most kCloseTime.
//
// Pings of one side pass to the other, and so do the answers. With a ping interval, DAO also sends its own to a side
// that was silent for that long; their Pongs pass too: an unasked one is legal (section 5.5.3).
#pragma once

#include <cstdint>

#include "dao/base/clock.h"
#include "dao/base/error.h"
#include "dao/base/random.h"
#include "dao/http/buffer.h"
#include "dao/http/exchange.h"
#include "dao/rt/cancel.h"
#include "dao/rt/loop.h"
#include "dao/rt/task.h"
#include "dao/sense/shard.h"

namespace dao::server {

inline constexpr Nanoseconds kCloseTime = std::chrono::seconds(5);

// What a tunnel borrows for its time.
struct TunnelInput {
  rt::Loop& loop;
  http::BufferPool& buffers;
  Random& random;                   // masks of DAO's own frames
  sense::WorkerCounters& counters;  // messages and bytes, as they pass
  http::UpgradedStream client;
  http::UpgradedStream backend;
  Nanoseconds idle_timeout{};   // zero: none
  Nanoseconds ping_interval{};  // zero: none of DAO's own
  Nanoseconds client_stall{};   // how long the client may take nothing
  Nanoseconds backend_stall{};
  rt::Cancel& drain;  // requested: both sides get a Close
};

struct TunnelOutcome {
  sense::WebSocketEnd end = sense::WebSocketEnd::client_close;
  Error error;                    // kind none unless a side was lost
  std::uint64_t from_client = 0;  // bytes passed on, frame headers included
  std::uint64_t from_backend = 0;
};

// Returns when nothing more is to be passed; both streams are then to be closed.
rt::Task<TunnelOutcome> tunnel(TunnelInput input);

}  // namespace dao::server

// One exchange with a backend server, whatever the protocol version: the connection of an HTTP/1 backend, or one stream
// of an HTTP/2 connection. upstream/attempt.cpp knows nothing else of the backend. One thread.
//
// Backpressure: the body is taken from the backend only when asked for; send_body() returns when a bounded buffer or
// the kernel has taken the bytes.
#pragma once

#include <span>
#include <string_view>

#include "dao/base/clock.h"
#include "dao/base/error.h"
#include "dao/http/exchange.h"
#include "dao/http/head.h"
#include "dao/rt/cancel.h"
#include "dao/rt/task.h"

namespace dao::http {

class ClientExchange {
 public:
  virtual ~ClientExchange() = default;

  // Sends the head, with `base_path` before its path (unless that is "*") and framed for what `first` begins, and
  // `first`, with the trailers if it is also the last piece. The head's fields must already be edited for forwarding.
  // Also completes a connect that is under way (`connecting`: how long that may take; zero when connected). `stall`:
  // how long the backend may take nothing. Error::sent tells whether anything left.
  virtual rt::Task<Result<>> send_request(const RequestHead& head, std::string_view base_path, BodyPiece first,
                                          std::span<const Field> trailers, Nanoseconds connecting, Nanoseconds stall,
                                          rt::Cancel* cancel) = 0;
  virtual rt::Task<Result<>> send_body(BodyPiece piece, std::span<const Field> trailers, Nanoseconds stall,
                                       rt::Cancel* cancel) = 0;

  // Reads a response head, interim (1xx) or final, into `head`; its views live until the next read of this exchange.
  // Kinds of failure: timeout_head, reset/closed/stream_reset (nothing of an answer came), incomplete (a part of the
  // head came), malformed, head_too_large, cancelled.
  virtual rt::Task<Result<>> read_head(ResponseHead& head, Method request_method, const HeadLimits& limits,
                                       Instant deadline, rt::Cancel* cancel) = 0;
  // After a final head.
  virtual void start_body(const ResponseHead& head, const HeadLimits& limits) = 0;
  // What of the body is here, without waiting. May give an empty piece that is not the last.
  virtual Result<BodyPiece> take_buffered_body() = 0;
  // The next non-empty piece, or the empty last one; the previous piece is gone. Fails with timeout_body at `deadline`.
  virtual rt::Task<Result<BodyPiece>> read_body(Instant deadline, rt::Cancel* cancel) = 0;
  // After the last piece.
  [[nodiscard]] virtual std::span<const Field> trailers() const = 0;

  // After a 101 to a request whose `upgrade` was sent: the rest is the caller's bytes, and what it went over serves no
  // other exchange. The head's views are gone. Protocols that send no upgrade (HTTP/2 has no 101) are never asked.
  virtual UpgradedStream take_upgraded() { return {}; }

  // It failed because the backend serves such a request over HTTP/1.1 only (RFC 9113 section 7, HTTP_1_1_REQUIRED).
  [[nodiscard]] virtual bool requires_h1() const { return false; }

  // The exchange is over and complete in both directions, and what it went over can serve another one.
  [[nodiscard]] virtual bool reusable(const ResponseHead& head) = 0;
};

}  // namespace dao::http

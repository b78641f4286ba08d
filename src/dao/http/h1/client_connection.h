// One HTTP/1.1 connection to a backend server, one exchange at a time. The pool (upstream/pool.h) owns it between
// exchanges. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "dao/base/clock.h"
#include "dao/http/buffer.h"
#include "dao/http/exchange.h"
#include "dao/http/h1/message_io.h"
#include "dao/http/head.h"
#include "dao/net/stream.h"
#include "dao/rt/loop.h"

namespace dao::http::h1 {

class ClientConnection {
 public:
  ClientConnection(rt::Loop& loop, std::unique_ptr<net::Stream> stream, BufferPool& buffers);

  [[nodiscard]] net::Stream& stream() { return *stream_; }
  [[nodiscard]] bool used_before() const { return exchanges_ > 1; }
  // Exchanges begun on it.
  [[nodiscard]] std::uint32_t exchanges() const { return exchanges_; }

  // Sends the head, with `base_path` before its path (unless that is "*") and framed for what `first` begins, and
  // `first` in one go, with the trailers if it is also the last piece. The head's fields must already be edited for
  // forwarding. Also completes a connect that is under way (`connecting`: how long that may take; zero when connected).
  // Error::sent tells whether anything left.
  rt::Task<Result<>> send_request(const RequestHead& head, std::string_view base_path, BodyPiece first,
                                  std::span<const Field> trailers, Nanoseconds connecting, Nanoseconds stall,
                                  rt::Cancel* cancel);
  rt::Task<Result<>> send_body(BodyPiece piece, std::span<const Field> trailers, Nanoseconds stall, rt::Cancel* cancel);

  // Reads a response head, interim (1xx) or final, into `head`; its views live until the next read on this connection.
  // Kinds of failure: timeout_head, reset/closed (nothing of an answer came), incomplete (a part of the head came),
  // malformed, head_too_large, cancelled.
  rt::Task<Result<>> read_head(ResponseHead& head, Method request_method, const HeadLimits& limits, Instant deadline,
                               rt::Cancel* cancel);
  // After a final head.
  void start_body(const ResponseHead& head, const HeadLimits& limits);
  [[nodiscard]] BodyReader& body() { return body_; }

  // The exchange is over and complete in both directions, the backend means to go on, and not a byte too many came.
  [[nodiscard]] bool reusable(const ResponseHead& head);
  // Idle in the pool: holds no buffer.
  void become_idle() { buffer_.drop(); }

 private:
  rt::Loop& loop_;
  std::unique_ptr<net::Stream> stream_;
  BufferPool& buffers_;
  Buffer buffer_;
  BodyReader body_;
  ChunkedEncoder chunks_;
  std::uint32_t exchanges_ = 0;
  bool chunked_request_ = false;
  bool request_sent_ = false;
};

}  // namespace dao::http::h1

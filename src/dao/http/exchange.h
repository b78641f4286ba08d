// One request of a client and the way to answer it, whatever the protocol version. HTTP/1 makes one per request in
// turn; the request path (server/process_request.cpp) knows nothing else of the client. One thread.
//
// Backpressure: read_body() takes from the client only when asked, send_body() returns when the bytes are handed to the
// kernel.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "dao/base/clock.h"
#include "dao/base/error.h"
#include "dao/http/head.h"
#include "dao/net/address.h"
#include "dao/net/stream.h"
#include "dao/net/tls_facts.h"
#include "dao/rt/cancel.h"
#include "dao/rt/task.h"

namespace dao::http {

// A piece of a body in the reader's buffer; valid until the next read of the same reader.
struct BodyPiece {
  std::span<const char> bytes;
  bool last = false;  // nothing comes after it
};

// A connection, or a stream of one, that has left HTTP (RFC 9110 section 7.8, RFC 8441).
struct UpgradedStream {
  net::Stream* stream = nullptr;  // lives as long as the exchange it comes from
  std::span<const char> read_ahead =
      {};  // was read from the stream already; valid as long as nobody reads the exchange
};

class Exchange {
 public:
  virtual ~Exchange() = default;

  // The request, to be edited in place for forwarding. Its views live as long as the exchange.
  virtual RequestHead& request() = 0;
  [[nodiscard]] virtual const net::Peer& peer() const = 0;
  // Null: the client speaks without TLS.
  [[nodiscard]] virtual const net::TlsFacts* tls() const { return nullptr; }
  [[nodiscard]] virtual bool reused_connection() const = 0;
  [[nodiscard]] virtual Instant started() const = 0;  // when the first byte of the head was seen

  // What of the body has already arrived, without waiting. Called at most once, before any read_body().
  virtual Result<BodyPiece> take_buffered_body() = 0;
  // The next piece; `grace` is added to the time the client has for it. Errors: Origin::client (incomplete, malformed,
  // timeout_body, body_too_large, reset) or cancelled.
  virtual rt::Task<Result<BodyPiece>> read_body(rt::Cancel* cancel, Nanoseconds grace) = 0;
  [[nodiscard]] virtual bool body_read_to_end() const = 0;
  [[nodiscard]] virtual std::span<const Field> request_trailers() const = 0;
  [[nodiscard]] virtual std::uint64_t request_body_bytes() const = 0;

  // Requests `cancel` when the client goes away before it was answered. Null ends the watch.
  virtual void watch_client(rt::Cancel* cancel) = 0;

  // A 1xx answer; not sent to clients that cannot read it.
  virtual rt::Task<Result<>> send_interim(const ResponseHead& head) = 0;
  // The final head with the first piece of the body in one go. `framing` is what is known of the body's length; how it
  // is framed towards the client is the protocol's business.
  virtual rt::Task<Result<>> send_head(ResponseHead& head, BodyFraming framing, BodyPiece first) = 0;
  // `trailers` go with the last piece, where the protocol can carry them.
  virtual rt::Task<Result<>> send_body(BodyPiece piece, std::span<const Field> trailers) = 0;
  [[nodiscard]] virtual bool head_sent() const = 0;
  [[nodiscard]] virtual std::uint64_t response_body_bytes() const = 0;

  // Answers a request whose `upgrade` is set with the backend's 101, in the protocol's own form, and ends HTTP here:
  // the rest is the caller's bytes. Only for exchanges that set RequestHead::upgrade.
  virtual rt::Task<Result<UpgradedStream>> upgrade(ResponseHead&) {
    co_return std::unexpected(Error{.origin = Origin::us, .kind = ErrorKind::unsupported});
  }

  // The answer cannot be completed: the client must not take what it got for the whole.
  virtual void abort() = 0;
  // This answer is the last on its connection.
  virtual void close_after() = 0;
};

}  // namespace dao::http

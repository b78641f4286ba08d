// One HTTP/1.x connection of a client: reads requests one after the other, hands each to the handler as an Exchange,
// and keeps or closes the connection as RFC 9112 section 9 says. Pipelined requests wait in the buffer, bounded by it.
#pragma once

#include <cstdint>
#include <memory>

#include "dao/base/clock.h"
#include "dao/http/buffer.h"
#include "dao/http/exchange.h"
#include "dao/http/h1/message_io.h"
#include "dao/http/head.h"
#include "dao/net/address.h"
#include "dao/net/stream.h"
#include "dao/rt/loop.h"

namespace dao::http::h1 {

struct ServerSettings {
  HeadLimits limits;
  std::size_t body_max_bytes = 0;  // 0 = no limit
  Nanoseconds header_timeout = std::chrono::seconds(10);
  Nanoseconds body_timeout = std::chrono::seconds(30);
  std::size_t body_min_bytes_per_second = 64;  // on average, once body_timeout has passed; 0 = off
  Nanoseconds idle_timeout = std::chrono::seconds(60);
  Nanoseconds write_timeout = std::chrono::seconds(30);
};

// Implemented by the server layer.
class RequestHandler {
 public:
  virtual ~RequestHandler() = default;
  // Answers the exchange or aborts it. `rejected` is set when no usable request was read: the handler then answers with
  // the error's status (the connection closes after it) and must not look at more of the request than is there.
  virtual rt::Task<> handle(Exchange& exchange, const Error* rejected) = 0;
  // A head buffer for the next request, cleared; given back when the exchange is over.
  virtual std::unique_ptr<RequestHead> borrow_request_head() = 0;
  virtual void return_request_head(std::unique_ptr<RequestHead> head) = 0;
  // The worker is draining: every answer is the last on its connection.
  [[nodiscard]] virtual bool draining() const = 0;
  virtual void connection_idle(bool idle) = 0;  // the connection begins or ends waiting for a request
};

class ServerExchange;

class ServerConnection {
 public:
  // `drain` wakes the connection when it waits for a request, to close it. All references outlive serve().
  ServerConnection(rt::Loop& loop, std::unique_ptr<net::Stream> stream, net::Peer peer, BufferPool& buffers,
                   const ServerSettings& settings, RequestHandler& handler, rt::Cancel& drain);

  // Until the connection is closed.
  rt::Task<> serve();

 private:
  enum class Next : std::uint8_t { request, close, linger };
  enum class HeadRead : std::uint8_t { complete, nothing_yet, closed };

  rt::Task<Next> serve_one();
  rt::Task<Result<HeadRead>> read_head(RequestHead& head, Instant& first_byte);
  rt::Task<> discard_rest_of_body(ServerExchange& exchange, bool& clean);
  rt::Task<> linger();

  rt::Loop& loop_;
  std::unique_ptr<net::Stream> stream_;
  Buffer buffer_;
  BufferPool& buffers_;
  net::Peer peer_;
  const ServerSettings& settings_;
  RequestHandler& handler_;
  rt::Cancel& drain_;
  Instant accepted_;
  std::uint32_t served_ = 0;
  bool skipped_crlf_ = false;
  std::uint32_t in_batch_ = 0;  // requests begun in the loop's batch of `batch_`
  Instant batch_{};
};

}  // namespace dao::http::h1

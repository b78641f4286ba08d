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
#include "dao/http/request_handler.h"
#include "dao/net/address.h"
#include "dao/net/stream.h"
#include "dao/rt/loop.h"

namespace dao::http::h1 {

class ServerExchange;

class ServerConnection {
 public:
  // `drain` wakes the connection when it waits for a request, to close it. All references outlive serve().
  ServerConnection(rt::Loop& loop, std::unique_ptr<net::Stream> stream, net::Peer peer, BufferPool& buffers,
                   const ServerSettings& settings, RequestHandler& handler, rt::Cancel& drain);

  // A client may begin with the preface of HTTP/2 instead of a request (RFC 9113 section 3.3).
  void allow_http2() { http2_allowed_ = true; }
  // Until the connection is closed, or has turned out to be HTTP/2.
  rt::Task<> serve();

  // It is HTTP/2: nothing was answered, the stream goes on with what was read.
  [[nodiscard]] bool is_http2() const { return is_http2_; }
  [[nodiscard]] std::string_view unread() const { return buffer_.content(); }
  std::unique_ptr<net::Stream> take_stream() { return std::move(stream_); }

 private:
  enum class Next : std::uint8_t { request, close, linger };
  enum class HeadRead : std::uint8_t { complete, nothing_yet, closed };

  DAO_FRAME_OF_ITS_OWN rt::Task<Next> serve_one();
  rt::Task<Result<HeadRead>> read_head(RequestHead& head, Instant& first_byte);
  rt::Task<> discard_rest_of_body(ServerExchange& exchange, bool& clean);
  DAO_FRAME_OF_ITS_OWN rt::Task<> linger();

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
  bool http2_allowed_ = false;
  bool is_http2_ = false;
  std::uint32_t in_batch_ = 0;  // requests begun in the loop's batch of `batch_`
  Instant batch_{};
};

}  // namespace dao::http::h1

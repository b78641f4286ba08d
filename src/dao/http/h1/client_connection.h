// One HTTP/1.1 connection to a backend server, one exchange at a time. The pool (upstream/pool.h) owns it between
// exchanges. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "dao/base/clock.h"
#include "dao/http/buffer.h"
#include "dao/http/client_exchange.h"
#include "dao/http/exchange.h"
#include "dao/http/h1/message_io.h"
#include "dao/http/head.h"
#include "dao/net/stream.h"
#include "dao/rt/loop.h"

namespace dao::http::h1 {

class ClientConnection final : public ClientExchange {
 public:
  ClientConnection(rt::Loop& loop, std::unique_ptr<net::Stream> stream, BufferPool& buffers);

  [[nodiscard]] net::Stream& stream() { return *stream_; }
  [[nodiscard]] bool used_before() const { return exchanges_ > 1; }
  // Exchanges begun on it.
  [[nodiscard]] std::uint32_t exchanges() const { return exchanges_; }

  // The request and `first` leave in one write where they can.
  rt::Task<Result<>> send_request(const RequestHead& head, std::string_view base_path, BodyPiece first,
                                  std::span<const Field> trailers, Nanoseconds connecting, Nanoseconds stall,
                                  rt::Cancel* cancel) override;
  rt::Task<Result<>> send_body(BodyPiece piece, std::span<const Field> trailers, Nanoseconds stall,
                               rt::Cancel* cancel) override;
  rt::Task<Result<>> read_head(ResponseHead& head, Method request_method, const HeadLimits& limits, Instant deadline,
                               rt::Cancel* cancel) override;
  void start_body(const ResponseHead& head, const HeadLimits& limits) override;
  Result<BodyPiece> take_buffered_body() override { return body_.take_buffered(); }
  rt::Task<Result<BodyPiece>> read_body(Instant deadline, rt::Cancel* cancel) override {
    return body_.read(deadline, ErrorKind::timeout_body, cancel);
  }
  [[nodiscard]] std::span<const Field> trailers() const override { return body_.trailers(); }
  UpgradedStream take_upgraded() override {
    if (buffer_.empty()) buffer_.drop();  // the head's text is gone with it
    return {stream_.get(), buffer_.mutable_content()};
  }
  // Also: the backend means to go on, and not a byte too many came.
  [[nodiscard]] bool reusable(const ResponseHead& head) override;

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

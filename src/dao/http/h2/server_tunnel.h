// A stream of a ServerSession that has left HTTP (RFC 8441 section 5), as a byte stream: DATA frames each way,
// END_STREAM as the end of a direction, RST_STREAM as a reset. Internal to http/h2; part of its ServerStream.
//
// Reading lends the bytes where Connection's went (buffered()), and gives the stream's window back as they are
// consumed. Writing copies into the session's output buffer, within the windows of stream and connection and the
// buffer's bound; what does not fit yet is taken from the caller's memory when there is room, in turn with the
// connection's other streams.
#pragma once

#include <cstddef>
#include <span>

#include "dao/net/stream.h"

namespace dao::http::h2 {

class ServerStream;

class ServerTunnel final : public net::Stream {
 public:
  explicit ServerTunnel(ServerStream& stream) : stream_(stream) {}

  net::IoResult try_read(std::span<char> into) override;
  [[nodiscard]] std::span<const char> buffered() const override;
  void consume(std::size_t bytes) override;
  [[nodiscard]] bool may_read() const override;
  net::IoResult try_write(std::span<const iovec> pieces) override;
  void abandon_write() override;
  [[nodiscard]] bool held_up_by_others() const override;
  // Not even in the session's buffer.
  [[nodiscard]] std::size_t unread_by_peer() const override;
  [[nodiscard]] Error error_of(const net::IoResult& result, Origin origin) const override;
  bool idle_and_open() override { return !may_read(); }
  // The session ends the stream when the exchange is over.
  void shutdown_write() override {}

  // For the ServerStream.
  void something_to_read() { readable.set(); }
  void all_taken() { writable.set(); }
  void lost();

 private:
  ServerStream& stream_;
  std::size_t pledged_ = 0;  // of the caller's bytes, when it was last told how many were taken
};

}  // namespace dao::http::h2

// A TCP or unix stream socket on an EpollLoop. Registered once, edge-triggered; a read is attempted only when an edge
// has announced data, and a short read ends the edge (unless the peer closed: FIN and data may share one edge).
#pragma once

#include <memory>

#include "dao/net/address.h"
#include "dao/net/stream.h"
#include "dao/rt/epoll_loop.h"

namespace dao::net {

class SocketStream final : public Stream, private rt::IoSource {
 public:
  // Takes ownership of a connected, non-blocking `fd`. Registers it with `loop`; see ok().
  SocketStream(rt::EpollLoop& loop, int fd);
  // Starts to connect. On success the stream may still be connecting: writes say would_block until it is connected, or
  // fail with what connect failed with.
  static Result<std::unique_ptr<SocketStream>> connect(rt::EpollLoop& loop, const SocketAddress& to);
  ~SocketStream() override;

  // False when the kernel refused to watch the socket (it then reports an error on the first wait).
  [[nodiscard]] bool ok() const { return watched_; }
  [[nodiscard]] int fd() const { return fd_; }

  IoResult try_read(std::span<char> into) override;
  [[nodiscard]] bool may_read() const override { return may_read_; }
  IoResult try_write(std::span<const iovec> pieces) override;
  [[nodiscard]] std::size_t unread_by_peer() const override;
  bool idle_and_open() override;
  void shutdown_write() override;
  // Closes with a reset, so that the peer cannot take a message that was cut short for a complete one.
  void abort();

 private:
  void on_events(std::uint32_t epoll_events) override;

  int fd_;
  bool watched_ = false;
  bool may_read_ = false;
};

}  // namespace dao::net

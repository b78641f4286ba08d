// A TCP or unix stream socket on an EpollLoop. Registered once, edge-triggered; a read is attempted only when an edge
// has announced data, and a short read ends the edge (unless the peer closed: FIN and data may share one edge).
#pragma once

#include <memory>
#include <string>

#include "dao/net/address.h"
#include "dao/net/stream.h"
#include "dao/rt/epoll_loop.h"

namespace dao::net {

class SocketStream : public Stream, private rt::IoSource {
 public:
  enum class Watch : std::uint8_t {
    at_once,
    // When somebody has to wait for it: a connection that is served in one go never meets epoll. It begins with a read
    // attempt, for a client that has just connected has mostly spoken already.
    when_needed,
  };
  // Takes ownership of a connected, non-blocking `fd`.
  SocketStream(rt::EpollLoop& loop, int fd, Watch watch = Watch::at_once);
  // Starts to connect. On success the stream may still be connecting: writes say would_block until it is connected, or
  // fail with what connect failed with.
  static Result<std::unique_ptr<SocketStream>> connect(rt::EpollLoop& loop, const SocketAddress& to);
  // The descriptor of such a stream, for a stream of another kind.
  static Result<int> begin_connect(const SocketAddress& to);
  ~SocketStream() override;

  // False when the kernel refused to watch the socket: nobody would be told of anything.
  [[nodiscard]] bool ok() const { return !refused_; }
  [[nodiscard]] int fd() const { return fd_; }

  IoResult try_read(std::span<char> into) override;
  [[nodiscard]] bool may_read() const override { return may_read_; }
  IoResult try_write(std::span<const iovec> pieces) override;
  void write_first(std::string_view bytes) override;
  [[nodiscard]] std::size_t unread_by_peer() const override;
  bool idle_and_open() override;
  void shutdown_write() override;
  // What try_read would give, left where it is; and the end of such bytes. For what precedes the protocol, TLS
  // included.
  IoResult try_peek(std::span<char> into);
  void drop_peeked(std::span<char> bytes);
  // Closes with a reset, so that the peer cannot take a message that was cut short for a complete one.
  virtual void abort();

 protected:
  void on_events(std::uint32_t epoll_events) override;
  // The next read is attempted although no edge came: a failed write tells that there is news.
  void expect_news() { may_read_ = true; }

 private:
  // How long an exchange may take before its client is watched for going away.
  static constexpr Nanoseconds kArmDelay = std::chrono::milliseconds(5);
  struct ArmTimer : rt::Timer {
    SocketStream* stream = nullptr;
  };

  void arm() override;
  void arm_soon(bool wanted) override;
  IoResult transmit_with_first(std::span<const iovec> pieces, int flags);

  rt::EpollLoop& loop_;
  int fd_;
  bool refused_ = false;
  bool may_read_ = false;
  ArmTimer arm_timer_;
  std::unique_ptr<std::string> first_;  // not written yet; mostly null
};

}  // namespace dao::net

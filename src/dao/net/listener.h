// Listening sockets: opening them with errors an operator can act on, and accepting from one.
#pragma once

#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "dao/net/address.h"
#include "dao/net/socket_stream.h"

namespace dao::net {

// Opens one listening socket for each worker on the same address (SO_REUSEPORT for TCP; for a unix path the workers
// share one socket through duplicated descriptors). Port 0 lets the kernel pick one port for all. A unix path left over
// by a dead process is replaced, one that somebody listens on is not. The error is a sentence for the operator: what
// failed, and for the common causes what to do.
struct ListenSockets {
  std::vector<int> fds;   // one a worker, non-blocking; the caller closes them
  SocketAddress address;  // as bound
};
std::expected<ListenSockets, std::string> open_listeners(const SocketAddress& address, unsigned workers);

// Accepts connections on the loop's thread for as long as it lives.
class Acceptor final : private rt::IoSource {
 public:
  // `accepted` owns the new descriptor (non-blocking, TCP_NODELAY inherited). It runs between batches' coroutines.
  using Handler = void (*)(void* context, int fd, const sockaddr* peer);

  // Takes ownership of `fd`.
  Acceptor(rt::EpollLoop& loop, int fd, Handler accepted, void* context);
  ~Acceptor();

  // Stops accepting: what the kernel has already queued is accepted first, so that nobody is refused.
  void close();
  // Stops accepting and leaves what is queued to another process that has the same socket.
  void abandon();
  // Accept errors such as EMFILE since the start.
  [[nodiscard]] std::uint64_t failures() const { return failures_; }

 private:
  // Out of descriptors or memory: trying again at once would only burn the CPU.
  static constexpr Nanoseconds kPause = std::chrono::milliseconds(100);
  struct PauseTimer : rt::Timer {
    Acceptor* acceptor = nullptr;
  };

  void on_events(std::uint32_t epoll_events) override;
  void accept_all(int at_most);
  void pause();

  PauseTimer pause_timer_;

  rt::EpollLoop& loop_;
  int fd_;
  Handler accepted_;
  void* context_;
  std::uint64_t failures_ = 0;
};

}  // namespace dao::net

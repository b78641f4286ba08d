#include "dao/net/socket_stream.h"

#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <sys/syscall.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace dao::net {

namespace {

// glibc's recv and send are thread cancellation points, which costs a few dozen nanoseconds in each call. Nobody
// cancels our threads.
ssize_t receive(int fd, std::span<char> into, int flags = 0) {
  return syscall(SYS_recvfrom, fd, into.data(), into.size(), flags, nullptr, nullptr);
}
ssize_t transmit(int fd, const iovec& piece, int flags) {
  return syscall(SYS_sendto, fd, piece.iov_base, piece.iov_len, flags, nullptr, 0);
}
ssize_t transmit(int fd, std::span<const iovec> pieces, int flags) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces.data());
  message.msg_iovlen = pieces.size();
  return syscall(SYS_sendmsg, fd, &message, flags);
}

}  // namespace

SocketStream::SocketStream(rt::EpollLoop& loop, int fd, Watch watch) : loop_(loop), fd_(fd) {
  armed_ = false;
  if (watch == Watch::at_once) {
    arm();
  } else {
    may_read_ = true;
  }
}

void SocketStream::arm() {
  armed_ = true;
  loop_.timers().cancel(arm_timer_);
  if (loop_.watch(fd_, *this)) return;
  refused_ = true;
  set_peer_gone();
  may_read_ = true;
  readable.set();
  writable.set();
}

void SocketStream::arm_soon(bool wanted) {
  if (!wanted) {
    loop_.timers().cancel(arm_timer_);
    return;
  }
  if (arm_timer_.scheduled()) return;
  arm_timer_.stream = this;
  arm_timer_.fire = [](rt::Timer& self) { static_cast<ArmTimer&>(self).stream->arm(); };
  loop_.timers().schedule(arm_timer_, loop_.now() + kArmDelay);
}

Result<int> SocketStream::begin_connect(const SocketAddress& to) {
  const int fd = socket(to.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return std::unexpected(Error{.origin = Origin::us, .kind = ErrorKind::io, .sys_errno = errno, .detail = "socket"});
  if (!to.is_unix()) {
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  if (::connect(fd, to.raw(), to.length()) != 0 && errno != EINPROGRESS) {
    // EAGAIN on a unix socket: the listener's queue is full.
    const Error error = errno == EAGAIN
                            ? Error{.origin = Origin::backend, .kind = ErrorKind::refused, .sys_errno = errno}
                            : io_error(Origin::backend, errno);
    close(fd);
    return std::unexpected(error);
  }
  return fd;
}

Result<std::unique_ptr<SocketStream>> SocketStream::connect(rt::EpollLoop& loop, const SocketAddress& to) {
  const Result<int> fd = begin_connect(to);
  if (!fd) return std::unexpected(fd.error());
  auto stream = std::make_unique<SocketStream>(loop, *fd);
  if (!stream->ok()) {
    return std::unexpected(
        Error{.origin = Origin::us, .kind = ErrorKind::io, .sys_errno = ENOMEM, .detail = "epoll_ctl"});
  }
  return stream;
}

SocketStream::~SocketStream() {
  loop_.timers().cancel(arm_timer_);
  if (fd_ >= 0) loop_.close(fd_);
}

void SocketStream::on_events(std::uint32_t events) {
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
    may_read_ = true;
    readable.set();
  }
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) writable.set();
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
    set_peer_gone();
  } else if ((events & EPOLLRDHUP) != 0) {
    set_peer_closed();
  }
}

IoResult SocketStream::try_read(std::span<char> into) {
  if (!may_read_) return {IoStatus::would_block};
  for (;;) {
    const ssize_t got = receive(fd_, into);
    if (got > 0) {
      const auto bytes = static_cast<std::size_t>(got);
      if (bytes < into.size() && !peer_closed()) may_read_ = false;
      return {IoStatus::ok, 0, bytes};
    }
    if (got == 0) return {IoStatus::end};
    if (errno == EINTR) continue;
    if (errno == EAGAIN) {
      may_read_ = false;
      return {IoStatus::would_block};
    }
    return {IoStatus::failed, errno};
  }
}

IoResult SocketStream::try_peek(std::span<char> into) {
  for (;;) {
    const ssize_t got = receive(fd_, into, MSG_PEEK);
    if (got > 0) return {IoStatus::ok, 0, static_cast<std::size_t>(got)};
    if (got == 0) return {IoStatus::end};
    if (errno == EAGAIN) return {IoStatus::would_block};
    if (errno != EINTR) return {IoStatus::failed, errno};
  }
}

void SocketStream::drop_peeked(std::span<char> bytes) {
  // The kernel has these bytes, so one call takes them all.
  static_cast<void>(receive(fd_, bytes));
}

IoResult SocketStream::try_write(std::span<const iovec> pieces) {
  // MSG_MORE holds the last segment back until the close, which then sends its FIN in it: one packet less.
  const int flags = closing_ ? MSG_NOSIGNAL | MSG_MORE : MSG_NOSIGNAL;
  if (first_) return transmit_with_first(pieces, flags);
  for (;;) {
    const ssize_t sent = pieces.size() == 1 ? transmit(fd_, pieces[0], flags) : transmit(fd_, pieces, flags);
    if (sent >= 0) return {IoStatus::ok, 0, static_cast<std::size_t>(sent)};
    if (errno == EINTR) continue;
    if (errno == EAGAIN) return {IoStatus::would_block};
    return {IoStatus::failed, errno};
  }
}

void SocketStream::write_first(std::string_view bytes) {
  first_ = std::make_unique<std::string>(bytes);
}

// In one call, so that what goes first costs no packet of its own.
IoResult SocketStream::transmit_with_first(std::span<const iovec> pieces, int flags) {
  constexpr std::size_t kPieces = 16;
  std::array<iovec, kPieces> together;
  const std::size_t count = std::min(pieces.size(), kPieces - 1);
  std::ranges::copy(pieces.first(count), together.begin() + 1);
  while (first_) {
    together[0] = {first_->data(), first_->size()};
    const ssize_t sent = transmit(fd_, std::span<const iovec>(together).first(count + 1), flags);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return {IoStatus::would_block};
      return {IoStatus::failed, errno};
    }
    const auto bytes = static_cast<std::size_t>(sent);
    if (bytes < first_->size()) {
      first_->erase(0, bytes);
      continue;
    }
    const std::size_t beyond = bytes - first_->size();
    first_.reset();
    if (beyond > 0) return {IoStatus::ok, 0, beyond};
  }
  return try_write(pieces);
}

std::size_t SocketStream::unread_by_peer() const {
  int bytes = 0;
  return ioctl(fd_, SIOCOUTQ, &bytes) == 0 && bytes > 0 ? static_cast<std::size_t>(bytes) : 0;
}

bool SocketStream::idle_and_open() {
  char byte = 0;
  return recv(fd_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

void SocketStream::shutdown_write() {
  shutdown(fd_, SHUT_WR);
}

void SocketStream::abort() {
  const linger now{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

}  // namespace dao::net

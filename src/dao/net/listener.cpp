#include "dao/net/listener.h"

#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace dao::net {

namespace {

constexpr int kBacklog = 4096;  // capped by net.core.somaxconn

std::string explain(const SocketAddress& address, const char* what, int error) {
  std::string text = "cannot " + std::string{what} + " " + address.text() + ": " + std::strerror(error);
  switch (error) {
    case EADDRINUSE:
      text += " (another process is listening there; `ss -ltnp` names it)";
      break;
    case EACCES:
    case EPERM:
      text += address.is_unix() ? " (no permission to create the socket in that directory)"
                                : " (ports below 1024 need root or CAP_NET_BIND_SERVICE)";
      break;
    case EADDRNOTAVAIL:
      text += " (this machine has no such address)";
      break;
    case EMFILE:
    case ENFILE:
      text += " (raise the limit on open files, `ulimit -n`)";
      break;
    default:
      break;
  }
  return text;
}

struct Opened {
  int fd;
  int error;
  const char* what;
};

Opened open_one(const SocketAddress& address, bool reuse_port) {
  const int fd = socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return {-1, errno, "open a socket for"};
  const int on = 1;
  const auto fail = [fd](const char* what) {
    const int error = errno;
    close(fd);
    return Opened{-1, error, what};
  };
  if (!address.is_unix()) {
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (address.family() == AF_INET6) {
      const int off = 0;
      setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    }
    if (reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) return fail("share");
  }
  if (bind(fd, address.raw(), address.length()) != 0) return fail("listen on");
  return {fd, 0, nullptr};
}

bool is_socket(const SocketAddress& address) {
  struct stat found{};
  return lstat(address.text().substr(std::strlen("unix:")).c_str(), &found) == 0 && S_ISSOCK(found.st_mode);
}

// A unix path left over by a dead process answers nobody; one that is alive must not be stolen.
bool somebody_listens(const SocketAddress& address) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return true;
  const bool alive = connect(fd, address.raw(), address.length()) == 0 || errno != ECONNREFUSED;
  close(fd);
  return alive;
}

}  // namespace

std::expected<ListenSockets, std::string> open_listeners(const SocketAddress& address, unsigned workers) {
  ListenSockets result;
  const auto fail = [&result](std::string text) {
    for (const int fd : result.fds) close(fd);
    return std::unexpected(std::move(text));
  };

  if (address.is_unix()) {
    Opened opened = open_one(address, false);
    if (opened.fd < 0 && opened.error == EADDRINUSE && !is_socket(address)) {
      return fail("cannot listen on " + address.text() + ": there is a file that is no socket");
    }
    if (opened.fd < 0 && opened.error == EADDRINUSE && !somebody_listens(address)) {
      unlink(address.text().substr(std::strlen("unix:")).c_str());
      opened = open_one(address, false);
    }
    if (opened.fd < 0) return fail(explain(address, opened.what, opened.error));
    result.fds.push_back(opened.fd);
    if (listen(opened.fd, kBacklog) != 0) return fail(explain(address, "listen on", errno));
    for (unsigned i = 1; i < workers; ++i) {
      const int copy = dup(opened.fd);
      if (copy < 0) return fail(explain(address, "listen on", errno));
      result.fds.push_back(copy);
    }
    result.address = address;
    return result;
  }

  // SO_REUSEPORT would let a second DAO of the same user share the port unnoticed; a bind without it tells.
  SocketAddress actual = address;
  {
    const Opened probe = open_one(address, false);
    if (probe.fd < 0) return fail(explain(address, probe.what, probe.error));
    actual = SocketAddress::local_of(probe.fd);
    close(probe.fd);
  }
  for (unsigned i = 0; i < workers; ++i) {
    const Opened opened = open_one(actual, true);
    if (opened.fd < 0) return fail(explain(actual, opened.what, opened.error));
    result.fds.push_back(opened.fd);
  }
  for (const int fd : result.fds) {
    if (listen(fd, kBacklog) != 0) return fail(explain(actual, "listen on", errno));
  }
  result.address = actual;
  return result;
}

Acceptor::Acceptor(rt::EpollLoop& loop, int fd, Handler accepted, void* context)
    : loop_(loop), fd_(fd), accepted_(accepted), context_(context) {
  if (!loop_.watch_level(fd_, *this)) ++failures_;
}

Acceptor::~Acceptor() {
  loop_.timers().cancel(pause_timer_);
  if (fd_ >= 0) ::close(fd_);
}

void Acceptor::close() {
  if (fd_ < 0) return;
  accept_all(kBacklog);
  abandon();
}

void Acceptor::abandon() {
  if (fd_ < 0) return;
  loop_.timers().cancel(pause_timer_);
  loop_.unwatch(fd_);
  ::close(fd_);
  fd_ = -1;
}

void Acceptor::pause() {
  ++failures_;
  if (pause_timer_.scheduled()) return;
  loop_.unwatch(fd_);
  pause_timer_.acceptor = this;
  pause_timer_.fire = [](rt::Timer& self) {
    Acceptor& acceptor = *static_cast<PauseTimer&>(self).acceptor;
    if (!acceptor.loop_.watch_level(acceptor.fd_, acceptor)) ++acceptor.failures_;
  };
  loop_.timers().schedule(pause_timer_, loop_.now() + kPause);
}

void Acceptor::on_events(std::uint32_t) {
  // Bounded, so that a flood of connections leaves the established ones their share of the worker.
  constexpr int kAcceptsPerBatch = 16;
  if (fd_ >= 0) accept_all(kAcceptsPerBatch);
}

void Acceptor::accept_all(int at_most) {
  for (int i = 0; i < at_most; ++i) {
    sockaddr_storage peer{};
    socklen_t length = sizeof peer;
    const int fd = accept4(fd_, reinterpret_cast<sockaddr*>(&peer), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EINTR || errno == ECONNABORTED) continue;
      if (errno != EAGAIN) pause();
      return;
    }
    accepted_(context_, fd, reinterpret_cast<const sockaddr*>(&peer));
  }
}

}  // namespace dao::net

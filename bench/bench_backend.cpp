// The backend of `make bench`: an HTTP/1.1 keep-alive server on one thread that does as little per request as it can.
//
//   GET  /small...    200, 128 bytes          GET /1m...   200, 1 MiB, Content-Length
//   POST anything     reads the body (Content-Length or chunked), then 200, 2 bytes
//   GET  /stats       {"accepts":N,"requests":N,"open":N}: tells whether a proxy reuses its connections
//
// bench_backend [ADDRESS:PORT] (default 127.0.0.1:0) prints the address it listens on and serves until it is ended.
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <ctime>
#include <deque>
#include <memory>
#include <unordered_map>
#include <utility>

#include "message_reader.h"
#include "sockets.h"

namespace dao::bench {
namespace {

struct Connection {
  int fd = -1;
  MessageReader reader{MessageReader::Kind::kRequest};
  std::string small_out;       // what send() did not take of a small answer
  std::string_view large_out;  // the same of a prepared answer
  std::string unread;          // requests that came while an answer was still leaving
  bool closing = false;
  bool wants_writable = false;

  [[nodiscard]] bool blocked() const { return !large_out.empty(); }
};

class Server {
 public:
  explicit Server(sockaddr_in address) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    set_option(listener_, SOL_SOCKET, SO_REUSEADDR, 1);
    if (bind(listener_, generic(address), sizeof(address)) != 0 || listen(listener_, 4096) != 0) {
      fail("cannot listen: {}", std::strerror(errno));
    }
    socklen_t size = sizeof(address);
    getsockname(listener_, generic(address), &size);
    fmt::print("listening 127.0.0.1:{}\n", ntohs(address.sin_port));
    std::fflush(stdout);
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    watch(EPOLL_CTL_ADD, listener_, EPOLLIN);
    large_body_.assign(std::size_t{1} << 20, 'x');
  }

  void run() {
    std::array<epoll_event, 256> events{};
    for (;;) {
      const int count = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
      if (const std::time_t now = std::time(nullptr); now != prepared_at_) prepare_answers(now);
      for (int i = 0; i < count; ++i) {
        const auto& event = events.at(static_cast<std::size_t>(i));
        if (event.data.fd == listener_) {
          accept_all();
        } else if (const auto found = connections_.find(event.data.fd); found != connections_.end()) {
          serve(*found->second, event.events);
        }
      }
    }
  }

 private:
  void watch(int operation, int fd, std::uint32_t events) const {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    epoll_ctl(epoll_, operation, fd, &event);
  }

  void prepare_answers(std::time_t now) {
    prepared_at_ = now;
    std::tm utc{};
    gmtime_r(&now, &utc);
    std::array<char, 40> date{};
    (void)std::strftime(date.data(), date.size(), "%a, %d %b %Y %H:%M:%S GMT", &utc);
    head_start_ =
        fmt::format("HTTP/1.1 200 OK\r\nServer: bench\r\nDate: {}\r\nContent-Type: text/plain\r\n", date.data());
    small_ = answer(std::string(128, 's'), false);
    stored_ = answer("ok", false);
    small_and_close_ = answer(std::string(128, 's'), true);
    stored_and_close_ = answer("ok", true);
    // A large answer may be on its way in a connection: the old text lives until the last of them was sent.
    large_.push_back(std::make_unique<std::string>(answer(large_body_, false)));
    if (large_in_flight_ == 0) large_.erase(large_.begin(), large_.end() - 1);
  }

  [[nodiscard]] std::string answer(std::string_view body, bool close) const {
    return fmt::format("{}Content-Length: {}\r\n{}\r\n{}", head_start_, body.size(),
                       close ? "Connection: close\r\n" : "", body);
  }

  void accept_all() {
    for (;;) {
      const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      ++accepts_;
      set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
      auto connection = std::make_unique<Connection>();
      connection->fd = fd;
      connections_[fd] = std::move(connection);
      watch(EPOLL_CTL_ADD, fd, EPOLLIN);
    }
  }

  void drop(Connection& connection) {
    if (connection.blocked()) --large_in_flight_;
    const int fd = connection.fd;
    close(fd);
    connections_.erase(fd);
  }

  void serve(Connection& connection, std::uint32_t events) {
    if (connection.blocked()) {
      if ((events & (EPOLLERR | EPOLLHUP)) != 0U) return drop(connection);
      if (!flush(connection)) return;
      if (connection.closing) return drop(connection);
      std::string unread;
      unread.swap(connection.unread);
      take(connection, unread);
      return;
    }
    const auto got = recv(connection.fd, buffer_.data(), buffer_.size(), 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return drop(connection);
    take(connection, {buffer_.data(), static_cast<std::size_t>(got)});
  }

  void take(Connection& connection, std::string_view data) {
    while (!data.empty()) {
      data.remove_prefix(connection.reader.feed(data));
      if (connection.reader.bad()) return drop(connection);
      if (!connection.reader.done()) return;
      ++requests_;
      const bool sent = respond(connection);
      connection.reader.reset();
      if (!sent) {
        connection.unread = data;
        return;
      }
      if (connection.closing) return drop(connection);
    }
  }

  // False if the answer has not left entirely.
  bool respond(Connection& connection) {
    const auto line = connection.reader.start_line();
    connection.closing = connection.reader.close();
    std::string_view out = connection.closing ? small_and_close_ : small_;
    if (line.starts_with("POST ")) {
      out = connection.closing ? stored_and_close_ : stored_;
    } else if (line.starts_with("GET /1m")) {
      out = *large_.back();
    } else if (line.starts_with("GET /stats")) {
      once_ =
          answer(fmt::format(R"({{"accepts":{},"requests":{},"open":{}}})", accepts_, requests_, connections_.size()),
                 connection.closing);
      out = once_;
    }
    const auto sent = send(connection.fd, out.data(), out.size(), MSG_NOSIGNAL);
    if (sent == static_cast<ssize_t>(out.size())) return true;
    if (sent < 0 && errno != EAGAIN) {
      connection.closing = true;
      return true;
    }
    out.remove_prefix(sent < 0 ? 0 : static_cast<std::size_t>(sent));
    if (line.starts_with("GET /1m")) {
      connection.large_out = out;
    } else {
      connection.small_out = out;
      connection.large_out = connection.small_out;
    }
    ++large_in_flight_;
    watch(EPOLL_CTL_MOD, connection.fd, EPOLLOUT);
    return false;
  }

  // True once the answer has left.
  bool flush(Connection& connection) {
    auto& out = connection.large_out;
    const auto sent = send(connection.fd, out.data(), out.size(), MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EAGAIN) return false;
      drop(connection);
      return false;
    }
    out.remove_prefix(static_cast<std::size_t>(sent));
    if (!out.empty()) return false;
    --large_in_flight_;
    watch(EPOLL_CTL_MOD, connection.fd, EPOLLIN);
    return true;
  }

  int listener_ = -1;
  int epoll_ = -1;
  std::time_t prepared_at_ = 0;
  std::string head_start_;
  std::string small_;
  std::string stored_;
  std::string small_and_close_;
  std::string stored_and_close_;
  std::string once_;
  std::string large_body_;
  std::deque<std::unique_ptr<std::string>> large_;
  std::size_t large_in_flight_ = 0;
  std::uint64_t accepts_ = 0;
  std::uint64_t requests_ = 0;
  std::unordered_map<int, std::unique_ptr<Connection>> connections_;
  std::array<char, 65536> buffer_{};
};

}  // namespace
}  // namespace dao::bench

int main(int count, char** arguments) {
  dao::bench::raise_descriptor_limit();
  dao::bench::Server server(dao::bench::parse_address(count > 1 ? arguments[1] : "127.0.0.1:0"));
  server.run();
}

// TLS handshakes for `make bench`: each connection shakes hands, sends one request, reads the answer to its end, and is
// followed by another one.
//
//   tls_load --to ADDRESS:PORT [--resume] [--connections N] [--seconds S] [--warmup S] [--watch PID]...
//
// Prints the same JSON as dao_load, and how many of the handshakes resumed a session. With --resume each connection
// resumes the session of the one before it in its place; without it every client is a new one.
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sockets.h"
#include "timed_load.h"

namespace dao::bench {
namespace {

constexpr std::string_view kRequest = "GET /small HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

struct Options : TimedOptions {
  bool resume = false;
};

struct Connection {
  int fd = -1;
  SSL* ssl = nullptr;
  SSL_SESSION* session = nullptr;  // for the next one in this place
  bool asked = false;
  std::string answer;
  std::int64_t started = 0;
};

class Load {
 public:
  explicit Load(Options options)
      : options_(std::move(options)),
        epoll_(epoll_create1(EPOLL_CLOEXEC)),
        context_(SSL_CTX_new(TLS_client_method())),
        connections_(options_.connections),
        load_(options_) {
    SSL_CTX_set_verify(context_, SSL_VERIFY_NONE, nullptr);
    SSL_CTX_set_session_cache_mode(context_, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context_, [](SSL* ssl, SSL_SESSION* session) {
      auto& connection = *static_cast<Connection*>(SSL_get_app_data(ssl));
      SSL_SESSION_free(connection.session);
      connection.session = session;
      return 1;
    });
  }
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;
  ~Load() {
    for (Connection& connection : connections_) {
      end(connection);
      SSL_SESSION_free(connection.session);
    }
    SSL_CTX_free(context_);
    close(epoll_);
  }

  int run() {
    for (Connection& connection : connections_) open(connection);
    load_.run([this] {
      const int count = epoll_wait(epoll_, events_.data(), static_cast<int>(events_.size()), 10);
      for (int i = 0; i < count; ++i) {
        proceed(*static_cast<Connection*>(events_.at(static_cast<std::size_t>(i)).data.ptr));
      }
    });
    load_.print(fmt::format("\"resumed\":{},", resumed_));
    return 0;
  }

 private:
  void open(Connection& connection) {
    connection.started = now_ns();
    connection.asked = false;
    connection.answer.clear();
    connection.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connect(connection.fd, generic(options_.to), sizeof(options_.to)) != 0 && errno != EINPROGRESS) {
      fail("cannot connect: {}", std::strerror(errno));
    }
    set_option(connection.fd, IPPROTO_TCP, TCP_NODELAY, 1);
    connection.ssl = SSL_new(context_);
    SSL_set_app_data(connection.ssl, &connection);
    SSL_set_tlsext_host_name(connection.ssl, "localhost");
    if (options_.resume && connection.session != nullptr) SSL_set_session(connection.ssl, connection.session);
    SSL_set_fd(connection.ssl, connection.fd);
    SSL_set_connect_state(connection.ssl);
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLET;
    event.data.ptr = &connection;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, connection.fd, &event);
  }

  static void end(Connection& connection) {
    if (connection.ssl == nullptr) return;
    // OpenSSL would drop a session whose connection was not shut down.
    SSL_set_shutdown(connection.ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(connection.ssl);
    connection.ssl = nullptr;
    close(connection.fd);
  }

  void proceed(Connection& connection) {
    ERR_clear_error();
    int result = 1;
    if (!connection.asked) {
      result = SSL_write(connection.ssl, kRequest.data(), static_cast<int>(kRequest.size()));
      connection.asked = result > 0;
    }
    while (result > 0) {
      result = SSL_read(connection.ssl, room_.data(), static_cast<int>(room_.size()));
      if (result > 0) connection.answer.append(room_.data(), static_cast<std::size_t>(result));
    }
    const int why = SSL_get_error(connection.ssl, result);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) return;
    // Not every server says goodbye before it closes.
    if (!connection.answer.starts_with("HTTP/1.1 200 ")) {
      load_.broken();
    } else {
      load_.done(connection.started);
      if (load_.measuring() && SSL_session_reused(connection.ssl) == 1) ++resumed_;
    }
    end(connection);
    open(connection);
  }

  Options options_;
  int epoll_;
  SSL_CTX* context_;
  std::vector<Connection> connections_;
  std::array<epoll_event, 64> events_{};
  std::array<char, 16384> room_{};
  TimedLoad load_;
  std::uint64_t resumed_ = 0;
};

Options parse(std::span<char*> arguments) {
  Options options;
  options.connections = 16;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string_view name = arguments[i];
    if (name == "--resume") {
      options.resume = true;
      continue;
    }
    if (i + 1 == arguments.size()) fail("{} needs a value", name);
    parse_timed(options, name, arguments[++i]);
  }
  return options;
}

}  // namespace
}  // namespace dao::bench

int main(int count, char** arguments) {
  using namespace dao::bench;
  raise_descriptor_limit();
  const auto load = std::make_unique<Load>(parse({arguments + 1, static_cast<std::size_t>(count - 1)}));
  return load->run();
}

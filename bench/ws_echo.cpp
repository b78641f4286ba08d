// WebSocket echo for `make bench`, both ends in one program: RFC 6455 with as little work per message as can be.
//
//   ws_echo server                     prints the address it listens on; sends every message back
//   ws_echo load --to ADDRESS:PORT [--bytes N] [--connections N] [--seconds S] [--warmup S] [--watch PID]...
//                                      each connection sends its next message when the last one has come back whole;
//                                      prints the same JSON as dao_load
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sockets.h"
#include "timed_load.h"

namespace dao::bench {
namespace {

constexpr std::string_view kKey = "dGhlIHNhbXBsZSBub25jZQ==";
constexpr std::array<char, 4> kMask{0x12, 0x34, 0x56, 0x78};
constexpr unsigned char kBinaryFinal = 0x82;

// What a server answers to a key (RFC 6455 section 4.2.2).
std::string accept_of(std::string_view key) {
  const std::string text = std::string(key) + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr);
  std::array<unsigned char, 64> encoded{};
  const int length = EVP_EncodeBlock(encoded.data(), digest.data(), static_cast<int>(size));
  return {reinterpret_cast<const char*>(encoded.data()), static_cast<std::size_t>(length)};
}

struct Frame {
  std::size_t head = 0;     // bytes before the payload
  std::size_t payload = 0;  // bytes
  bool masked = false;
};

// The frame that begins at `bytes`, if its head is there.
std::optional<Frame> frame_at(std::span<const char> bytes) {
  const auto byte = [bytes](std::size_t i) { return static_cast<std::size_t>(static_cast<unsigned char>(bytes[i])); };
  if (bytes.size() < 2) return std::nullopt;
  Frame frame{.head = 2, .payload = byte(1) & 0x7FU, .masked = (byte(1) & 0x80U) != 0};
  const std::size_t more = frame.payload == 126 ? 2 : frame.payload == 127 ? 8 : 0;
  frame.head += more + (frame.masked ? kMask.size() : 0);
  if (bytes.size() < frame.head) return std::nullopt;
  if (more > 0) {
    frame.payload = 0;
    for (std::size_t i = 0; i < more; ++i) frame.payload = frame.payload << 8U | byte(2 + i);
  }
  return frame;
}

std::string frame_head(std::size_t payload, bool masked) {
  const char mask_bit = masked ? '\x80' : '\0';
  std::string head(1, static_cast<char>(kBinaryFinal));
  if (payload < 126) {
    head += static_cast<char>(static_cast<char>(payload) | mask_bit);
  } else {
    const std::size_t bytes = payload < 65536 ? 2 : 8;
    head += static_cast<char>((bytes == 2 ? 126 : 127) | mask_bit);
    for (std::size_t i = bytes; i-- > 0;) head += static_cast<char>(payload >> (8 * i) & 0xFFU);
  }
  if (masked) head.append(kMask.data(), kMask.size());
  return head;
}

// Bytes that the kernel did not take yet, and bytes that are not a whole message yet.
struct Connection {
  int fd = -1;
  bool open = false;  // the opening handshake is over
  bool wants_writable = false;
  std::string out;
  std::size_t out_sent = 0;
  std::string in;
  std::int64_t started = 0;
};

class Endpoint {
 public:
  Endpoint() : epoll_(epoll_create1(EPOLL_CLOEXEC)) {}
  Endpoint(const Endpoint&) = delete;
  Endpoint& operator=(const Endpoint&) = delete;
  virtual ~Endpoint() { close(epoll_); }

 protected:
  void watch(Connection& connection, int operation) const {
    epoll_event event{};
    event.events = connection.wants_writable ? EPOLLIN | EPOLLOUT : EPOLLIN;
    event.data.ptr = &connection;
    epoll_ctl(epoll_, operation, connection.fd, &event);
  }

  bool flush(Connection& connection) {
    while (connection.out_sent < connection.out.size()) {
      const auto sent = send(connection.fd, connection.out.data() + connection.out_sent,
                             connection.out.size() - connection.out_sent, MSG_NOSIGNAL);
      if (sent < 0 && errno != EAGAIN) return false;
      if (sent < 0) break;
      connection.out_sent += static_cast<std::size_t>(sent);
    }
    const bool blocked = connection.out_sent < connection.out.size();
    if (!blocked) {
      connection.out.clear();
      connection.out_sent = 0;
    }
    if (blocked != connection.wants_writable) {
      connection.wants_writable = blocked;
      watch(connection, EPOLL_CTL_MOD);
    }
    return true;
  }

  // False at the end of the stream.
  bool fill(Connection& connection) {
    const auto got = recv(connection.fd, buffer_.data(), buffer_.size(), 0);
    if (got > 0) connection.in.append(buffer_.data(), static_cast<std::size_t>(got));
    return got > 0 || (got < 0 && errno == EAGAIN);
  }

  // The head of the opening handshake, once it is there.
  static std::optional<std::string> take_handshake(Connection& connection) {
    const auto end = connection.in.find("\r\n\r\n");
    if (end == std::string::npos) return std::nullopt;
    std::string head = connection.in.substr(0, end + 4);
    connection.in.erase(0, end + 4);
    connection.open = true;
    return head;
  }

  int epoll_;
  std::array<epoll_event, 256> events_{};
  std::array<char, 262144> buffer_{};
};

class Server final : public Endpoint {
 public:
  Server() : listener_(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) {
    sockaddr_in address = parse_address("127.0.0.1:0");
    socklen_t size = sizeof(address);
    if (bind(listener_, generic(address), sizeof(address)) != 0 || listen(listener_, 4096) != 0 ||
        getsockname(listener_, generic(address), &size) != 0) {
      fail("cannot listen: {}", std::strerror(errno));
    }
    set_option(listener_, IPPROTO_TCP, TCP_NODELAY, 1);
    epoll_event event{};
    event.events = EPOLLIN;
    epoll_ctl(epoll_, EPOLL_CTL_ADD, listener_, &event);
    fmt::print("listening 127.0.0.1:{}\n", ntohs(address.sin_port));
    (void)std::fflush(stdout);
  }

  [[noreturn]] void run() {
    for (;;) {
      const int count = epoll_wait(epoll_, events_.data(), static_cast<int>(events_.size()), -1);
      for (int i = 0; i < count; ++i) {
        auto* connection = static_cast<Connection*>(events_.at(static_cast<std::size_t>(i)).data.ptr);
        if (connection == nullptr) {
          accept_all();
        } else if (!serve(*connection)) {
          close(connection->fd);
          delete connection;
        }
      }
    }
  }

 private:
  void accept_all() {
    for (;;) {
      const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      auto* connection = new Connection;  // owned by its registration with epoll
      connection->fd = fd;
      watch(*connection, EPOLL_CTL_ADD);
    }
  }

  bool serve(Connection& connection) {
    if (!fill(connection)) return false;
    if (!connection.open) {
      const auto head = take_handshake(connection);
      if (!head) return true;
      constexpr std::string_view kField = "\r\nsec-websocket-key: ";
      std::string lower = *head;
      for (char& each : lower) each = each >= 'A' && each <= 'Z' ? static_cast<char>(each + 32) : each;
      const auto at = lower.find(kField);
      if (at == std::string::npos) return false;
      const std::string key = head->substr(at + kField.size(), kKey.size());
      connection.out =
          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          "Sec-WebSocket-Accept: " +
          accept_of(key) + "\r\n\r\n";
    }
    std::size_t used = 0;
    for (;;) {
      const std::span<char> rest{connection.in.data() + used, connection.in.size() - used};
      const auto frame = frame_at(rest);
      if (!frame || rest.size() < frame->head + frame->payload) break;
      connection.out += frame_head(frame->payload, false);
      const std::span<char> payload = rest.subspan(frame->head, frame->payload);
      if (frame->masked) {
        const std::span<const char> mask = rest.subspan(frame->head - kMask.size(), kMask.size());
        for (std::size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<char>(payload[i] ^ mask[i % 4]);
      }
      connection.out.append(payload.data(), payload.size());
      used += frame->head + frame->payload;
    }
    connection.in.erase(0, used);
    return flush(connection);
  }

  int listener_;
};

struct Options : TimedOptions {
  std::size_t bytes = 125;
};

class Load final : public Endpoint {
 public:
  explicit Load(Options options) : options_(std::move(options)), connections_(options_.connections), load_(options_) {
    std::string payload(options_.bytes, 'w');
    for (std::size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<char>(payload[i] ^ kMask[i % 4]);
    message_ = frame_head(payload.size(), true) + payload;
    echo_bytes_ = frame_head(payload.size(), false).size() + payload.size();
  }

  int run() {
    for (Connection& connection : connections_) open(connection);
    load_.run([this] {
      const int count = epoll_wait(epoll_, events_.data(), static_cast<int>(events_.size()), 10);
      for (int i = 0; i < count; ++i) {
        Connection& connection = *static_cast<Connection*>(events_.at(static_cast<std::size_t>(i)).data.ptr);
        if (!proceed(connection)) {
          load_.broken();
          close(connection.fd);
        }
      }
    });
    load_.print();
    return 0;
  }

 private:
  void open(Connection& connection) {
    connection.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(connection.fd, generic(options_.to), sizeof(options_.to)) != 0) {
      fail("cannot connect: {}", std::strerror(errno));
    }
    set_option(connection.fd, IPPROTO_TCP, TCP_NODELAY, 1);
    fcntl(connection.fd, F_SETFL, O_NONBLOCK);
    watch(connection, EPOLL_CTL_ADD);
    connection.out = fmt::format(
        "GET /ws HTTP/1.1\r\nHost: bench.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: {}\r\nSec-WebSocket-Version: 13\r\n\r\n",
        kKey);
    flush(connection);
  }

  bool proceed(Connection& connection) {
    if (connection.wants_writable && !flush(connection)) return false;
    if (!fill(connection)) return false;
    if (!connection.open) {
      const auto head = take_handshake(connection);
      if (!head) return true;
      if (!head->starts_with("HTTP/1.1 101 ")) fail("no upgrade: {}", head->substr(0, head->find('\r')));
      return say(connection);
    }
    if (connection.in.size() < echo_bytes_) return true;
    if (connection.in.size() > echo_bytes_ || static_cast<unsigned char>(connection.in[0]) != kBinaryFinal)
      return false;
    connection.in.clear();
    load_.done(connection.started);
    return say(connection);
  }

  bool say(Connection& connection) {
    connection.started = now_ns();
    connection.out = message_;
    return flush(connection);
  }

  Options options_;
  std::vector<Connection> connections_;
  std::string message_;
  std::size_t echo_bytes_ = 0;
  TimedLoad load_;
};

Options parse(std::span<char*> arguments) {
  Options options;
  options.connections = 32;
  for (std::size_t i = 0; i + 1 < arguments.size(); i += 2) {
    const std::string_view name = arguments[i];
    const std::string_view value = arguments[i + 1];
    if (name == "--bytes") {
      options.bytes = parse_number<std::size_t>(value);
    } else {
      parse_timed(options, name, value);
    }
  }
  return options;
}

}  // namespace
}  // namespace dao::bench

int main(int count, char** arguments) {
  using namespace dao::bench;
  raise_descriptor_limit();
  const std::string_view role = count > 1 ? arguments[1] : "";
  if (role == "server") Server().run();
  if (role != "load") fail("say 'server' or 'load'");
  const auto load = std::make_unique<Load>(parse({arguments + 2, static_cast<std::size_t>(count - 2)}));
  return load->run();
}

#include "client.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <optional>
#include <utility>

#include "dao/base/clock.h"
#include "dao/base/json_text.h"
#include "dao/config/address.h"
#include "dao/http/h1/head_parser.h"

namespace dao {

namespace {

constexpr Milliseconds kConnectPatience{5'000};
// The largest configuration, as JSON.
constexpr std::size_t kAnswerMax = std::size_t{256} << 20U;
constexpr std::string_view kUnix = "unix:";
// Where the packaged configuration has it (packaging/dao.toml).
constexpr const char* kPackagedSocket = "/run/dao/admin.sock";

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Socket& operator=(Socket&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
};

using Reason = std::unexpected<std::string>;

Reason system_error(int error) {
  return Reason(std::strerror(error));
}

// False when the time is over first.
bool wait_for(int fd, short events, Instant deadline) {
  const SystemClock clock;
  for (;;) {
    const auto left = std::chrono::ceil<Milliseconds>(deadline - clock.now());
    if (left.count() <= 0) return false;
    pollfd one{.fd = fd, .events = events, .revents = 0};
    const int ready = poll(&one, 1, static_cast<int>(left.count()));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

std::expected<Socket, std::string> connect_to(int family, const sockaddr* address, socklen_t length) {
  Socket one(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (one.fd() < 0) return system_error(errno);
  if (connect(one.fd(), address, length) == 0) return one;
  if (errno != EINPROGRESS) return system_error(errno);
  const SystemClock clock;
  if (!wait_for(one.fd(), POLLOUT, clock.now() + kConnectPatience)) return Reason("no connection in time");
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(one.fd(), SOL_SOCKET, SO_ERROR, &error, &size);
  if (error != 0) return system_error(error);
  return one;
}

std::expected<Socket, std::string> connect_to(const AdminAddress& to) {
  if (!to.path.empty()) {
    sockaddr_un local{};
    local.sun_family = AF_UNIX;
    if (to.path.size() >= sizeof local.sun_path) return Reason("the path is too long for a unix socket");
    to.path.copy(local.sun_path, to.path.size());
    return connect_to(AF_UNIX, reinterpret_cast<const sockaddr*>(&local), sizeof local);
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  if (const int failed = getaddrinfo(to.host.c_str(), to.port.c_str(), &hints, &list); failed != 0) {
    return Reason(gai_strerror(failed));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> all(list, freeaddrinfo);
  std::expected<Socket, std::string> connected = Reason("no address");
  for (const addrinfo* one = list; one != nullptr && !connected; one = one->ai_next) {
    connected = connect_to(one->ai_family, one->ai_addr, one->ai_addrlen);
  }
  return connected;
}

std::expected<void, std::string> send_all(int fd, std::string_view text, Instant deadline) {
  while (!text.empty()) {
    const ssize_t sent = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      text.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      if (!wait_for(fd, POLLOUT, deadline)) return Reason("the request was not taken in time");
    } else if (errno != EINTR) {
      return system_error(errno);
    }
  }
  return {};
}

struct Answered {
  std::uint16_t status = 0;
  std::string body;
};

// The answer has a length (RFC 9112 section 6.3); DAO gives one.
std::expected<Answered, std::string> read_answer(int fd, Instant deadline) {
  std::string received;
  http::ResponseHead head;
  std::optional<std::size_t> head_bytes;
  std::array<char, 65536> chunk;
  for (;;) {
    if (!head_bytes) {
      head.clear();
      const Result<http::h1::ParsedBytes> parsed =
          http::h1::parse_response_head(received, http::HeadLimits{}, http::Method::get, head);
      if (!parsed) return Reason("it does not answer in HTTP");
      if (*parsed != 0) head_bytes = *parsed;
      if (head_bytes && head.framing.kind == http::BodyFraming::Kind::chunked)
        return Reason("an answer without length");
    }
    if (head_bytes) {
      const std::size_t length = head.framing.length;
      if (length > kAnswerMax) return Reason("the answer is too large");
      if (received.size() >= *head_bytes + length) return Answered{head.status, received.substr(*head_bytes, length)};
    }
    const ssize_t got = recv(fd, chunk.data(), chunk.size(), 0);
    if (got > 0) {
      received.append(chunk.data(), static_cast<std::size_t>(got));
    } else if (got == 0) {
      return Reason(received.empty() ? "it closed the connection without an answer" : "the answer was cut");
    } else if (errno == EAGAIN) {
      if (!wait_for(fd, POLLIN, deadline)) return Reason("no answer in time");
    } else if (errno != EINTR) {
      return system_error(errno);
    }
  }
}

}  // namespace

std::expected<AdminAddress, std::string> parse_admin_address(std::string_view text) {
  AdminAddress address{.host = {}, .port = {}, .path = {}, .authority = "localhost", .text = std::string(text)};
  if (text.starts_with(kUnix)) {
    address.path = text.substr(kUnix.size());
    if (!address.path.starts_with('/')) return Reason("the path of a unix socket begins with \"/\"");
    return address;
  }
  constexpr std::string_view kHttp = "http://";
  if (text.starts_with(kHttp)) text.remove_prefix(kHttp.size());
  if (text.ends_with('/')) text.remove_suffix(1);
  const std::size_t colon = text.rfind(':');
  std::uint16_t port = 0;
  if (colon != std::string_view::npos) {
    const auto [end, error] = std::from_chars(text.data() + colon + 1, text.data() + text.size(), port);
    if (error != std::errc{} || end != text.data() + text.size()) port = 0;
  }
  std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.starts_with('[') && host.ends_with(']');
  const bool odd = !bracketed && host.find_first_of(":/@?# \t\r\n") != std::string_view::npos;
  if (port == 0 || host.empty() || odd) {
    return Reason(fmt::format("\"{}\" is no address: \"host:port\", \"[ipv6]:port\" or \"unix:/path\"", address.text));
  }
  address.authority = text;
  address.port = std::to_string(port);
  if (bracketed) host = host.substr(1, host.size() - 2);
  address.host = host;
  return address;
}

std::string default_admin_address() {
  if (const char* given = std::getenv("DAO_ADMIN"); given != nullptr && *given != '\0') return given;
  if (access(kPackagedSocket, F_OK) == 0) return std::string(kUnix) + kPackagedSocket;
  return std::string(config::kDefaultAdminBind);
}

std::expected<nlohmann::json, ApiFailure> AdminClient::get(const std::string& target) const {
  return ask("GET", target, ApiBody{});
}

std::expected<nlohmann::json, ApiFailure> AdminClient::post(const std::string& target,
                                                            const nlohmann::json& body) const {
  return ask("POST", target, ApiBody{.text = body.is_null() ? std::string{} : body.dump()});
}

std::expected<nlohmann::json, ApiFailure> AdminClient::post(const std::string& target, const ApiBody& body) const {
  return ask("POST", target, body);
}

std::expected<nlohmann::json, ApiFailure> AdminClient::ask(std::string_view method, const std::string& target,
                                                           const ApiBody& body) const {
  const auto unreachable = [&](std::string_view why) {
    return std::unexpected(ApiFailure{ApiFailure::Kind::unreachable,
                                      fmt::format("cannot reach the admin API of DAO at {}: {}", address_.text, why)});
  };
  std::string request = fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: daoctl\r\nAccept: application/json\r\n",
                                    method, target, address_.authority);
  if (!token_.empty()) request += fmt::format("Authorization: Bearer {}\r\n", token_);
  if (method == "POST") request += "X-DAO-Admin: 1\r\n";
  if (!body.if_match.empty()) request += fmt::format("If-Match: \"{}\"\r\n", body.if_match);
  if (!body.text.empty()) request += fmt::format("Content-Type: {}\r\n", body.content_type);
  if (method == "POST") request += fmt::format("Content-Length: {}\r\n", body.text.size());
  request += "Connection: close\r\n\r\n" + body.text;

  const auto connected = connect_to(address_);
  if (!connected) return unreachable(connected.error());
  const SystemClock clock;
  const Instant deadline = clock.now() + body.patience;
  // Whoever refuses a large body answers before it has read all of it.
  const auto sent = send_all(connected->fd(), request, deadline);
  const auto answered = read_answer(connected->fd(), deadline);
  if (!answered && !sent) return unreachable(sent.error());
  if (!answered) return unreachable(answered.error());
  const nlohmann::json json = parse_json(answered->body);
  const bool obeyed = answered->status / 100 == 2;
  if (obeyed && !json.is_discarded()) return json;
  const bool explained = json.is_object() && json.contains("detail") && json["detail"].is_string();
  if (!explained) return unreachable(fmt::format("what answers there ({}) is no admin API", answered->status));
  return std::unexpected(
      ApiFailure{ApiFailure::Kind::refused,
                 fmt::format("{} ({})", json["detail"].get_ref<const std::string&>(), answered->status), json});
}

std::expected<std::string, std::string> read_token_file(const std::string& path) {
  std::ifstream file(path);
  std::string token;
  if (!file) return Reason(fmt::format("cannot read the token in {}: {}", path, std::strerror(errno)));
  std::getline(file, token);
  if (token.ends_with('\r')) token.pop_back();
  const bool usable = !token.empty() && std::ranges::all_of(token, [](char c) { return c > ' ' && c <= '~'; });
  if (!usable) return Reason(fmt::format("there is no token in {}", path));
  return token;
}

std::string percent_encoded(std::string_view text) {
  std::string result;
  for (const char c : text) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                       (c != '\0' && std::strchr("-._~", c) != nullptr);
    result += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return result;
}

}  // namespace dao

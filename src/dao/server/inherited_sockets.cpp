#include "dao/server/inherited_sockets.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <utility>

namespace dao::server {

namespace {

std::optional<int> number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

bool listens(int fd) {
  int on = 0;
  socklen_t length = sizeof on;
  return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &length) == 0 && on != 0;
}

// Takes the variable out of the environment.
std::string take_variable(const char* name) {
  const char* value = std::getenv(name);
  std::string text = value == nullptr ? "" : value;
  unsetenv(name);
  return text;
}

}  // namespace

std::expected<std::unique_ptr<InheritedSockets>, std::string> InheritedSockets::from_environment() {
  std::unique_ptr<InheritedSockets> sockets(new InheritedSockets);
  if (auto upgrade = sockets->read_upgrade(); !upgrade) return std::unexpected(upgrade.error());
  if (auto activation = sockets->read_activation(); !activation) return std::unexpected(activation.error());
  return sockets;
}

InheritedSockets::~InheritedSockets() {
  for (const Group& group : groups_) {
    for (const int fd : group.fds) close(fd);
  }
  if (ready_fd_ >= 0) close(ready_fd_);
}

std::expected<void, std::string> InheritedSockets::add(int fd, std::string key) {
  if (!listens(fd)) return std::unexpected(fmt::format("descriptor {}, given for {}, is no listening socket", fd, key));
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  // Two listeners with one key, such as port 0, are two groups that follow each other.
  if (groups_.empty() || groups_.back().key != key || groups_.back().fds.empty()) {
    groups_.push_back({std::move(key), {}});
  }
  groups_.back().fds.push_back(fd);
  return {};
}

std::expected<void, std::string> InheritedSockets::read_upgrade() {
  const std::string ready = take_variable(kReadyVariable);
  const std::string text = take_variable(kSocketsVariable);
  if (const auto fd = number(ready)) {
    ready_fd_ = *fd;
    fcntl(ready_fd_, F_SETFD, FD_CLOEXEC);
  }
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t line_end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, line_end);
    rest.remove_prefix(std::min(line_end + 1, rest.size()));
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos) return std::unexpected(fmt::format("{} is not readable", kSocketsVariable));
    const std::string key{line.substr(space + 1)};
    groups_.push_back({key, {}});
    for (std::string_view fds = line.substr(0, space); !fds.empty();) {
      const std::size_t comma = std::min(fds.find(','), fds.size());
      const auto fd = number(fds.substr(0, comma));
      fds.remove_prefix(std::min(comma + 1, fds.size()));
      if (!fd) return std::unexpected(fmt::format("{} is not readable", kSocketsVariable));
      if (!listens(*fd)) {
        return std::unexpected(fmt::format("descriptor {}, handed over for {}, is no listening socket", *fd, key));
      }
      fcntl(*fd, F_SETFD, FD_CLOEXEC);
      groups_.back().fds.push_back(*fd);
    }
  }
  return {};
}

std::expected<void, std::string> InheritedSockets::read_activation() {
  char** names = nullptr;
  const int count = sd_listen_fds_with_names(1, &names);
  std::expected<void, std::string> result;
  for (int i = 0; i < count && result; ++i) {
    const int fd = SD_LISTEN_FDS_START + i;
    const std::string_view name = names != nullptr && names[i] != nullptr ? names[i] : "";
    // systemd calls sockets of a unit without FileDescriptorName= by the name of the unit, "dao.socket".
    result = add(fd, fmt::format("fd:{}", name.empty() || name == "unknown" ? std::to_string(fd) : std::string(name)));
  }
  for (int i = 0; names != nullptr && i < count; ++i) std::free(names[i]);
  std::free(names);
  return result;
}

std::vector<int> InheritedSockets::take(const config::Address& address) {
  const std::string key = key_of(address);
  const auto group = std::ranges::find_if(
      groups_, [&key](const Group& candidate) { return candidate.key == key && !candidate.fds.empty(); });
  if (group == groups_.end()) return {};
  return std::exchange(group->fds, {});
}

void InheritedSockets::report_ready() {
  if (ready_fd_ < 0) return;
  const char byte = '1';
  const ssize_t written = write(ready_fd_, &byte, 1);
  static_cast<void>(written);
  close(std::exchange(ready_fd_, -1));
}

std::string InheritedSockets::key_of(const config::Address& address) {
  switch (address.kind) {
    case config::Address::Kind::unix_socket:
      return "unix:" + address.path;
    case config::Address::Kind::inherited:
      return "fd:" + address.host;
    case config::Address::Kind::tcp:
      break;
  }
  return fmt::format("tcp:{}|{}", address.host, address.port);
}

}  // namespace dao::server

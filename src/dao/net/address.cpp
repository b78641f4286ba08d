#include "dao/net/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace dao::net {

std::optional<SocketAddress> SocketAddress::from_ip(std::string_view host, std::uint16_t port) {
  const std::string text = host.empty() ? "::" : std::string{host};
  SocketAddress address;
  if (in_addr v4{}; inet_pton(AF_INET, text.c_str(), &v4) == 1) {
    address.storage_.v4 = {};
    address.storage_.v4.sin_family = AF_INET;
    address.storage_.v4.sin_port = htons(port);
    address.storage_.v4.sin_addr = v4;
    address.length_ = sizeof(sockaddr_in);
    return address;
  }
  if (in6_addr v6{}; inet_pton(AF_INET6, text.c_str(), &v6) == 1) {
    address.storage_.v6 = {};
    address.storage_.v6.sin6_family = AF_INET6;
    address.storage_.v6.sin6_port = htons(port);
    address.storage_.v6.sin6_addr = v6;
    address.length_ = sizeof(sockaddr_in6);
    return address;
  }
  return std::nullopt;
}

std::optional<SocketAddress> SocketAddress::from_path(std::string_view path) {
  SocketAddress address;
  if (path.empty() || path.size() >= sizeof(address.storage_.local.sun_path)) return std::nullopt;
  address.storage_.local.sun_family = AF_UNIX;
  std::memcpy(address.storage_.local.sun_path, path.data(), path.size());
  address.length_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return address;
}

SocketAddress SocketAddress::from_raw(const sockaddr* raw, socklen_t length) {
  SocketAddress address;
  const std::size_t size = std::min<std::size_t>(length, sizeof(address.storage_));
  std::memcpy(&address.storage_, raw, size);
  address.length_ = static_cast<socklen_t>(size);
  return address;
}

SocketAddress SocketAddress::local_of(int fd) {
  sockaddr_storage raw{};
  socklen_t length = sizeof raw;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&raw), &length) != 0) return {};
  return from_raw(reinterpret_cast<sockaddr*>(&raw), length);
}

std::uint16_t SocketAddress::port() const {
  if (family() == AF_INET) return ntohs(storage_.v4.sin_port);
  if (family() == AF_INET6) return ntohs(storage_.v6.sin6_port);
  return 0;
}

std::string SocketAddress::text() const {
  char buffer[INET6_ADDRSTRLEN] = {};
  switch (family()) {
    case AF_INET:
      inet_ntop(AF_INET, &storage_.v4.sin_addr, buffer, sizeof buffer);
      return std::string{buffer} + ":" + std::to_string(port());
    case AF_INET6:
      inet_ntop(AF_INET6, &storage_.v6.sin6_addr, buffer, sizeof buffer);
      return "[" + std::string{buffer} + "]:" + std::to_string(port());
    case AF_UNIX:
      return std::string{"unix:"} + storage_.local.sun_path;
    default:
      return "unspecified";
  }
}

bool operator==(const SocketAddress& a, const SocketAddress& b) {
  return a.length_ == b.length_ && std::memcmp(&a.storage_, &b.storage_, a.length_) == 0;
}

namespace {

// inet_ntop() goes through printf, which is a tenth of what a short connection costs us.
std::size_t write_ipv4(const std::uint8_t* bytes, char* to) {
  char* at = to;
  for (int i = 0; i < 4; ++i) {
    if (i > 0) *at++ = '.';
    const unsigned value = bytes[i];
    if (value >= 100) *at++ = static_cast<char>('0' + value / 100);
    if (value >= 10) *at++ = static_cast<char>('0' + value / 10 % 10);
    *at++ = static_cast<char>('0' + value % 10);
  }
  return static_cast<std::size_t>(at - to);
}

}  // namespace

namespace {

struct IpAndPort {
  std::array<std::uint8_t, 16> bytes{};
  std::uint8_t length = 0;  // 0: neither IPv4 nor IPv6
  std::uint16_t port = 0;
};

IpAndPort ip_and_port(const sockaddr* raw) {
  IpAndPort found;
  const auto take = [&found](const void* bytes, std::uint8_t length, std::uint16_t port) {
    std::memcpy(found.bytes.data(), bytes, length);
    found.length = length;
    found.port = ntohs(port);
  };
  if (raw->sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, raw, sizeof v4);
    take(&v4.sin_addr, 4, v4.sin_port);
  } else if (raw->sa_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, raw, sizeof v6);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
      take(&v6.sin6_addr.s6_addr[12], 4, v6.sin6_port);
    } else {
      take(&v6.sin6_addr, 16, v6.sin6_port);
    }
  }
  return found;
}

}  // namespace

Peer::Peer(const sockaddr* raw) {
  const IpAndPort found = ip_and_port(raw);
  if (found.length == 0) return;
  bytes_ = found.bytes;
  bytes_length_ = found.length;
  port_ = found.port;
  if (!is_v6()) {
    text_length_ = static_cast<std::uint8_t>(write_ipv4(bytes_.data(), text_.data()));
    return;
  }
  text_.fill('\0');
  inet_ntop(AF_INET6, bytes_.data(), text_.data(), static_cast<socklen_t>(text_.size()));
  text_length_ = static_cast<std::uint8_t>(std::strlen(text_.data()));
}

bool Peer::is(const Peer& other) const {
  return port_ == other.port_ && std::ranges::equal(bytes(), other.bytes());
}

void Peer::set_destination(const sockaddr* raw) {
  const IpAndPort found = ip_and_port(raw);
  if (found.length == 0 || found.length != bytes_length_) return;
  destination_ = found.bytes;
  destination_port_ = found.port;
  has_destination_ = true;
}

}  // namespace dao::net

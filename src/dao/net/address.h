// The address of a socket: IPv4, IPv6 or a unix path. A value, any thread.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace dao::net {

class SocketAddress {
 public:
  SocketAddress() = default;  // unspecified
  // `host`: an IP literal without brackets; empty is every address (IPv6 wildcard, dual stack). nullopt: not a literal.
  static std::optional<SocketAddress> from_ip(std::string_view host, std::uint16_t port);
  // nullopt: longer than the system takes (107 bytes).
  static std::optional<SocketAddress> from_path(std::string_view path);
  static SocketAddress from_raw(const sockaddr* raw, socklen_t length);
  static SocketAddress local_of(int fd);

  [[nodiscard]] int family() const { return storage_.base.sa_family; }
  [[nodiscard]] bool is_unix() const { return family() == AF_UNIX; }
  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] const sockaddr* raw() const { return &storage_.base; }
  [[nodiscard]] socklen_t length() const { return length_; }
  // "192.0.2.1:80", "[2001:db8::1]:80", "unix:/path".
  [[nodiscard]] std::string text() const;

  friend bool operator==(const SocketAddress& a, const SocketAddress& b);

 private:
  union Storage {
    sockaddr base;
    sockaddr_in v4;
    sockaddr_in6 v6;
    sockaddr_un local;
  };
  Storage storage_{.local = {}};
  socklen_t length_ = 0;
};

// Who is at the other end of a client connection, small enough to keep one for each of many idle ones. An IPv4-mapped
// IPv6 address is shown and compared as IPv4.
class Peer {
 public:
  Peer() = default;  // a unix socket's peer: no address, text "unix"
  explicit Peer(const sockaddr* raw);

  [[nodiscard]] std::string_view ip_text() const { return {text_.data(), text_length_}; }  // IPv6 without brackets
  [[nodiscard]] bool is_v6() const { return bytes_length_ == 16; }
  [[nodiscard]] bool is_unix() const { return bytes_length_ == 0; }
  [[nodiscard]] std::uint16_t port() const { return port_; }
  // 4 or 16 bytes in network order; empty for unix.
  [[nodiscard]] std::span<const std::uint8_t> bytes() const { return {bytes_.data(), bytes_length_}; }
  // The same address and port, or both without an address.
  [[nodiscard]] bool is(const Peer& other) const;

  // Where it connected to. Ignored unless of the peer's own family, IPv4-mapped addresses counting as IPv4.
  void set_destination(const sockaddr* raw);
  // As long as bytes(); empty if it is not known.
  [[nodiscard]] std::span<const std::uint8_t> destination() const {
    return {destination_.data(), has_destination_ ? bytes_length_ : std::size_t{0}};
  }
  [[nodiscard]] std::uint16_t destination_port() const { return destination_port_; }

 private:
  std::array<char, INET6_ADDRSTRLEN> text_{'u', 'n', 'i', 'x'};
  std::array<std::uint8_t, 16> bytes_{};
  std::array<std::uint8_t, 16> destination_{};
  std::uint16_t port_ = 0;
  std::uint16_t destination_port_ = 0;
  std::uint8_t text_length_ = 4;
  std::uint8_t bytes_length_ = 0;
  bool has_destination_ = false;
};

}  // namespace dao::net

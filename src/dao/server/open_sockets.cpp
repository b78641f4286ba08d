#include "dao/server/open_sockets.h"

#include <unistd.h>

#include <utility>

namespace dao::server {

namespace {

std::expected<net::SocketAddress, std::string> address_of(const config::Address& address) {
  const auto parsed = address.kind == config::Address::Kind::unix_socket
                          ? net::SocketAddress::from_path(address.path)
                          : net::SocketAddress::from_ip(address.host, address.port);
  if (!parsed) return std::unexpected("cannot listen on " + address.text + ": not a usable address");
  return *parsed;
}

// Every address at once is IPv6 with IPv4 inside; on a machine without IPv6 it is IPv4.
std::expected<net::ListenSockets, std::string> open_anew(const config::Address& address, unsigned workers) {
  if (address.kind == config::Address::Kind::inherited) {
    return std::unexpected("cannot listen on " + address.text +
                           ": no such socket was passed (is the .socket unit started, is FileDescriptorName= right?)");
  }
  const auto wanted = address_of(address);
  if (!wanted) return std::unexpected(wanted.error());
  auto sockets = net::open_listeners(*wanted, workers);
  const bool any = address.kind == config::Address::Kind::tcp && address.host.empty();
  if (!sockets && any && access("/proc/net/if_inet6", F_OK) != 0) {
    const auto v4 = net::SocketAddress::from_ip("0.0.0.0", address.port);
    if (v4) return net::open_listeners(*v4, workers);
  }
  return sockets;
}

}  // namespace

std::expected<OpenedSockets, std::string> open_sockets(const config::Address& address, unsigned workers,
                                                       InheritedSockets* inherited) {
  if (inherited != nullptr) {
    if (std::vector<int> fds = inherited->take(address); !fds.empty()) {
      const net::SocketAddress bound = net::SocketAddress::local_of(fds.front());
      return OpenedSockets{.fds = std::move(fds), .address = bound, .anew = false};
    }
  }
  auto sockets = open_anew(address, workers);
  if (!sockets) return std::unexpected(std::move(sockets.error()));
  return OpenedSockets{.fds = std::move(sockets->fds), .address = sockets->address, .anew = true};
}

}  // namespace dao::server

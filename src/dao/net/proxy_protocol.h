// The PROXY protocol, versions 1 and 2 (haproxy.org/download/2.8/doc/proxy-protocol.txt): a header in front of
// everything else on a connection, in which a load balancer tells whose connection it passes on. Pure functions, any
// thread, no allocation in reading.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "dao/base/error.h"
#include "dao/net/address.h"

namespace dao::net {

// The longest headers that are read. Version 1 by its specification; version 2 allows 64 KiB, which nobody needs.
inline constexpr std::size_t kProxyHeaderV1Max = 107;
inline constexpr std::size_t kProxyHeaderMax = 4096;

struct ProxyHeader {
  std::size_t bytes = 0;  // its length; 0: not all of it is there yet
  // Who connected to the sender. Absent when the sender speaks for itself (LOCAL) or does not know (UNKNOWN, UNSPEC):
  // the client then is whoever made the connection. For AF_UNIX a Peer without address.
  std::optional<Peer> source;
};

// Reads the header that `received` begins with; what follows it is not looked at. Refused (Origin::client,
// ErrorKind::proxy_header) as soon as it cannot become a valid one, so at the first byte of TLS or HTTP.
Result<ProxyHeader> parse_proxy_header(std::string_view received);

}  // namespace dao::net

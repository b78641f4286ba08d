// The PROXY protocol, versions 1 and 2 (haproxy.org/download/2.8/doc/proxy-protocol.txt): a header in front of
// everything else on a connection, in which a load balancer tells whose connection it passes on. It is read where one
// stands in front of DAO, and written to backends that want one. Pure functions, any thread, no allocation in reading.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "dao/base/error.h"
#include "dao/net/address.h"
#include "dao/net/tls_facts.h"

namespace dao::net {

// The longest headers that are read. Version 1 by its specification; version 2 allows 64 KiB, which nobody needs.
inline constexpr std::size_t kProxyHeaderV1Max = 107;
inline constexpr std::size_t kProxyHeaderMax = 4096;

struct ProxyHeader {
  std::size_t bytes = 0;  // its length; 0: not all of it is there yet
  // Who connected to the sender. Absent when the sender speaks for itself (LOCAL) or does not know (UNKNOWN, UNSPEC):
  // the client then is whoever made the connection. For AF_UNIX a Peer without address.
  std::optional<Peer> source;  // with its destination
};

// Reads the header that `received` begins with; what follows it is not looked at. Refused (Origin::client,
// ErrorKind::proxy_header) as soon as it cannot become a valid one, so at the first byte of TLS or HTTP.
Result<ProxyHeader> parse_proxy_header(std::string_view received);

enum class ProxyVersion : std::uint8_t { v1, v2 };

// Replaces `to` by the header that tells of a connection of `client` to its destination() (the unspecified address if
// that is not known). Depends on nothing else, so all requests of one connection have the same. A client without an
// address is UNKNOWN in version 1, of no family in version 2.
//
// Version 2 has, if `tls` is not null: ALPN, AUTHORITY (the name asked for by SNI), SSL with the version, the cipher
// (IANA's name) and the common name of a verified client certificate. CRC32C is left out: the connections are TCP's or
// the kernel's own, which have sums or need none.
void write_proxy_header(ProxyVersion version, const Peer& client, const TlsFacts* tls, std::string& to);

}  // namespace dao::net

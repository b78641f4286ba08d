// Who the client is for the filters and the policy consistent-hash: the peer, or, if the peer is a trusted proxy, the
// last address in X-Forwarded-For that is not one of a trusted proxy itself. Addresses further left were told by
// somebody whom nobody trusts.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "dao/config/address_block.h"
#include "dao/http/head.h"
#include "dao/net/address.h"

namespace dao::flow {

struct ClientAddress {
  std::array<std::uint8_t, 16> bytes{};
  std::uint8_t length = 0;  // 4, 16, or 0 for the peer of a unix socket
  std::string_view text;    // without brackets and port; of the peer or of the request

  [[nodiscard]] std::span<const std::uint8_t> span() const { return {bytes.data(), length}; }
};

// The request as it was received: DAO's own X-Forwarded-For must not be in it yet.
ClientAddress client_address(const net::Peer& peer, const http::RequestHead& request,
                             const config::AddressSet& trusted);

// "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]" or "[2001:db8::1]:80". An IPv4 address within IPv6 is
// that IPv4 address. `text` of the result lies in `text`.
std::optional<ClientAddress> parse_client_address(std::string_view text);

// "http" or "https": how the client came, or, behind a trusted proxy, what X-Forwarded-Proto says.
std::string_view client_scheme(std::string_view of_connection, bool trusted, const http::RequestHead& request);

}  // namespace dao::flow

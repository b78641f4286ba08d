// Addresses as operators write them. No name resolution.
#pragma once

#include <string_view>

#include "dao/config/config.h"
#include "dao/config/problem.h"

namespace dao::config {

// Where DAO listens if the config does not say.
inline constexpr std::string_view kDefaultBind = "127.0.0.1:8080";
// Where the admin API is served if the config does not say, and where `daoctl` looks for it.
inline constexpr std::string_view kDefaultAdminBind = "127.0.0.1:9901";

// A listener: "127.0.0.1:80", "[::1]:80", "*:80", ":80", "unix:/path". Port 0 is allowed.
[[nodiscard]] Parsed<Address> parse_bind(std::string_view text);
// A DNS server: "192.0.2.53:53", "[2001:db8::53]:53", or without the port (53).
[[nodiscard]] Parsed<Address> parse_name_server(std::string_view text);
// A block of addresses: "10.0.0.0/8", "2001:db8::/32", "192.0.2.7".
[[nodiscard]] Parsed<AddressBlock> parse_address_block(std::string_view text);
// The path behind "unix:": "unix:/path" and "unix:///path" are the same.
[[nodiscard]] Parsed<std::string> parse_unix_path(std::string_view text);
// 0..65535, digits only.
[[nodiscard]] Parsed<std::uint16_t> parse_port(std::string_view text);

// Nobody on another machine can connect there.
[[nodiscard]] bool is_local(const Address& address);

// Both would listen in the same place. Port 0 never does: each gets its own port.
[[nodiscard]] bool same_listener(const Address& a, const Address& b);

}  // namespace dao::config

// Blocks of addresses, and sets of them. Plain values.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace dao::config {

// A block of addresses. An IPv4 block also contains the same addresses in their IPv4-mapped IPv6 form (::ffff:a.b.c.d);
// an IPv6 block never contains an IPv4 peer.
struct AddressBlock {
  bool v4 = true;
  std::array<std::uint8_t, 16> bytes{};  // network byte order; IPv4 uses the first four; bits beyond `prefix` are zero
  std::uint8_t prefix = 0;               // 0..32 or 0..128

  // `address`: 4 or 16 bytes in network byte order; any other length is contained in nothing.
  [[nodiscard]] bool contains(std::span<const std::uint8_t> address) const;
};

struct AddressSet {
  std::vector<AddressBlock> blocks;
  bool unix_sockets = false;  // "unix": every peer that came through a unix socket

  // `address`: as for AddressBlock; empty: the peer of a unix socket.
  [[nodiscard]] bool contain(std::span<const std::uint8_t> address) const;
  [[nodiscard]] bool empty() const { return blocks.empty() && !unix_sockets; }
};

}  // namespace dao::config

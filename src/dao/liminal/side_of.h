// Which side of a transition a client sees (docs/metamorphic.md). Each client has a point in [0, 2^32) that is random
// and stays the same for the whole transition; those below the threshold see the new configuration. The threshold only
// grows while the transition goes on, so whoever has seen the new side stays there; after a rollback it is 0.
//
// Pure functions: any thread, no allocation, a few nanoseconds (transition_bench.cpp).
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "dao/base/keyed_hash.h"

namespace dao::liminal {

enum class Side : std::uint8_t { old_config, new_config };
inline constexpr std::size_t kSides = 2;

using ClientPoint = std::uint32_t;
// One more than the largest point: with this threshold everybody sees the new side.
inline constexpr std::uint64_t kAllPoints = std::uint64_t{1} << 32;

// 0..1.
constexpr std::uint64_t threshold_of(double progress) {
  return static_cast<std::uint64_t>(std::clamp(progress, 0.0, 1.0) * static_cast<double>(kAllPoints));
}

constexpr Side side_of(ClientPoint point, std::uint64_t threshold) {
  return point < threshold ? Side::new_config : Side::old_config;
}

// `address`: 4 or 16 bytes in network order; of IPv6 the first `ipv6_prefix` bits (1..128) stand for one client. Empty
// (the peer of a unix socket): all such clients are one. `seed`: TransitionView::seed.
inline ClientPoint point_of_address(std::span<const std::uint8_t> address, unsigned ipv6_prefix, std::uint64_t seed) {
  std::uint64_t first = 0;
  std::uint64_t second = 0;
  if (address.size() == 16) {
    std::memcpy(&first, address.data(), sizeof first);
    std::memcpy(&second, address.data() + sizeof first, sizeof second);
    const auto mask = [](unsigned bits) { return bits >= 64 ? ~std::uint64_t{0} : ~(~std::uint64_t{0} >> bits); };
    const auto kept = [](std::uint64_t word, std::uint64_t of) {
      return std::endian::native == std::endian::little ? word & std::byteswap(of) : word & of;
    };
    first = kept(first, mask(ipv6_prefix));
    second = kept(second, ipv6_prefix <= 64 ? 0 : mask(ipv6_prefix - 64));
  } else if (!address.empty()) {
    std::memcpy(&first, address.data(), std::min(address.size(), sizeof first));
  }
  constexpr std::uint64_t kFirst = 0x9e3779b97f4a7c15U;
  constexpr std::uint64_t kSecond = 0xd6e8feb86659fd93U;
  const std::uint64_t state = mix(first ^ seed ^ kFirst, second ^ kSecond ^ address.size());
  return static_cast<ClientPoint>(mix(state ^ kFirst, seed ^ kSecond) >> 32U);
}

// The value of the header or cookie that `[liminal.metamorphic] key` names. A request without it goes by its address.
inline ClientPoint point_of_key(std::string_view value, std::uint64_t seed) {
  return static_cast<ClientPoint>(keyed_hash(value, seed) >> 32U);
}

// The same for a value that is hashed already (align::stable_hash, as for consistent-hash).
inline ClientPoint point_of_hash(std::uint64_t hash, std::uint64_t seed) {
  constexpr std::uint64_t kFirst = 0x9e3779b97f4a7c15U;
  return static_cast<ClientPoint>(mix(mix(hash ^ seed, kFirst), seed ^ kFirst) >> 32U);
}

// Clients are told apart by what they do in so many parts of equal size.
inline constexpr unsigned kCellBits = 10;
inline constexpr std::size_t kCells = std::size_t{1} << kCellBits;
constexpr std::uint16_t cell_of(ClientPoint point) {
  return static_cast<std::uint16_t>(point >> (32U - kCellBits));
}

}  // namespace dao::liminal

// Integers of HPACK (RFC 7541 section 5.1): in the lower bits of a byte, and in bytes after it when they do not fit.
// Any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

namespace dao::http::h2 {

// What write_hpack_integer writes at most.
inline constexpr std::size_t kHpackIntegerMost = 6;

// `flags` are the bits above the lower `prefix` ones. Returns the end.
inline char* write_hpack_integer(char* at, std::uint8_t flags, unsigned prefix, std::uint32_t value) {
  const std::uint32_t most = (1U << prefix) - 1;
  if (value < most) {
    *at++ = static_cast<char>(flags | value);
    return at;
  }
  *at++ = static_cast<char>(flags | most);
  for (value -= most; value >= 0x80; value >>= 7U) *at++ = static_cast<char>(0x80U | (value & 0x7fU));
  *at++ = static_cast<char>(value);
  return at;
}

// Reads an integer at `at`, which is before `end`. Returns where it ends; null when it has no end or is above 2^32 - 1,
// or when it has more bytes than any such number needs.
inline const char* read_hpack_integer(const char* at, const char* end, unsigned prefix, std::uint32_t& value) {
  const std::uint32_t most = (1U << prefix) - 1;
  value = static_cast<unsigned char>(*at++) & most;
  if (value < most) return at;
  std::uint64_t sum = most;
  for (unsigned shift = 0; shift < 32; shift += 7) {
    if (at == end) return nullptr;
    const auto byte = static_cast<unsigned char>(*at++);
    sum += std::uint64_t{byte & 0x7fU} << shift;
    if (sum > std::numeric_limits<std::uint32_t>::max()) return nullptr;
    if ((byte & 0x80U) == 0) {
      value = static_cast<std::uint32_t>(sum);
      return at;
    }
  }
  return nullptr;
}

}  // namespace dao::http::h2

// A hash that is the same in every process, on every machine and in every version: DAO nodes before the same upstreams
// agree on it. FNV-1a (64 bits), then the finisher of splitmix64, for FNV's high bits alone are not even. Not against
// somebody who looks for collisions.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace dao::align {

constexpr std::uint64_t mixed(std::uint64_t z) {
  z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
  z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
  return z ^ (z >> 31U);
}

constexpr std::uint64_t stable_hash(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3U;
  return mixed(hash);
}

constexpr std::uint64_t stable_hash(std::span<const std::uint8_t> bytes) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const std::uint8_t byte : bytes) hash = (hash ^ byte) * 0x100000001b3U;
  return mixed(hash);
}

}  // namespace dao::align

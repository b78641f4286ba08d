// A keyed hash for tables and shares, a few bytes at a time. Not for secrets beyond its key being unknown to those who
// choose the texts; not the same in every version, so nothing that is stored or that nodes agree on rests on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "dao/base/random.h"

namespace dao {

inline std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  const Uint128 product = static_cast<Uint128>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64U);
}

inline std::uint64_t keyed_hash(std::string_view text, std::uint64_t seed) {
  constexpr std::uint64_t kFirst = 0x9e3779b97f4a7c15U;
  constexpr std::uint64_t kSecond = 0xd6e8feb86659fd93U;
  std::uint64_t state = mix(seed ^ kFirst, text.size() ^ kSecond);
  while (!text.empty()) {
    std::uint64_t word = 0;
    const std::size_t count = text.size() < sizeof word ? text.size() : sizeof word;
    std::memcpy(&word, text.data(), count);
    state = mix(state ^ word, seed ^ kSecond);
    text.remove_prefix(count);
  }
  return mix(state ^ kFirst, kSecond);
}

}  // namespace dao

// The keyed hash of base, of texts and of bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "dao/base/keyed_hash.h"

namespace dao::flow {

inline std::uint64_t hash(std::string_view text, std::uint64_t seed) {
  return keyed_hash(text, seed);
}

inline std::uint64_t hash(std::span<const std::uint8_t> bytes, std::uint64_t seed) {
  return hash(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()), seed);
}

}  // namespace dao::flow

// Words read from and written to bytes at any address, in the order that the name says.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace dao::http::h2 {

inline std::uint64_t load_big_64(const char* at) {
  std::uint64_t word = 0;
  std::memcpy(&word, at, sizeof word);
  return std::endian::native == std::endian::big ? word : std::byteswap(word);
}

inline std::uint32_t load_big_32(const char* at) {
  std::uint32_t word = 0;
  std::memcpy(&word, at, sizeof word);
  return std::endian::native == std::endian::big ? word : std::byteswap(word);
}

inline std::uint64_t load_little_64(const char* at) {
  std::uint64_t word = 0;
  std::memcpy(&word, at, sizeof word);
  return std::endian::native == std::endian::little ? word : std::byteswap(word);
}

inline std::uint32_t load_little_32(const char* at) {
  std::uint32_t word = 0;
  std::memcpy(&word, at, sizeof word);
  return std::endian::native == std::endian::little ? word : std::byteswap(word);
}

inline void store_big_64(char* at, std::uint64_t word) {
  if constexpr (std::endian::native != std::endian::big) word = std::byteswap(word);
  std::memcpy(at, &word, sizeof word);
}

inline void store_little_64(char* at, std::uint64_t word) {
  if constexpr (std::endian::native != std::endian::little) word = std::byteswap(word);
  std::memcpy(at, &word, sizeof word);
}

// Whether `size` bytes are the same. Header text is short, and a call of memcmp costs more than the comparison.
inline bool same_bytes(const char* left, const char* right, std::size_t size) {
  if (size >= 8) {
    for (std::size_t at = 0; at + 8 < size; at += 8) {
      if (load_little_64(left + at) != load_little_64(right + at)) return false;
    }
    return load_little_64(left + size - 8) == load_little_64(right + size - 8);
  }
  if (size >= 4) {
    return load_little_32(left) == load_little_32(right) &&
           load_little_32(left + size - 4) == load_little_32(right + size - 4);
  }
  return size == 0 || (left[0] == right[0] && left[size / 2] == right[size / 2] && left[size - 1] == right[size - 1]);
}

}  // namespace dao::http::h2

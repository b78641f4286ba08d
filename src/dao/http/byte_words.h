// Words read from and written to bytes at any address, in the order that the name says, and text by the word.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace dao::http {

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

inline void store_big_32(char* at, std::uint32_t word) {
  if constexpr (std::endian::native != std::endian::big) word = std::byteswap(word);
  std::memcpy(at, &word, sizeof word);
}

inline void store_big_64(char* at, std::uint64_t word) {
  if constexpr (std::endian::native != std::endian::big) word = std::byteswap(word);
  std::memcpy(at, &word, sizeof word);
}

inline void store_little_64(char* at, std::uint64_t word) {
  if constexpr (std::endian::native != std::endian::little) word = std::byteswap(word);
  std::memcpy(at, &word, sizeof word);
}

// Eight characters at once, letters made lower-case (ASCII).
constexpr std::uint64_t lower_eight(std::uint64_t word) {
  constexpr std::uint64_t kOnes = 0x0101010101010101U;
  const std::uint64_t low_bits = word & (kOnes * 0x7f);
  const std::uint64_t from_a = low_bits + kOnes * (0x80 - 'A');       // bit 7: 'A' or above
  const std::uint64_t above_z = low_bits + kOnes * (0x80 - 'Z' - 1);  // bit 7: above 'Z'
  const std::uint64_t upper = (from_a ^ above_z) & ~word & (kOnes * 0x80);
  return word | upper >> 2U;
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

}  // namespace dao::http

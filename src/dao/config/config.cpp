#include "dao/config/config.h"

#include <algorithm>

namespace dao::config {

bool AddressBlock::contains(std::span<const std::uint8_t> address) const {
  static constexpr std::array<std::uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  const bool mapped = address.size() == 16 && std::ranges::equal(address.first(12), kMappedPrefix);
  if (mapped) address = address.subspan(12);
  if (address.size() != (v4 ? 4U : 16U)) return false;

  const std::size_t whole = prefix / 8U;
  if (!std::equal(address.begin(), address.begin() + static_cast<std::ptrdiff_t>(whole), bytes.begin())) return false;
  const unsigned rest = prefix % 8U;
  if (rest == 0) return true;
  const unsigned mask = 0xff00U >> rest & 0xffU;
  return (address[whole] & mask) == (bytes[whole] & mask);
}

bool AddressSet::contain(std::span<const std::uint8_t> address) const {
  if (address.empty()) return unix_sockets;
  return std::ranges::any_of(blocks, [address](const AddressBlock& block) { return block.contains(address); });
}

bool Url::same_place(const Url& other) const {
  return scheme == other.scheme && host == other.host && port == other.port && socket_path == other.socket_path &&
         base_path == other.base_path;
}

}  // namespace dao::config

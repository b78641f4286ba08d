#include "dao/flow/address_filter.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace dao::flow {

AddressRanges::AddressRanges(const config::AddressSet& set) : unix_sockets_(set.unix_sockets) {
  for (const config::AddressBlock& block : set.blocks) {
    Range range{block.bytes, block.bytes};
    const std::size_t bits = block.v4 ? 32 : 128;
    for (std::size_t bit = block.prefix; bit < bits; ++bit) {
      range.last[bit / 8] = static_cast<std::uint8_t>(range.last[bit / 8] | (0x80U >> bit % 8));
    }
    (block.v4 ? v4_ : v6_).push_back(range);
  }
  v4_ = merged(std::move(v4_));
  v6_ = merged(std::move(v6_));
}

std::vector<AddressRanges::Range> AddressRanges::merged(std::vector<Range> ranges) {
  std::ranges::sort(ranges, {}, &Range::first);
  std::vector<Range> apart;
  for (const Range& range : ranges) {
    if (!apart.empty() && range.first <= apart.back().last) {
      apart.back().last = std::max(apart.back().last, range.last);
    } else {
      apart.push_back(range);
    }
  }
  return apart;
}

bool AddressRanges::find(const std::vector<Range>& ranges, const Bytes& address) {
  const auto after = std::ranges::upper_bound(ranges, address, {}, &Range::first);
  return after != ranges.begin() && address <= std::prev(after)->last;
}

bool AddressRanges::contain(std::span<const std::uint8_t> address) const {
  if (address.empty()) return unix_sockets_;
  Bytes bytes{};
  std::ranges::copy(address, bytes.begin());
  return find(address.size() == 4 ? v4_ : v6_, bytes);
}

}  // namespace dao::flow

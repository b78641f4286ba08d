// Allow and deny by client address. Blocks become ranges without overlap, so a look-up takes the logarithm of their
// number. Immutable, any thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "dao/config/filters.h"

namespace dao::flow {

class AddressRanges {
 public:
  explicit AddressRanges(const config::AddressSet& set);

  // As config::AddressSet::contain.
  [[nodiscard]] bool contain(std::span<const std::uint8_t> address) const;
  [[nodiscard]] bool empty() const { return v4_.empty() && v6_.empty() && !unix_sockets_; }

 private:
  using Bytes = std::array<std::uint8_t, 16>;
  struct Range {
    Bytes first;
    Bytes last;
  };
  static std::vector<Range> merged(std::vector<Range> ranges);
  static bool find(const std::vector<Range>& ranges, const Bytes& address);

  std::vector<Range> v4_;
  std::vector<Range> v6_;
  bool unix_sockets_;
};

class AddressFilter {
 public:
  AddressFilter(const config::AddressSet& allow, const config::AddressSet& deny) : allow_(allow), deny_(deny) {}

  [[nodiscard]] bool admits(std::span<const std::uint8_t> client) const {
    return !deny_.contain(client) && (allow_.empty() || allow_.contain(client));
  }

 private:
  AddressRanges allow_;
  AddressRanges deny_;
};

}  // namespace dao::flow

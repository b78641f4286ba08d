// Numbers by host name, whatever the case of its ASCII letters. Filled once, then read by any thread. Nothing that is
// looked up changes it, and the hash is seeded, so neither who asks nor who chose the names can make it slow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace dao::server {

class HostMap {
 public:
  static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

  explicit HostMap(std::uint64_t seed) : seed_(seed) {}

  // The host's number: they are counted from 0 in the order in which they come first. `host` is in lower case.
  std::uint32_t add(std::string_view host);
  // kNone if it was never added. O(bytes of the longest known host); no allocation.
  [[nodiscard]] std::uint32_t find(std::string_view host) const;
  [[nodiscard]] std::size_t size() const { return names_.size(); }
  [[nodiscard]] bool empty() const { return names_.empty(); }

 private:
  struct Name {
    std::uint32_t at = 0;  // in text_
    std::uint32_t size = 0;
  };
  struct Slot {
    std::uint32_t tag = 0;  // bits of the hash that do not say where the slot is
    std::uint32_t number = kNone;
  };
  [[nodiscard]] std::uint64_t hash(std::string_view host) const;
  void put(std::uint64_t hash, std::uint32_t number);
  void grow();

  std::uint64_t seed_;
  std::vector<Slot> slots_;  // a power of two, at most half of them in use
  std::vector<Name> names_;
  std::size_t longest_ = 0;
  std::string text_;
};

}  // namespace dao::server

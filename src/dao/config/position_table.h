// Positions by path, "routes.rule[0].upstreams[1].url": hundreds of thousands in a large file, few of which are ever
// asked for. So what is kept of a path is a hash of 64 bits; that two of them meet is not to be expected, and would put
// a wrong line into a message, no more. One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "dao/config/document.h"

namespace dao::config {

class PositionTable {
 public:
  struct Entry {
    std::uint64_t hash = 0;  // 0: free
    Position second;         // as a map would have it
  };

  // For so many paths without growing.
  void reserve(std::size_t paths) {
    std::size_t slots = 16;
    while (slots < 2 * paths) slots *= 2;
    if (slots > entries_.size()) move_to(slots);
  }
  Position& operator[](std::string_view path) {
    if (2 * (used_ + 1) > entries_.size()) move_to(entries_.empty() ? 16 : 2 * entries_.size());
    Entry& entry = entries_[slot_of(hash_of(path))];
    if (entry.hash == 0) {
      entry.hash = hash_of(path);
      ++used_;
    }
    return entry.second;
  }
  // end() if there is none.
  [[nodiscard]] const Entry* find(std::string_view path) const {
    if (entries_.empty()) return end();
    const Entry& entry = entries_[slot_of(hash_of(path))];
    return entry.hash == 0 ? end() : &entry;
  }
  [[nodiscard]] static const Entry* end() { return nullptr; }
  [[nodiscard]] bool contains(std::string_view path) const { return find(path) != end(); }
  [[nodiscard]] std::size_t size() const { return used_; }

 private:
  static std::uint64_t hash_of(std::string_view path) {
    const std::uint64_t hash = std::hash<std::string_view>{}(path);
    return hash == 0 ? 1 : hash;
  }
  [[nodiscard]] std::size_t slot_of(std::uint64_t hash) const {
    std::size_t slot = hash & (entries_.size() - 1);
    while (entries_[slot].hash != 0 && entries_[slot].hash != hash) slot = (slot + 1) & (entries_.size() - 1);
    return slot;
  }
  void move_to(std::size_t slots) {
    const std::vector<Entry> before = std::exchange(entries_, std::vector<Entry>(slots));
    for (const Entry& entry : before) {
      if (entry.hash != 0) entries_[slot_of(entry.hash)] = entry;
    }
  }

  std::vector<Entry> entries_;  // a power of two, at most half of them in use
  std::size_t used_ = 0;
};

}  // namespace dao::config

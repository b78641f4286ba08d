// Changes of a store, the newest of each thing only: what waits to be written, what is being written, and all that the
// store in memory has. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "dao/memory/store.h"

namespace dao::memory {

class Changes {
 public:
  struct Value {
    std::string bytes;
    WallTime at{};
  };

  void add(Snapshot snapshot);
  // Of one that is not here it is kept by itself.
  void set_outcome(std::uint64_t number, std::string outcome);
  void put(StateEntry entry);
  void erase(std::string key);
  // As if nothing had ever been said of it.
  void forget(const std::string& key);

  // What came before these: it counts where these say nothing.
  void put_before(Changes older);

  // Drops the oldest snapshots, until there are at most `most` of at most `most_bytes` together, and the newest that
  // was applied in any case; how many were dropped.
  std::size_t drop_oldest(std::size_t most, std::size_t most_bytes);

  // The snapshots without their texts, and the outcomes; no state.
  [[nodiscard]] Changes heads() const;

  [[nodiscard]] const std::map<std::uint64_t, Snapshot>& snapshots() const { return snapshots_; }
  [[nodiscard]] const std::map<std::uint64_t, std::string>& outcomes() const { return outcomes_; }
  // Without a value: erased.
  [[nodiscard]] const std::unordered_map<std::string, std::optional<Value>>& state() const { return state_; }
  [[nodiscard]] std::size_t size() const { return snapshots_.size() + outcomes_.size() + state_.size(); }
  [[nodiscard]] bool empty() const { return size() == 0; }
  [[nodiscard]] std::size_t bytes() const { return snapshot_bytes_ + state_bytes_; }  // about
  [[nodiscard]] bool has_snapshots() const { return !snapshots_.empty() || !outcomes_.empty(); }

 private:
  static std::size_t bytes_of(const Snapshot& snapshot);
  static std::size_t bytes_of(const std::string& key, const std::optional<Value>& value);
  void set(std::string key, std::optional<Value> value);

  std::map<std::uint64_t, Snapshot> snapshots_;
  std::map<std::uint64_t, std::string> outcomes_;
  std::unordered_map<std::string, std::optional<Value>> state_;
  std::size_t snapshot_bytes_ = 0;
  std::size_t state_bytes_ = 0;
};

}  // namespace dao::memory

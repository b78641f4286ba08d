// The store that keeps nothing beyond the process: used when the operator wants no other, or none can be written.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>

#include "dao/memory/changes.h"
#include "dao/memory/store.h"

namespace dao::memory {

class MemoryStore final : public Store {
 public:
  // Of the texts of snapshots; beyond, the oldest are dropped, however few there are.
  static constexpr std::size_t kMostBytes = std::size_t{64} << 20U;

  // `snapshots`: how many are kept. `why`: see StoreStatus::why_in_memory.
  explicit MemoryStore(std::size_t snapshots, std::string why = {});

  std::uint64_t add_snapshot(Snapshot snapshot) override;
  void set_outcome(std::uint64_t number, std::string outcome) override;
  Read<std::vector<Snapshot>> snapshots(std::size_t limit) override;
  Read<std::optional<Snapshot>> snapshot(std::uint64_t number) override;
  void put(std::vector<StateEntry> entries) override;
  void erase(std::vector<std::string> keys) override;
  Read<std::optional<StateEntry>> get(std::string_view key) override;
  Read<std::vector<StateEntry>> list(std::string_view prefix) override;
  Kept flush(Milliseconds) override { return Kept::in_memory; }
  [[nodiscard]] StoreStatus status() const override;

 private:
  const std::size_t most_;
  const std::string why_;
  mutable std::mutex mutex_;
  std::uint64_t last_number_ = 0;
  Changes all_;
};

}  // namespace dao::memory

#include "dao/memory/memory_store.h"

#include <utility>

#include "dao/memory/overlay.h"

namespace dao::memory {

MemoryStore::MemoryStore(std::size_t snapshots, std::string why) : most_(snapshots), why_(std::move(why)) {}

std::uint64_t MemoryStore::add_snapshot(Snapshot snapshot) {
  const std::lock_guard lock(mutex_);
  snapshot.number = ++last_number_;
  snapshot.applied_at = to_milliseconds(snapshot.applied_at);
  all_.add(std::move(snapshot));
  all_.drop_oldest(most_, kMostBytes);
  return last_number_;
}

void MemoryStore::set_outcome(std::uint64_t number, std::string outcome) {
  const std::lock_guard lock(mutex_);
  if (all_.snapshots().contains(number)) all_.set_outcome(number, std::move(outcome));
}

Read<std::vector<Snapshot>> MemoryStore::snapshots(std::size_t limit) {
  const std::lock_guard lock(mutex_);
  return laid_over({}, {&all_}, limit);
}

Read<std::optional<Snapshot>> MemoryStore::snapshot(std::uint64_t number) {
  const std::lock_guard lock(mutex_);
  const auto found = all_.snapshots().find(number);
  return found == all_.snapshots().end() ? std::nullopt : std::optional(found->second);
}

void MemoryStore::put(std::vector<StateEntry> entries) {
  const std::lock_guard lock(mutex_);
  for (StateEntry& entry : entries) {
    entry.at = to_milliseconds(entry.at);
    all_.put(std::move(entry));
  }
}

void MemoryStore::erase(std::vector<std::string> keys) {
  const std::lock_guard lock(mutex_);
  for (const std::string& key : keys) all_.forget(key);
}

Read<std::optional<StateEntry>> MemoryStore::get(std::string_view key) {
  const std::lock_guard lock(mutex_);
  return entry_of(all_, std::string(key)).value_or(std::nullopt);
}

Read<std::vector<StateEntry>> MemoryStore::list(std::string_view prefix) {
  const std::lock_guard lock(mutex_);
  return laid_over({}, state_of(all_, prefix));
}

StoreStatus MemoryStore::status() const {
  StoreStatus status;
  status.kind = "memory";
  status.why_in_memory = why_;
  return status;
}

}  // namespace dao::memory

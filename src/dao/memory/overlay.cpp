#include "dao/memory/overlay.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace dao::memory {

std::optional<std::optional<StateEntry>> entry_of(const Changes& changes, const std::string& key) {
  const auto found = changes.state().find(key);
  if (found == changes.state().end()) return std::nullopt;
  if (!found->second) return std::optional<StateEntry>{};
  return StateEntry{.key = key, .value = found->second->bytes, .at = found->second->at};
}

StateChanges state_of(const Changes& changes, std::string_view prefix) {
  StateChanges found;
  for (const auto& [key, value] : changes.state()) {
    if (key.starts_with(prefix)) found.emplace(key, value);
  }
  return found;
}

std::vector<StateEntry> laid_over(std::vector<StateEntry> stored, StateChanges changes) {
  if (changes.empty()) return stored;
  std::vector<StateEntry> all;
  all.reserve(stored.size() + changes.size());
  auto change = changes.begin();
  const auto take_changes_before = [&](const StateEntry* entry) {
    for (; change != changes.end() && (entry == nullptr || change->first < entry->key); ++change) {
      if (change->second) all.push_back({change->first, std::move(change->second->bytes), change->second->at});
    }
  };
  for (StateEntry& entry : stored) {
    take_changes_before(&entry);
    if (!changes.contains(entry.key)) all.push_back(std::move(entry));
  }
  take_changes_before(nullptr);
  return all;
}

std::vector<Snapshot> laid_over(std::vector<Snapshot> stored, std::initializer_list<const Changes*> changes,
                                std::size_t limit) {
  std::map<std::uint64_t, Snapshot, std::greater<>> all;
  for (Snapshot& snapshot : stored) all.emplace(snapshot.number, std::move(snapshot));
  for (const Changes* some : changes) {
    for (const auto& [number, snapshot] : some->snapshots()) {
      all.insert_or_assign(number, without_text(snapshot));
    }
    for (const auto& [number, outcome] : some->outcomes()) {
      if (const auto found = all.find(number); found != all.end()) found->second.outcome = outcome;
    }
  }
  std::vector<Snapshot> newest;
  for (auto& [number, snapshot] : all) {
    if (newest.size() == limit) break;
    newest.push_back(std::move(snapshot));
  }
  return newest;
}

}  // namespace dao::memory

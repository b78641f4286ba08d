#include "dao/memory/changes.h"

#include <algorithm>
#include <utility>

namespace dao::memory {
namespace {

constexpr std::size_t kEntryBytes = 96;  // of a node of the map, about

}  // namespace

std::size_t Changes::bytes_of(const Snapshot& snapshot) {
  return sizeof(Snapshot) + snapshot.author.size() + snapshot.reason.size() + snapshot.outcome.size() +
         snapshot.source.size() + snapshot.text.size() + snapshot.changes.size();
}

std::size_t Changes::bytes_of(const std::string& key, const std::optional<Value>& value) {
  return kEntryBytes + key.size() + (value ? value->bytes.size() : 0);
}

void Changes::add(Snapshot snapshot) {
  snapshot_bytes_ += bytes_of(snapshot);
  const std::uint64_t number = snapshot.number;
  snapshots_.insert_or_assign(number, std::move(snapshot));
}

void Changes::set_outcome(std::uint64_t number, std::string outcome) {
  if (const auto found = snapshots_.find(number); found != snapshots_.end()) {
    snapshot_bytes_ += outcome.size();
    snapshot_bytes_ -= found->second.outcome.size();
    found->second.outcome = std::move(outcome);
  } else {
    outcomes_.insert_or_assign(number, std::move(outcome));
  }
}

void Changes::put(StateEntry entry) {
  set(std::move(entry.key), Value{.bytes = std::move(entry.value), .at = entry.at});
}

void Changes::erase(std::string key) {
  set(std::move(key), std::nullopt);
}

void Changes::forget(const std::string& key) {
  const auto found = state_.find(key);
  if (found == state_.end()) return;
  state_bytes_ -= bytes_of(found->first, found->second);
  state_.erase(found);
}

void Changes::set(std::string key, std::optional<Value> value) {
  const auto [entry, added] = state_.try_emplace(std::move(key));
  if (!added) state_bytes_ -= bytes_of(entry->first, entry->second);
  entry->second = std::move(value);
  state_bytes_ += bytes_of(entry->first, entry->second);
}

void Changes::put_before(Changes older) {
  for (auto& [number, snapshot] : older.snapshots_) {
    if (snapshots_.contains(number)) continue;
    if (const auto newer = outcomes_.find(number); newer != outcomes_.end()) {
      snapshot.outcome = std::move(newer->second);
      outcomes_.erase(newer);
    }
    add(std::move(snapshot));
  }
  for (auto& [number, outcome] : older.outcomes_) {
    if (!snapshots_.contains(number)) outcomes_.try_emplace(number, std::move(outcome));
  }
  state_.merge(std::move(older.state_));
  state_bytes_ = 0;
  for (const auto& [key, value] : state_) state_bytes_ += bytes_of(key, value);
}

Changes Changes::heads() const {
  Changes heads;
  for (const auto& [number, snapshot] : snapshots_) heads.add(without_text(snapshot));
  heads.outcomes_ = outcomes_;
  return heads;
}

std::size_t Changes::drop_oldest(std::size_t most, std::size_t most_bytes) {
  if (snapshots_.size() <= most && snapshot_bytes_ <= most_bytes) return 0;
  const auto applied = std::find_if(snapshots_.rbegin(), snapshots_.rend(),
                                    [](const auto& one) { return one.second.outcome == kApplied; });
  const std::uint64_t running = applied == snapshots_.rend() ? 0 : applied->first;
  std::size_t dropped = 0;
  std::size_t spared = 0;
  for (auto one = snapshots_.begin(); one != snapshots_.end() && std::next(one) != snapshots_.end();) {
    if (snapshots_.size() <= most + spared && snapshot_bytes_ <= most_bytes) break;
    if (one->first == running) {
      ++one;
      spared = 1;
      continue;
    }
    snapshot_bytes_ -= bytes_of(one->second);
    one = snapshots_.erase(one);
    ++dropped;
  }
  return dropped;
}

}  // namespace dao::memory

// What a reader sees: what is in the database, and over it what is not there yet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dao/memory/changes.h"
#include "dao/memory/store.h"

namespace dao::memory {

// What a store keeps of a time.
inline WallTime to_milliseconds(WallTime time) {
  return std::chrono::floor<Milliseconds>(time);
}

// An entry, or nothing if the key was erased; no answer if these changes say nothing of it.
std::optional<std::optional<StateEntry>> entry_of(const Changes& changes, const std::string& key);

// What changes say of the keys that begin with `prefix`; no value: erased.
using StateChanges = std::map<std::string, std::optional<Changes::Value>, std::less<>>;
StateChanges state_of(const Changes& changes, std::string_view prefix);

// `stored` is in order of the keys; so is the result.
std::vector<StateEntry> laid_over(std::vector<StateEntry> stored, StateChanges changes);

// `stored`: the newest first, so is the result, without texts; `changes`: the oldest first.
std::vector<Snapshot> laid_over(std::vector<Snapshot> stored, std::initializer_list<const Changes*> changes,
                                std::size_t limit);

}  // namespace dao::memory

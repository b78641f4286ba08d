// What DAO remembers beyond its own life: snapshots of the configurations that it applied, and learned state as keys
// and values. docs/memory.md says what is kept where, and what survives what.
//
// Threads: any, for everything; a store is made and destroyed by one owner while nobody else uses it. What changes
// something (add_snapshot, set_outcome, put, erase) takes a short mutex and some memory, never the disk: a thread of
// the store writes. What reads (snapshots, snapshot, get, list) and flush() may wait for the disk, so they are not for
// workers. Whoever reads sees what was changed before, written or not.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dao/base/clock.h"

namespace dao::memory {

// Outcomes that mean something to a store: it never drops the newest snapshot that was applied.
inline constexpr std::string_view kRunning = "running";  // begun, not decided yet
inline constexpr std::string_view kApplied = "applied";

// One configuration that was applied, or of which that was tried.
struct Snapshot {
  std::uint64_t number = 0;  // from 1, goes up in the order of add_snapshot(); the order, since clocks may be set back
  WallTime applied_at{};     // milliseconds are kept
  std::string author{};      // "file", "SIGHUP", "api: NAME", "start", "rollback", "metamorphic"
  std::string reason{};
  std::string outcome{};  // kRunning, kApplied, "rolled back: ...", "aborted: ..."
  std::string source{};   // the path of the file
  std::string text{};     // the whole configuration
  std::string changes{};  // what differs from the one before: a JSON array, or empty; opaque here

  friend bool operator==(const Snapshot&, const Snapshot&) = default;
};

// One piece of learned state. Keys are printable text with prefixes ("upstream/..."); values are bytes.
struct StateEntry {
  std::string key;
  std::string value;
  WallTime at{};  // when it was true; milliseconds are kept

  friend bool operator==(const StateEntry&, const StateEntry&) = default;
};

// How old something is that was true at `at`. A time that is still to come (the clock was set back) is now.
inline Nanoseconds age_of(WallTime at, WallTime now) {
  return std::max(Nanoseconds::zero(), now - at);
}

[[nodiscard]] inline Snapshot without_text(const Snapshot& snapshot) {
  return {.number = snapshot.number,
          .applied_at = snapshot.applied_at,
          .author = snapshot.author,
          .reason = snapshot.reason,
          .outcome = snapshot.outcome,
          .source = snapshot.source,
          .text = {},
          .changes = snapshot.changes};
}

// The error is a sentence for the operator.
template <class T>
using Read = std::expected<T, std::string>;

// What flush() came to.
enum class Kept : std::uint8_t {
  on_disk,    // it survives the end of this process; of snapshots and outcomes also that of the machine
  in_memory,  // this store keeps nothing beyond the process
  not_yet,    // the disk was too slow, or refused; it is tried again
};

struct StoreStatus {
  std::string_view kind;      // "sqlite", "memory"
  std::string path;           // empty: none
  std::string why_in_memory;  // kind "memory": why nothing is kept; empty: because the operator wants it so
  bool healthy = true;        // false: the last try to write failed
  std::string last_error;     // the last one there was; empty: none
  WallTime last_error_at{};   // the epoch: none
  WallTime last_flush{};      // the last successful write; the epoch: none yet
  std::size_t pending = 0;    // changes that wait to be written
  std::size_t pending_bytes = 0;
  std::uint64_t written = 0;     // changes that were
  std::uint64_t flushes = 0;     // in so many transactions
  std::uint64_t failures = 0;    // tries to write that failed
  std::uint64_t lost = 0;        // changes that were given up for want of memory, or gone with a damaged store
  std::uint64_t begun_anew = 0;  // how often the store was found damaged, or gone, and an empty one begun
  int schema_version = 0;
};

class Store {
 public:
  virtual ~Store() = default;

  // `snapshot.number` is not looked at; the number it gets is the result. It is the highest there was in this store,
  // also over restarts and crashes, and one. The writer is woken at once; to know that it is on disk: flush().
  virtual std::uint64_t add_snapshot(Snapshot snapshot) = 0;
  // Of one that was dropped, or never was: nothing happens. Written at once, as a snapshot is.
  virtual void set_outcome(std::uint64_t number, std::string outcome) = 0;
  // The newest first, at most `limit`, without their `text`.
  [[nodiscard]] virtual Read<std::vector<Snapshot>> snapshots(std::size_t limit) = 0;
  [[nodiscard]] virtual Read<std::optional<Snapshot>> snapshot(std::uint64_t number) = 0;

  // Each replaces what its key had. Written together, within the flush interval.
  virtual void put(std::vector<StateEntry> entries) = 0;
  virtual void erase(std::vector<std::string> keys) = 0;
  [[nodiscard]] virtual Read<std::optional<StateEntry>> get(std::string_view key) = 0;
  // All whose key begins with `prefix`, in order of their keys.
  [[nodiscard]] virtual Read<std::vector<StateEntry>> list(std::string_view prefix) = 0;

  // Writes what was changed before this call, now, and waits for it, at most `patience`; after a failed try no longer.
  virtual Kept flush(Milliseconds patience) = 0;
  [[nodiscard]] virtual StoreStatus status() const = 0;
};

// The newest snapshot that was applied: the configuration that runs, or ran last.
[[nodiscard]] Read<std::optional<Snapshot>> last_applied(Store& store);

}  // namespace dao::memory

// The store in an SQLite database: PATH, beside it SQLite's PATH-wal and PATH-shm, and PATH.lock (store_lock.h).
//
// One thread writes: what has changed in a flush interval goes in one transaction, snapshots at once. When that fails
// (a full disk, a file system that became read-only) the changes stay in memory, the newest of each, and are tried
// again, after ever longer waits up to a minute. A database that is damaged is moved aside (PATH.corrupt-TIME) and one
// that was removed or replaced is opened anew; what this process still knows of snapshots is written into it again.
// Each is said once in the log.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "dao/base/clock.h"
#include "dao/memory/changes.h"
#include "dao/memory/sqlite_connection.h"
#include "dao/memory/sqlite_reader.h"
#include "dao/memory/sqlite_writer.h"
#include "dao/memory/store.h"
#include "dao/memory/store_lock.h"

namespace dao::memory {

struct SqliteSettings {
  std::string path;
  Milliseconds flush_interval{1000};
  std::size_t snapshots = 100;
  // This process replaces one that has the store open and is about to end: both write for a while.
  bool beside_predecessor = false;
};

class SqliteStore final : public Store {
 public:
  // Of changes that cannot be written. Beyond, keys that are not among them are given up, and the oldest snapshots.
  static constexpr std::size_t kMostPendingBytes = std::size_t{64} << 20U;

  // Opens, checks and, if it must be, makes the database and its directory: reads all of the file, on the thread of the
  // caller. A database of DAO that cannot be opened for now (a full disk) is tried again whenever there is something to
  // write; until then, reading it is an error. `clock` outlives the store. The error is a sentence.
  static std::expected<std::unique_ptr<SqliteStore>, std::string> open(const SqliteSettings& settings,
                                                                       const Clock& clock);
  // Tries once more to write what is pending.
  ~SqliteStore() override;
  SqliteStore(const SqliteStore&) = delete;
  SqliteStore& operator=(const SqliteStore&) = delete;

  std::uint64_t add_snapshot(Snapshot snapshot) override;
  void set_outcome(std::uint64_t number, std::string outcome) override;
  Read<std::vector<Snapshot>> snapshots(std::size_t limit) override;
  Read<std::optional<Snapshot>> snapshot(std::uint64_t number) override;
  void put(std::vector<StateEntry> entries) override;
  void erase(std::vector<std::string> keys) override;
  Read<std::optional<StateEntry>> get(std::string_view key) override;
  Read<std::vector<StateEntry>> list(std::string_view prefix) override;
  Kept flush(Milliseconds patience) override;
  [[nodiscard]] StoreStatus status() const override;

 private:
  using SteadyTime = std::chrono::steady_clock::time_point;

  SqliteStore(SqliteSettings settings, const Clock& clock, StoreLock lock);
  void run();
  [[nodiscard]] bool must_write(SteadyTime now) const;
  [[nodiscard]] SteadyTime next_look(SteadyTime now) const;
  void write_pending(std::unique_lock<std::mutex>& lock);
  SqliteResult<> write_to_disk(const Changes& changes);
  SqliteResult<> reopen();
  void close_files();
  void failed(const SqliteError& error);
  void succeeded(std::size_t changes);
  void begun_anew();
  void begin_interval();
  void wake_for_snapshot(bool was_empty);
  template <class Ask>
  auto read(Ask ask) -> Read<typename decltype(ask(std::declval<SqliteReader&>()))::value_type>;

  const SqliteSettings settings_;
  const Clock& clock_;
  std::optional<SqliteWriter> writer_;  // the thread's, as are the next two; none: to be opened again
  int failed_in_a_row_ = 0;
  bool replaced_ = false;  // somebody else has put another database, or none, in its place

  std::mutex reader_mutex_;  // taken before mutex_, never after it
  std::optional<SqliteReader> reader_;

  mutable std::mutex mutex_;  // of all below
  std::condition_variable wake_;
  std::condition_variable answer_;
  StoreLock lock_;
  std::uint64_t highest_number_ = 0;
  Changes pending_;
  Changes writing_;                  // the thread reads it without the mutex
  std::optional<Snapshot> newest_;   // that this process added
  std::optional<Snapshot> applied_;  // of these, the newest that was applied
  StoreStatus status_;
  bool urgent_ = false;
  bool end_ = false;
  std::uint64_t asked_ = 0;     // flushes
  std::uint64_t answered_ = 0;  // of these, those that were tried
  std::uint64_t kept_ = 0;      // of these, the last that went well
  SteadyTime due_{};            // what is pending is written then
  SteadyTime::duration last_write_{};
  SteadyTime not_before_{};  // after a failure
  Milliseconds backoff_{};
  std::thread thread_;
};

}  // namespace dao::memory

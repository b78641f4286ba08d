// Reading a store's database, over a connection of its own: a reader does not wait for the writer, nor the writer for
// it. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dao/memory/sqlite_connection.h"
#include "dao/memory/store.h"

namespace dao::memory {

class SqliteReader {
 public:
  // The database is there and has its tables.
  static SqliteResult<SqliteReader> open(const std::string& path);

  // As in Store.
  SqliteResult<std::vector<Snapshot>> snapshots(std::size_t limit);
  SqliteResult<std::optional<Snapshot>> snapshot(std::uint64_t number);
  SqliteResult<std::optional<StateEntry>> get(std::string_view key);
  SqliteResult<std::vector<StateEntry>> list(std::string_view prefix);

 private:
  explicit SqliteReader(SqliteConnection connection) : connection_(std::move(connection)) {}
  SqliteConnection connection_;
};

}  // namespace dao::memory

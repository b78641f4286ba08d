// Writing a store's database: each Changes in one transaction. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "dao/memory/changes.h"
#include "dao/memory/sqlite_connection.h"

namespace dao::memory {

class SqliteWriter {
 public:
  // Makes the database if it is not there, brings an older one up to date, and makes sure that this one is a store of
  // DAO, is not damaged (PRAGMA quick_check reads all of it) and can be written.
  static SqliteResult<SqliteWriter> open(const std::string& path);

  SqliteWriter(SqliteWriter&& other) noexcept;
  SqliteWriter& operator=(SqliteWriter&&) = delete;
  SqliteWriter(const SqliteWriter&) = delete;
  SqliteWriter& operator=(const SqliteWriter&) = delete;
  ~SqliteWriter();

  // All or nothing, and the same again does no harm. Afterwards the newest `keep` snapshots are there, and the newest
  // that was applied.
  SqliteResult<> write(const Changes& changes, std::size_t keep);

  // Of the snapshots; 0: there is none.
  SqliteResult<std::int64_t> highest_number();

  // The files are no longer those that were opened: somebody removed, replaced or cut them. Looked at before each
  // write, since the process would not survive the touch of a mapped file that was cut.
  [[nodiscard]] bool files_were_changed();

 private:
  struct Statements;
  struct Files;

  SqliteWriter(std::string path, SqliteConnection connection);
  SqliteResult<> prepare();
  SqliteResult<> begin(const Changes& changes);
  SqliteResult<> write_all(const Changes& changes, std::size_t keep);
  SqliteResult<> write_snapshot(const Snapshot& snapshot);
  SqliteResult<std::int64_t> text_id(const std::string& text);

  std::string path_;
  SqliteConnection connection_;
  std::unique_ptr<Statements> statements_;  // gone before the connection
  std::unique_ptr<Files> files_;
};

}  // namespace dao::memory

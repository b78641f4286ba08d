// SQLite with errors as values. Each object: one thread at a time.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>

#include "dao/base/clock.h"

namespace dao::memory {

struct SqliteError {
  int code = SQLITE_OK;  // extended
  std::string text;      // for the operator

  [[nodiscard]] int primary() const { return code & 0xff; }
  // The file is not, or no longer, what SQLite wrote.
  [[nodiscard]] bool damaged() const { return primary() == SQLITE_CORRUPT || primary() == SQLITE_NOTADB; }
  // Nothing is wrong with the files that are open: the same may go well later.
  [[nodiscard]] bool passing() const {
    return primary() == SQLITE_BUSY || primary() == SQLITE_FULL || code == SQLITE_IOERR_WRITE;
  }
};

template <class T = void>
using SqliteResult = std::expected<T, SqliteError>;

class SqliteConnection;

// One prepared statement, used again and again: bind, step until no row is left, reset. What is bound, and the texts of
// a row, are views: they live until the next step or reset.
class SqliteStatement {
 public:
  void bind(int index, std::int64_t value);  // from 1
  void bind(int index, std::string_view text);
  void bind_bytes(int index, std::string_view bytes);
  // Whether there is a row. Without one, or with an error, the statement is reset.
  SqliteResult<bool> step();
  // For what gives no rows.
  SqliteResult<> run();
  void reset() { sqlite3_reset(statement_.get()); }

  [[nodiscard]] std::int64_t integer(int column) const;  // from 0
  [[nodiscard]] std::string_view bytes(int column) const;

 private:
  friend class SqliteConnection;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  explicit SqliteStatement(sqlite3_stmt* statement) : statement_(statement) {}
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

// Statements must be gone before their connection.
class SqliteConnection {
 public:
  enum class Use : std::uint8_t { read, write };  // write: the file is made if it is not there

  static SqliteResult<SqliteConnection> open(const std::string& path, Use use, Milliseconds busy_timeout);

  SqliteResult<> run(const std::string& sql);                  // one or several statements
  SqliteResult<std::int64_t> integer(const std::string& sql);  // the first column of the first row
  SqliteResult<std::string> text(const std::string& sql);
  SqliteResult<SqliteStatement> prepare(std::string_view sql);

  [[nodiscard]] bool read_only() const { return sqlite3_db_readonly(database_.get(), "main") == 1; }
  [[nodiscard]] bool in_transaction() const { return sqlite3_get_autocommit(database_.get()) == 0; }

 private:
  struct Close {
    void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
  };
  explicit SqliteConnection(sqlite3* database) : database_(database) {}
  [[nodiscard]] SqliteError error() const;
  std::unique_ptr<sqlite3, Close> database_;
};

[[nodiscard]] SqliteError sqlite_error(sqlite3* database);

}  // namespace dao::memory

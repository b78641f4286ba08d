#include "dao/memory/sqlite_connection.h"

#include <fmt/format.h>

#include <cstddef>
#include <cstring>
#include <utility>

namespace dao::memory {

SqliteError sqlite_error(sqlite3* database) {
  const int code = database == nullptr ? SQLITE_NOMEM : sqlite3_extended_errcode(database);
  std::string text = database == nullptr ? "out of memory" : sqlite3_errmsg(database);
  const int system = database == nullptr ? 0 : sqlite3_system_errno(database);
  const int kind = code & 0xff;
  // The system's number is that of the last failed call, so it belongs to the error only if the error is one of these.
  if (system != 0 && (kind == SQLITE_IOERR || kind == SQLITE_FULL || kind == SQLITE_CANTOPEN)) {
    text += fmt::format(" ({})", std::strerror(system));  // NOLINT(concurrency-mt-unsafe): glibc's is
  }
  return {.code = code, .text = std::move(text)};
}

void SqliteStatement::bind(int index, std::int64_t value) {
  sqlite3_bind_int64(statement_.get(), index, value);
}

void SqliteStatement::bind(int index, std::string_view text) {
  sqlite3_bind_text64(statement_.get(), index, text.data() == nullptr ? "" : text.data(), text.size(), SQLITE_STATIC,
                      SQLITE_UTF8);
}

void SqliteStatement::bind_bytes(int index, std::string_view bytes) {
  sqlite3_bind_blob64(statement_.get(), index, bytes.data() == nullptr ? "" : bytes.data(), bytes.size(),
                      SQLITE_STATIC);
}

SqliteResult<bool> SqliteStatement::step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) {
    reset();
    return false;
  }
  SqliteError error = sqlite_error(sqlite3_db_handle(statement_.get()));
  reset();
  return std::unexpected(std::move(error));
}

SqliteResult<> SqliteStatement::run() {
  auto row = step();
  if (!row) return std::unexpected(std::move(row.error()));
  reset();
  return {};
}

std::int64_t SqliteStatement::integer(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

std::string_view SqliteStatement::bytes(int column) const {
  const void* data = sqlite3_column_blob(statement_.get(), column);
  const int size = sqlite3_column_bytes(statement_.get(), column);
  return data == nullptr ? std::string_view{}
                         : std::string_view{static_cast<const char*>(data), static_cast<std::size_t>(size)};
}

SqliteError SqliteConnection::error() const {
  return sqlite_error(database_.get());
}

SqliteResult<SqliteConnection> SqliteConnection::open(const std::string& path, Use use, Milliseconds busy_timeout) {
  const int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_READWRITE |
                    (use == Use::write ? SQLITE_OPEN_CREATE : 0);
  sqlite3* database = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &database, flags, nullptr);
  SqliteConnection connection(database);
  if (code != SQLITE_OK) return std::unexpected(connection.error());
  sqlite3_busy_timeout(database, static_cast<int>(busy_timeout.count()));
  return connection;
}

SqliteResult<> SqliteConnection::run(const std::string& sql) {
  if (sqlite3_exec(database_.get(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
    return std::unexpected(error());
  }
  return {};
}

SqliteResult<std::int64_t> SqliteConnection::integer(const std::string& sql) {
  auto statement = prepare(sql);
  if (!statement) return std::unexpected(std::move(statement.error()));
  auto row = statement->step();
  if (!row) return std::unexpected(std::move(row.error()));
  return *row ? statement->integer(0) : 0;
}

SqliteResult<std::string> SqliteConnection::text(const std::string& sql) {
  auto statement = prepare(sql);
  if (!statement) return std::unexpected(std::move(statement.error()));
  auto row = statement->step();
  if (!row) return std::unexpected(std::move(row.error()));
  return *row ? std::string(statement->bytes(0)) : std::string{};
}

SqliteResult<SqliteStatement> SqliteConnection::prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v3(database_.get(), sql.data(), static_cast<int>(sql.size()), 0, &statement, nullptr) !=
      SQLITE_OK) {
    return std::unexpected(error());
  }
  return SqliteStatement(statement);
}

}  // namespace dao::memory

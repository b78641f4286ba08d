#include "dao/memory/sqlite_reader.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace dao::memory {
namespace {

constexpr Milliseconds kReaderBusyTimeout{1000};

WallTime time_of(std::int64_t milliseconds) {
  return WallTime(Milliseconds(milliseconds));
}

// The columns of the queries below, in this order.
Snapshot snapshot_of(const SqliteStatement& row) {
  return {.number = static_cast<std::uint64_t>(row.integer(0)),
          .applied_at = time_of(row.integer(1)),
          .author = std::string(row.bytes(2)),
          .reason = std::string(row.bytes(3)),
          .outcome = std::string(row.bytes(4)),
          .source = std::string(row.bytes(5)),
          .text = std::string(row.bytes(7)),
          .changes = std::string(row.bytes(6))};
}

StateEntry entry_of_row(const SqliteStatement& row) {
  return {.key = std::string(row.bytes(0)), .value = std::string(row.bytes(2)), .at = time_of(row.integer(1))};
}

// The least text that is greater than all that begin with `prefix`; empty: there is none.
std::string after(std::string_view prefix) {
  std::string bound(prefix);
  while (!bound.empty() && static_cast<unsigned char>(bound.back()) == 0xff) bound.pop_back();
  if (!bound.empty()) ++bound.back();
  return bound;
}

}  // namespace

SqliteResult<SqliteReader> SqliteReader::open(const std::string& path) {
  auto connection = SqliteConnection::open(path, SqliteConnection::Use::read, kReaderBusyTimeout);
  if (!connection) return std::unexpected(std::move(connection.error()));
  if (auto done = connection->run("PRAGMA query_only = 1; PRAGMA mmap_size = 0"); !done) {
    return std::unexpected(std::move(done.error()));
  }
  return SqliteReader(*std::move(connection));
}

SqliteResult<std::vector<Snapshot>> SqliteReader::snapshots(std::size_t limit) {
  auto query = connection_.prepare(
      "SELECT number, applied_at_ms, author, reason, outcome, source, changes, '' FROM snapshots "
      "ORDER BY number DESC LIMIT ?1");
  if (!query) return std::unexpected(std::move(query.error()));
  constexpr std::size_t kAll = std::numeric_limits<std::int64_t>::max();
  query->bind(1, static_cast<std::int64_t>(std::min(limit, kAll)));
  std::vector<Snapshot> found;
  for (;;) {
    const auto row = query->step();
    if (!row) return std::unexpected(row.error());
    if (!*row) return found;
    found.push_back(snapshot_of(*query));
  }
}

SqliteResult<std::optional<Snapshot>> SqliteReader::snapshot(std::uint64_t number) {
  auto query = connection_.prepare(
      "SELECT number, applied_at_ms, author, reason, outcome, source, changes, text FROM snapshots "
      "JOIN config_texts ON config_texts.id = text_id WHERE number = ?1");
  if (!query) return std::unexpected(std::move(query.error()));
  query->bind(1, static_cast<std::int64_t>(number));
  const auto row = query->step();
  if (!row) return std::unexpected(row.error());
  return *row ? std::optional(snapshot_of(*query)) : std::nullopt;
}

SqliteResult<std::optional<StateEntry>> SqliteReader::get(std::string_view key) {
  auto query = connection_.prepare("SELECT key, at_ms, value FROM state WHERE key = ?1");
  if (!query) return std::unexpected(std::move(query.error()));
  query->bind(1, key);
  const auto row = query->step();
  if (!row) return std::unexpected(row.error());
  return *row ? std::optional(entry_of_row(*query)) : std::nullopt;
}

SqliteResult<std::vector<StateEntry>> SqliteReader::list(std::string_view prefix) {
  const std::string end = after(prefix);
  auto query = connection_.prepare(
      end.empty() ? "SELECT key, at_ms, value FROM state WHERE key >= ?1 ORDER BY key"
                  : "SELECT key, at_ms, value FROM state WHERE key >= ?1 AND key < ?2 ORDER BY key");
  if (!query) return std::unexpected(std::move(query.error()));
  query->bind(1, prefix);
  if (!end.empty()) query->bind(2, std::string_view(end));
  std::vector<StateEntry> found;
  for (;;) {
    const auto row = query->step();
    if (!row) return std::unexpected(row.error());
    if (!*row) return found;
    found.push_back(entry_of_row(*query));
  }
}

}  // namespace dao::memory

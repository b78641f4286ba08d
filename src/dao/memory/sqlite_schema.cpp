#include "dao/memory/sqlite_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <utility>

namespace dao::memory {
namespace {

// 1: Many snapshots have the same text (each start makes one), and a text may be megabytes: each is kept once, found by
// its hash. The learned state is in order of its keys, so that neighbours share pages.
constexpr std::string_view kFirst = R"sql(
CREATE TABLE config_texts (
  id INTEGER PRIMARY KEY,
  hash INTEGER NOT NULL,
  text TEXT NOT NULL
);
CREATE INDEX config_texts_by_hash ON config_texts (hash);
CREATE TABLE snapshots (
  number INTEGER PRIMARY KEY,
  applied_at_ms INTEGER NOT NULL,
  author TEXT NOT NULL,
  reason TEXT NOT NULL,
  outcome TEXT NOT NULL,
  source TEXT NOT NULL,
  text_id INTEGER NOT NULL REFERENCES config_texts (id),
  changes TEXT NOT NULL
);
CREATE TABLE state (
  key TEXT PRIMARY KEY,
  at_ms INTEGER NOT NULL,
  value BLOB NOT NULL
) WITHOUT ROWID;
)sql";

constexpr std::array kSteps = {kFirst};

SqliteResult<> take_steps(SqliteConnection& connection, std::span<const std::string_view> steps) {
  // Again, now that nobody else can write.
  const auto version = connection.integer("PRAGMA user_version");
  if (!version) return std::unexpected(version.error());
  for (auto step = static_cast<std::size_t>(*version); step < steps.size(); ++step) {
    if (auto done = connection.run(std::string(steps[step])); !done) return done;
  }
  return connection.run(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}; COMMIT", kApplicationId,
                                    std::max(static_cast<std::size_t>(*version), steps.size())));
}

}  // namespace

std::span<const std::string_view> schema_steps() {
  return kSteps;
}

SqliteResult<> migrate(SqliteConnection& connection, std::span<const std::string_view> steps) {
  const auto version = connection.integer("PRAGMA user_version");
  if (!version) return std::unexpected(version.error());
  if (*version > static_cast<std::int64_t>(steps.size())) {
    return std::unexpected(
        SqliteError{.code = SQLITE_SCHEMA,
                    .text = fmt::format("it was written by a newer DAO (schema version {}, this one knows {})",
                                        *version, steps.size())});
  }
  if (*version == static_cast<std::int64_t>(steps.size())) return {};
  if (auto begun = connection.run("BEGIN IMMEDIATE"); !begun) return begun;
  auto taken = take_steps(connection, steps);
  if (!taken && connection.in_transaction()) static_cast<void>(connection.run("ROLLBACK"));
  return taken;
}

}  // namespace dao::memory

// The tables of the store, and how a database of an older DAO gets them. docs/memory.md describes them.
//
// A database says in PRAGMA user_version how many of the steps it has had. A step, once released, is never edited: a
// change is a step more. During an upgrade without interruption the old process still writes while the new one has
// taken the step; it notices, and stops writing.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "dao/memory/sqlite_connection.h"

namespace dao::memory {

// In the header of the file: this database is a store of DAO ("DAOm").
inline constexpr std::int64_t kApplicationId = 0x44414f6d;

[[nodiscard]] std::span<const std::string_view> schema_steps();

// Takes the steps that are missing, in one transaction. More than there are steps: an error, and nothing is written.
SqliteResult<> migrate(SqliteConnection& connection, std::span<const std::string_view> steps);

}  // namespace dao::memory

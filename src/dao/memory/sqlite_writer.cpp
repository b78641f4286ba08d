#include "dao/memory/sqlite_writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "dao/memory/sqlite_schema.h"

namespace dao::memory {
namespace {

// Only a predecessor that is about to end, or an operator's sqlite3, is ever in the way.
constexpr Milliseconds kWriterBusyTimeout{2000};

// A transaction goes to the log (PATH-wal) and comes into the database later, by this thread too. The log is cut to
// 4 MiB when all of it is in the database.
constexpr std::string_view kSettings =
    "PRAGMA journal_mode = WAL;"
    "PRAGMA journal_size_limit = 4194304;"
    "PRAGMA cache_size = -8192;"
    "PRAGMA mmap_size = 0;"
    "PRAGMA foreign_keys = OFF";

// Whatever the end of the process, what was committed stays. The end of the machine is another matter: with NORMAL it
// may undo the last transactions, though it never damages the database. A snapshot is what DAO starts with, and rare:
// it waits for the disk. Learned state is written each second: to lose seconds of it costs nothing.
constexpr std::string_view kForSnapshots = "PRAGMA synchronous = FULL";
constexpr std::string_view kForState = "PRAGMA synchronous = NORMAL";

std::int64_t milliseconds_of(WallTime time) {
  return std::chrono::floor<Milliseconds>(time.time_since_epoch()).count();
}

// FNV-1a; texts are compared besides.
std::int64_t hash_of(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001b3U;
  return static_cast<std::int64_t>(hash);
}

SqliteResult<> check_ours(SqliteConnection& connection) {
  const auto id = connection.integer("PRAGMA application_id");
  if (!id) return std::unexpected(id.error());
  if (*id == kApplicationId) return {};
  const auto tables = connection.integer("SELECT count(*) FROM sqlite_schema");
  if (!tables) return std::unexpected(tables.error());
  if (*id == 0 && *tables == 0) return {};
  return std::unexpected(SqliteError{.code = SQLITE_MISMATCH, .text = "it is the database of another program"});
}

SqliteResult<> check_whole(SqliteConnection& connection) {
  const auto found = connection.text("PRAGMA quick_check(1)");
  if (!found) return std::unexpected(found.error());
  if (*found == "ok") return {};
  return std::unexpected(SqliteError{.code = SQLITE_CORRUPT, .text = *found});
}

// What it holds is for DAO's user only, whatever the umask.
SqliteResult<> make_file(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd >= 0) close(fd);
  return {};  // if it failed, then SQLite's opening says why
}

}  // namespace

struct SqliteWriter::Statements {
  SqliteStatement version, find_text, add_text, put_snapshot, set_outcome, prune, prune_texts, put_state, erase_state;
};

// Each by device, inode and size; not there: zeros.
struct SqliteWriter::Files {
  struct Identity {
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = 0;

    static Identity of(const std::string& path) {
      struct stat file{};
      if (stat(path.c_str(), &file) != 0) return {};
      return {.device = file.st_dev, .inode = file.st_ino, .size = file.st_size};
    }
    [[nodiscard]] bool is(const Identity& other) const { return device == other.device && inode == other.inode; }
  };
  std::optional<Identity> database, log, index;
};

SqliteWriter::SqliteWriter(std::string path, SqliteConnection connection)
    : path_(std::move(path)), connection_(std::move(connection)), files_(std::make_unique<Files>()) {}
SqliteWriter::SqliteWriter(SqliteWriter&&) noexcept = default;
SqliteWriter::~SqliteWriter() = default;

SqliteResult<SqliteWriter> SqliteWriter::open(const std::string& path) {
  static_cast<void>(make_file(path));
  auto connection = SqliteConnection::open(path, SqliteConnection::Use::write, kWriterBusyTimeout);
  if (!connection) return std::unexpected(std::move(connection.error()));
  const auto failed = [](SqliteResult<>& result) { return std::unexpected(std::move(result.error())); };
  if (connection->read_only()) return std::unexpected(SqliteError{SQLITE_READONLY, "it may only be read"});
  if (auto done = check_ours(*connection); !done) return failed(done);
  if (auto done = check_whole(*connection); !done) return failed(done);
  if (auto done = connection->run(std::string(kSettings)); !done) return failed(done);
  if (auto done = migrate(*connection, schema_steps()); !done) return failed(done);
  SqliteWriter writer(path, *std::move(connection));
  if (auto done = writer.prepare(); !done) return failed(done);
  return writer;
}

SqliteResult<> SqliteWriter::prepare() {
  std::array<std::string_view, 9> texts = {
      "PRAGMA user_version",
      "SELECT id FROM config_texts WHERE hash = ?1 AND text = ?2",
      "INSERT INTO config_texts (hash, text) VALUES (?1, ?2) RETURNING id",
      "INSERT OR REPLACE INTO snapshots (number, applied_at_ms, author, reason, outcome, source, text_id, changes) "
      "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
      "UPDATE snapshots SET outcome = ?2 WHERE number = ?1",
      "DELETE FROM snapshots WHERE number <= (SELECT number FROM snapshots ORDER BY number DESC LIMIT 1 OFFSET ?1) "
      "AND number IS NOT (SELECT max(number) FROM snapshots WHERE outcome = ?2)",
      "DELETE FROM config_texts WHERE id NOT IN (SELECT text_id FROM snapshots)",
      "INSERT INTO state (key, at_ms, value) VALUES (?1, ?2, ?3) "
      "ON CONFLICT (key) DO UPDATE SET at_ms = excluded.at_ms, value = excluded.value",
      "DELETE FROM state WHERE key = ?1"};
  std::vector<SqliteStatement> made;
  for (const std::string_view text : texts) {
    auto statement = connection_.prepare(text);
    if (!statement) return std::unexpected(std::move(statement.error()));
    made.push_back(*std::move(statement));
  }
  auto next = made.begin();
  const auto take = [&next] { return std::move(*next++); };
  // Braces evaluate from left to right.
  statements_ = std::unique_ptr<Statements>(
      new Statements{take(), take(), take(), take(), take(), take(), take(), take(), take()});
  return {};
}

SqliteResult<> SqliteWriter::write(const Changes& changes, std::size_t keep) {
  if (auto begun = begin(changes); !begun) return begun;
  auto done = write_all(changes, keep);
  if (done) done = connection_.run("COMMIT");
  if (!done) {
    if (connection_.in_transaction()) static_cast<void>(connection_.run("ROLLBACK"));
    return done;
  }
  if (!files_->database) {
    files_->database = Files::Identity::of(path_);
    files_->log = Files::Identity::of(path_ + "-wal");
    files_->index = Files::Identity::of(path_ + "-shm");
  }
  return {};
}

SqliteResult<> SqliteWriter::begin(const Changes& changes) {
  if (auto done = connection_.run(std::string(changes.has_snapshots() ? kForSnapshots : kForState)); !done) return done;
  if (auto done = connection_.run("BEGIN IMMEDIATE"); !done) return done;
  auto row = statements_->version.step();
  const std::int64_t version = row && *row ? statements_->version.integer(0) : 0;
  statements_->version.reset();
  if (row && version == static_cast<std::int64_t>(schema_steps().size())) return {};
  static_cast<void>(connection_.run("ROLLBACK"));
  if (!row) return std::unexpected(std::move(row.error()));
  return std::unexpected(SqliteError{.code = SQLITE_SCHEMA,
                                     .text = fmt::format("another DAO has changed it to schema version {}", version)});
}

SqliteResult<> SqliteWriter::write_all(const Changes& changes, std::size_t keep) {
  for (const auto& [number, snapshot] : changes.snapshots()) {
    if (auto done = write_snapshot(snapshot); !done) return done;
  }
  for (const auto& [number, outcome] : changes.outcomes()) {
    SqliteStatement& update = statements_->set_outcome;
    update.bind(1, static_cast<std::int64_t>(number));
    update.bind(2, std::string_view(outcome));
    if (auto done = update.run(); !done) return done;
  }
  if (!changes.snapshots().empty()) {
    statements_->prune.bind(1, static_cast<std::int64_t>(keep));
    statements_->prune.bind(2, kApplied);
    if (auto done = statements_->prune.run(); !done) return done;
    if (auto done = statements_->prune_texts.run(); !done) return done;
  }
  // In the order of the keys, so that each page of the table is visited once.
  std::vector<const std::pair<const std::string, std::optional<Changes::Value>>*> state;
  state.reserve(changes.state().size());
  for (const auto& entry : changes.state()) state.push_back(&entry);
  std::ranges::sort(state, {}, [](const auto* entry) -> const std::string& { return entry->first; });
  for (const auto* entry : state) {
    const auto& [key, value] = *entry;
    SqliteStatement& statement = value ? statements_->put_state : statements_->erase_state;
    statement.bind(1, std::string_view(key));
    if (value) {
      statement.bind(2, milliseconds_of(value->at));
      statement.bind_bytes(3, value->bytes);
    }
    if (auto done = statement.run(); !done) return done;
  }
  return {};
}

SqliteResult<> SqliteWriter::write_snapshot(const Snapshot& snapshot) {
  const auto id = text_id(snapshot.text);
  if (!id) return std::unexpected(id.error());
  SqliteStatement& insert = statements_->put_snapshot;
  insert.bind(1, static_cast<std::int64_t>(snapshot.number));
  insert.bind(2, milliseconds_of(snapshot.applied_at));
  insert.bind(3, std::string_view(snapshot.author));
  insert.bind(4, std::string_view(snapshot.reason));
  insert.bind(5, std::string_view(snapshot.outcome));
  insert.bind(6, std::string_view(snapshot.source));
  insert.bind(7, *id);
  insert.bind(8, std::string_view(snapshot.changes));
  return insert.run();
}

SqliteResult<std::int64_t> SqliteWriter::text_id(const std::string& text) {
  for (SqliteStatement* statement : {&statements_->find_text, &statements_->add_text}) {
    statement->bind(1, hash_of(text));
    statement->bind(2, std::string_view(text));
    const auto row = statement->step();
    if (!row) return std::unexpected(row.error());
    if (!*row) continue;
    const std::int64_t id = statement->integer(0);
    // A statement with RETURNING has done its work when its first row is there.
    statement->reset();
    return id;
  }
  return std::unexpected(SqliteError{.code = SQLITE_INTERNAL, .text = "a text got no number"});
}

SqliteResult<std::int64_t> SqliteWriter::highest_number() {
  return connection_.integer("SELECT max(number) FROM snapshots");
}

bool SqliteWriter::files_were_changed() {
  if (!files_->database) return false;
  const auto database = Files::Identity::of(path_);
  const auto log = Files::Identity::of(path_ + "-wal");
  auto index = Files::Identity::of(path_ + "-shm");
  if (!database.is(*files_->database) || !log.is(*files_->log) || !index.is(*files_->index)) return true;
  // The index is a map of the log in memory. With zeros in it, SQLite makes it again.
  if (index.size < files_->index->size && truncate((path_ + "-shm").c_str(), files_->index->size) == 0) {
    index.size = files_->index->size;
  }
  const bool cut = database.size < files_->database->size;  // SQLite lets it only grow
  files_->database = database;
  files_->index = index;
  return cut;
}

}  // namespace dao::memory

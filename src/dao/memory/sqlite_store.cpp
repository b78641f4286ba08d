#include "dao/memory/sqlite_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "dao/base/log.h"
#include "dao/base/signals_blocked.h"
#include "dao/base/utc_text.h"
#include "dao/memory/overlay.h"
#include "dao/memory/sqlite_schema.h"

namespace dao::memory {
namespace {

constexpr Milliseconds kShortestBackoff{1000};
constexpr Milliseconds kLongestBackoff{60'000};
// So often the same files are tried.
constexpr int kPatientTries = 3;
// How often a successor looks whether its predecessor has ended.
constexpr Milliseconds kLookForLock{1000};

std::string lock_path(const std::string& path) {
  return path + ".lock";
}

std::expected<void, std::string> make_directory(const std::string& path) {
  const auto directory = std::filesystem::path(path).parent_path();
  std::error_code error;
  if (directory.empty() || std::filesystem::is_directory(directory, error)) return {};
  if (std::filesystem::create_directories(directory, error)) {
    std::filesystem::permissions(directory, std::filesystem::perms::owner_all, error);
  }
  if (error) return std::unexpected(fmt::format("{} cannot be made: {}", directory.string(), error.message()));
  return {};
}

// Where the damaged database is afterwards; the error is a sentence.
std::expected<std::string, std::string> move_aside(const std::string& path, WallTime now) {
  const std::string stamp = utc_text(now, "%Y%m%dT%H%M%SZ");
  std::string target = fmt::format("{}.corrupt-{}", path, stamp);
  for (int again = 2; std::filesystem::exists(target); ++again) {
    target = fmt::format("{}.corrupt-{}-{}", path, stamp, again);
  }
  for (const std::string_view part : {"", "-wal", "-shm"}) {
    std::error_code error;
    std::filesystem::rename(fmt::format("{}{}", path, part), fmt::format("{}{}", target, part), error);
    if (error && error != std::errc::no_such_file_or_directory) {
      return std::unexpected(fmt::format("{}{} cannot be moved aside: {}", path, part, error.message()));
    }
  }
  return target;
}

struct Opened {
  SqliteWriter writer;
  bool anew = false;
};

SqliteResult<Opened> open_or_begin_anew(const std::string& path, const StoreLock& lock, WallTime now) {
  auto writer = SqliteWriter::open(path);
  if (writer) return Opened{.writer = *std::move(writer)};
  const SqliteError error = writer.error();
  if (!error.damaged()) return std::unexpected(error);
  // A wrong path in the configuration must not cost anybody a file.
  if (!lock.known()) {
    return std::unexpected(SqliteError{
        error.code,
        fmt::format("it is no store of DAO, or its lock file is gone ({}); it is left as it is", error.text)});
  }
  if (!lock.owned()) {
    return std::unexpected(SqliteError{error.code, fmt::format("{}; another process has it open", error.text)});
  }
  auto moved = move_aside(path, now);
  if (!moved) return std::unexpected(SqliteError{error.code, fmt::format("{}; {}", error.text, moved.error())});
  log::error("the store is damaged; it was moved aside and an empty one begun",
             {{"path", path}, {"moved_to", *moved}, {"error", error.text}});
  auto empty = SqliteWriter::open(path);
  if (!empty) return std::unexpected(std::move(empty.error()));
  return Opened{.writer = *std::move(empty), .anew = true};
}

// It is DAO's store, as far as can be known, and may be there again: a full disk, for instance, on which SQLite cannot
// make the index of its log. Without the lock's number, those of new snapshots could be those of old ones.
bool may_come_back(const SqliteError& error, const std::string& path, const StoreLock& lock) {
  std::error_code ignored;
  if (!lock.known() && std::filesystem::exists(path, ignored)) return false;
  const int kind = error.primary();
  return kind == SQLITE_FULL || kind == SQLITE_IOERR || kind == SQLITE_CANTOPEN || kind == SQLITE_BUSY ||
         kind == SQLITE_READONLY;
}

}  // namespace

std::expected<std::unique_ptr<SqliteStore>, std::string> SqliteStore::open(const SqliteSettings& settings,
                                                                           const Clock& clock) {
  if (auto made = make_directory(settings.path); !made) return std::unexpected(std::move(made.error()));
  auto lock = StoreLock::take(lock_path(settings.path), settings.beside_predecessor);
  if (!lock) return std::unexpected(std::move(lock.error()));
  std::unique_ptr<SqliteStore> store(new SqliteStore(settings, clock, *std::move(lock)));
  if (auto opened = store->reopen(); !opened) {
    if (!may_come_back(opened.error(), settings.path, store->lock_)) {
      return std::unexpected(std::move(opened.error().text));
    }
    store->failed(opened.error());
  }
  const SignalsBlocked quiet;
  store->thread_ = std::thread([running = store.get()] { running->run(); });
  return store;
}

SqliteStore::SqliteStore(SqliteSettings settings, const Clock& clock, StoreLock lock)
    : settings_(std::move(settings)), clock_(clock), lock_(std::move(lock)) {
  status_.kind = "sqlite";
  status_.path = settings_.path;
  status_.schema_version = static_cast<int>(schema_steps().size());
}

SqliteStore::~SqliteStore() {
  {
    const std::lock_guard lock(mutex_);
    end_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
  if (!pending_.empty()) {
    log::warning("changes to the store are lost",
                 {{"path", settings_.path}, {"changes", pending_.size()}, {"error", status_.last_error}});
  }
}

// Under the mutex. The flush interval is for all of it: the write is begun sooner by what it may take.
void SqliteStore::begin_interval() {
  using Duration = std::chrono::steady_clock::duration;
  const Duration interval = settings_.flush_interval;
  const Duration margin = std::min(interval / 2, std::max(interval / 10, 2 * last_write_));
  due_ = std::chrono::steady_clock::now() + interval - margin;
  wake_.notify_one();
}

void SqliteStore::wake_for_snapshot(bool was_empty) {
  if (was_empty) begin_interval();
  urgent_ = true;
  wake_.notify_one();
}

std::uint64_t SqliteStore::add_snapshot(Snapshot snapshot) {
  const std::lock_guard lock(mutex_);
  const bool was_empty = pending_.empty();
  snapshot.number = highest_number_ = lock_.next_number(highest_number_);
  snapshot.applied_at = to_milliseconds(snapshot.applied_at);
  newest_ = snapshot;
  if (snapshot.outcome == kApplied) applied_ = snapshot;
  pending_.add(std::move(snapshot));
  status_.lost += pending_.drop_oldest(settings_.snapshots, kMostPendingBytes);
  wake_for_snapshot(was_empty);
  return highest_number_;
}

void SqliteStore::set_outcome(std::uint64_t number, std::string outcome) {
  const std::lock_guard lock(mutex_);
  for (std::optional<Snapshot>* known : {&newest_, &applied_}) {
    if (*known && (*known)->number == number) (*known)->outcome = outcome;
  }
  if (applied_ && applied_->outcome != kApplied) applied_.reset();
  if (newest_ && newest_->outcome == kApplied) applied_ = newest_;
  const bool was_empty = pending_.empty();
  pending_.set_outcome(number, std::move(outcome));
  wake_for_snapshot(was_empty);
}

void SqliteStore::put(std::vector<StateEntry> entries) {
  const std::lock_guard lock(mutex_);
  const bool was_empty = pending_.empty();
  for (StateEntry& entry : entries) {
    if (pending_.bytes() >= kMostPendingBytes && !pending_.state().contains(entry.key)) {
      ++status_.lost;
      continue;
    }
    entry.at = to_milliseconds(entry.at);
    pending_.put(std::move(entry));
  }
  if (was_empty && !pending_.empty()) begin_interval();
}

void SqliteStore::erase(std::vector<std::string> keys) {
  const std::lock_guard lock(mutex_);
  const bool was_empty = pending_.empty();
  for (std::string& key : keys) pending_.erase(std::move(key));
  if (was_empty && !pending_.empty()) begin_interval();
}

// What is not written yet is looked at first: between the two it may be written, and is then seen twice, not never.
Read<std::vector<Snapshot>> SqliteStore::snapshots(std::size_t limit) {
  Changes writing;
  Changes pending;
  {
    const std::lock_guard lock(mutex_);
    writing = writing_.heads();
    pending = pending_.heads();
  }
  auto stored = read([&](SqliteReader& reader) { return reader.snapshots(limit); });
  if (!stored) return stored;
  return laid_over(*std::move(stored), {&writing, &pending}, limit);
}

Read<std::optional<Snapshot>> SqliteStore::snapshot(std::uint64_t number) {
  std::optional<std::string> outcome;
  {
    const std::lock_guard lock(mutex_);
    for (const Changes* some : {&pending_, &writing_}) {
      if (!outcome) {
        if (const auto found = some->outcomes().find(number); found != some->outcomes().end()) outcome = found->second;
      }
      if (const auto found = some->snapshots().find(number); found != some->snapshots().end()) {
        Snapshot snapshot = found->second;
        if (outcome) snapshot.outcome = *outcome;
        return snapshot;
      }
    }
  }
  auto stored = read([&](SqliteReader& reader) { return reader.snapshot(number); });
  if (stored && *stored && outcome) (*stored)->outcome = *outcome;
  return stored;
}

Read<std::optional<StateEntry>> SqliteStore::get(std::string_view key) {
  const std::string text(key);
  {
    const std::lock_guard lock(mutex_);
    for (const Changes* some : {&pending_, &writing_}) {
      if (auto found = entry_of(*some, text)) return *std::move(found);
    }
  }
  return read([&](SqliteReader& reader) { return reader.get(key); });
}

Read<std::vector<StateEntry>> SqliteStore::list(std::string_view prefix) {
  StateChanges changes;
  {
    const std::lock_guard lock(mutex_);
    changes = state_of(pending_, prefix);
    changes.merge(state_of(writing_, prefix));
  }
  auto stored = read([&](SqliteReader& reader) { return reader.list(prefix); });
  if (!stored) return stored;
  return laid_over(*std::move(stored), std::move(changes));
}

template <class Ask>
auto SqliteStore::read(Ask ask) -> Read<typename decltype(ask(std::declval<SqliteReader&>()))::value_type> {
  const std::lock_guard lock(reader_mutex_);
  if (!reader_) {
    auto opened = SqliteReader::open(settings_.path);
    if (!opened) return std::unexpected(std::move(opened.error().text));
    reader_ = *std::move(opened);
  }
  auto found = ask(*reader_);
  if (!found) return std::unexpected(std::move(found.error().text));
  return *std::move(found);
}

Kept SqliteStore::flush(Milliseconds patience) {
  std::unique_lock lock(mutex_);
  const std::uint64_t ticket = ++asked_;
  wake_.notify_one();
  answer_.wait_for(lock, patience, [&] { return answered_ >= ticket; });
  return kept_ >= ticket ? Kept::on_disk : Kept::not_yet;
}

StoreStatus SqliteStore::status() const {
  const std::lock_guard lock(mutex_);
  StoreStatus status = status_;
  status.pending = pending_.size() + writing_.size();
  status.pending_bytes = pending_.bytes() + writing_.bytes();
  return status;
}

void SqliteStore::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    const SteadyTime now = std::chrono::steady_clock::now();
    if (!lock_.owned()) lock_.try_own();
    if (must_write(now)) {
      write_pending(lock);
    } else if (end_) {
      // Twice only if the first had to begin a new database.
      for (int i = 0; i < 2 && !pending_.empty() && (i == 0 || status_.healthy); ++i) write_pending(lock);
      return;
    } else if (pending_.empty() && lock_.owned()) {
      wake_.wait(lock);
    } else {
      wake_.wait_until(lock, next_look(now));
    }
  }
}

bool SqliteStore::must_write(SteadyTime now) const {
  if (asked_ != answered_) return true;
  if (pending_.empty() || now < not_before_) return false;
  return urgent_ || now >= due_;
}

SqliteStore::SteadyTime SqliteStore::next_look(SteadyTime now) const {
  SteadyTime next = lock_.owned() ? SteadyTime::max() : now + kLookForLock;
  if (!pending_.empty()) next = std::min(next, std::max(urgent_ ? now : due_, not_before_));
  return next;
}

void SqliteStore::write_pending(std::unique_lock<std::mutex>& lock) {
  const std::uint64_t ticket = asked_;
  writing_ = std::exchange(pending_, Changes{});
  urgent_ = false;
  lock.unlock();
  const SteadyTime began = std::chrono::steady_clock::now();
  const SqliteResult<> written = writing_.empty() ? SqliteResult<>{} : write_to_disk(writing_);
  if (written || !written.error().passing()) failed_in_a_row_ = written ? 0 : failed_in_a_row_ + 1;
  lock.lock();
  last_write_ = std::chrono::steady_clock::now() - began;
  Changes tried = std::exchange(writing_, Changes{});
  if (written) {
    if (!tried.empty()) succeeded(tried.size());
    kept_ = ticket;
  } else {
    urgent_ = urgent_ || tried.has_snapshots();
    pending_.put_before(std::move(tried));
    status_.lost += pending_.drop_oldest(settings_.snapshots, kMostPendingBytes);
    failed(written.error());
  }
  answered_ = ticket;
  answer_.notify_all();
}

// Without the mutex.
SqliteResult<> SqliteStore::write_to_disk(const Changes& changes) {
  if (writer_ && writer_->files_were_changed()) {
    log::warning("the store was removed or replaced while in use; it is opened anew", {{"path", settings_.path}});
    close_files();
    replaced_ = true;
  }
  // The files stay open for a while, for readers. If it goes on, then it may be better to begin with them anew. They
  // are closed first: to close is to remove the log, by its name.
  if (failed_in_a_row_ >= kPatientTries) close_files();
  SqliteResult<> done;
  for (int tries = 0; tries < 2; ++tries) {
    if (!writer_) {
      if (done = reopen(); !done) return done;
    }
    done = writer_->write(changes, settings_.snapshots);
    if (done || !done.error().damaged()) return done;
    close_files();
  }
  return done;
}

SqliteResult<> SqliteStore::reopen() {
  auto opened = open_or_begin_anew(settings_.path, lock_, clock_.wall_now());
  if (!opened) return std::unexpected(std::move(opened.error()));
  const auto highest = opened->writer.highest_number();
  if (!highest) return std::unexpected(highest.error());
  writer_.emplace(std::move(opened->writer));
  bool anew = std::exchange(replaced_, false) || opened->anew;
  {
    const std::lock_guard lock(mutex_);
    const std::uint64_t last = lock_.last_number();
    // The first one of all may have been given a number and been lost with its process; a predecessor may have it
    // still.
    if (highest_number_ == 0 && *highest == 0 && last > 1 && lock_.owned() && !anew) {
      anew = true;
      log::warning("the store is empty, though there have been snapshots before",
                   {{"path", settings_.path}, {"last_snapshot", last}});
    }
    highest_number_ = std::max(highest_number_, static_cast<std::uint64_t>(*highest));
    lock_.make_known();
  }
  if (anew) begun_anew();
  return {};
}

void SqliteStore::close_files() {
  {
    const std::lock_guard lock(reader_mutex_);
    reader_.reset();
  }
  writer_.reset();
}

// What this process knows of the snapshots is written again, after what is being written.
void SqliteStore::begun_anew() {
  const std::lock_guard lock(mutex_);
  ++status_.begun_anew;
  Changes known;
  for (const std::optional<Snapshot>* snapshot : {&applied_, &newest_}) {
    if (*snapshot) known.add(**snapshot);
  }
  urgent_ = urgent_ || known.has_snapshots();
  pending_.put_before(std::move(known));
}

// Under the mutex, as is the next one.
void SqliteStore::failed(const SqliteError& error) {
  ++status_.failures;
  status_.last_error = error.text;
  status_.last_error_at = clock_.wall_now();
  backoff_ = std::clamp(backoff_ * 2, kShortestBackoff, kLongestBackoff);
  not_before_ = std::chrono::steady_clock::now() + backoff_;
  if (!std::exchange(status_.healthy, false)) return;
  log::warning("the store cannot be written; changes wait in memory",
               {{"path", settings_.path}, {"error", error.text}, {"waiting", pending_.size()}});
}

void SqliteStore::succeeded(std::size_t changes) {
  ++status_.flushes;
  status_.written += changes;
  status_.last_flush = clock_.wall_now();
  backoff_ = {};
  not_before_ = {};
  if (std::exchange(status_.healthy, true)) return;
  log::info("the store is written again", {{"path", settings_.path}, {"changes", changes}, {"lost", status_.lost}});
}

}  // namespace dao::memory

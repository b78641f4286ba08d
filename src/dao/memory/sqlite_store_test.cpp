// The database: what survives, and what becomes of it in bad times.
#include "dao/memory/sqlite_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "dao/memory/captured_log.h"
#include "dao/memory/sqlite_schema.h"
#include "dao/memory/store_test_files.h"

namespace dao::memory {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using testing::HasSubstr;
using testing::SizeIs;

constexpr WallTime kNoon{std::chrono::hours(24 * 365 * 56 + 12)};

// Writes beyond this size fail, as with a full disk (EFBIG instead of ENOSPC), until it is gone. Less than any change
// of the database needs, more than the log.
constexpr rlim_t kSmallFile = 8000;
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    rlimit limit = before_;
    limit.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() { setrlimit(RLIMIT_FSIZE, &before_); }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;

 private:
  rlimit before_{};
};

class SqliteStoreTest : public testing::Test {
 protected:
  SqliteStoreTest() { clock.set_wall(kNoon); }

  std::expected<std::unique_ptr<SqliteStore>, std::string> try_open(bool beside_predecessor = false) {
    return SqliteStore::open({.path = path, .flush_interval = 3600s, .beside_predecessor = beside_predecessor}, clock);
  }
  std::unique_ptr<SqliteStore> open() {
    auto opened = try_open();
    EXPECT_TRUE(opened) << opened.error();
    return *std::move(opened);
  }
  std::string error_of_open() {
    const auto opened = try_open();
    return opened ? "opened" : opened.error();
  }
  static std::uint64_t add(Store& store, const std::string& text = "x", const std::string& outcome = "applied") {
    return store.add_snapshot({.applied_at = kNoon, .author = "file", .outcome = outcome, .text = text});
  }
  static void put(Store& store, const std::string& key, const std::string& value) { store.put({{key, value, kNoon}}); }
  static std::string value_of(Store& store, const std::string& key) {
    const auto found = store.get(key);
    return !found ? "error: " + found.error() : *found ? (*found)->value : "none";
  }
  // Another program at the database.
  SqliteConnection other() const { return SqliteConnection::open(path, SqliteConnection::Use::write, 5s).value(); }
  // A database with something in it, and all of it in the file itself.
  void make_database() {
    {
      const auto store = open();
      for (int i = 0; i < 20; ++i) add(*store, std::string(10'000, static_cast<char>('a' + i)));
      for (int i = 0; i < 500; ++i) put(*store, "key" + std::to_string(i), std::string(100, 'v'));
      ASSERT_EQ(store->flush(10s), Kept::on_disk);
    }
    ASSERT_FALSE(std::filesystem::exists(path + "-wal"));
  }
  void expect_moved_aside(const std::string& content) {
    const auto moved = directory.names_with(".corrupt-");
    ASSERT_THAT(moved, SizeIs(1));
    EXPECT_EQ(moved.front(), "dao.db.corrupt-20251218T120000Z");
    if (!content.empty()) EXPECT_EQ(read_file(directory.file(moved.front())), content);
    EXPECT_EQ(captured.count("error the store is damaged"), 1U) << captured.text();
  }

  TestDirectory directory;
  std::string path = directory.file("dao.db");
  ManualClock clock;
  CapturedLog captured{directory.file("log")};
};

TEST_F(SqliteStoreTest, SurvivesItsProcess) {
  {
    const auto store = open();
    add(*store, "text");
    put(*store, "k", "v");
  }
  const auto store = open();
  EXPECT_EQ(store->snapshot(1).value()->text, "text");
  EXPECT_EQ(value_of(*store, "k"), "v");
  EXPECT_EQ(add(*store), 2U);
  EXPECT_EQ(store->status().begun_anew, 0U);
  EXPECT_EQ(store->status().schema_version, 1);
}

TEST_F(SqliteStoreTest, IsForItsUserOnly) {
  const auto store = open();
  add(*store);
  ASSERT_EQ(store->flush(10s), Kept::on_disk);
  for (const char* part : {"", "-wal", "-shm", ".lock"}) {
    struct stat file{};
    ASSERT_EQ(stat((path + part).c_str(), &file), 0) << part;
    EXPECT_EQ(file.st_mode & 0777U, 0600U) << part;
  }
}

TEST_F(SqliteStoreTest, MakesItsDirectory) {
  path = directory.file("a/b/dao.db");
  EXPECT_TRUE(open()->status().healthy);
}

TEST_F(SqliteStoreTest, ASnapshotIsWrittenWithoutAFlush) {
  const auto store = open();
  add(*store);
  put(*store, "k", "v");
  // The interval is an hour; flush() with no patience starts nothing that would not have been.
  for (const auto end = std::chrono::steady_clock::now() + 10s; store->status().flushes == 0;) {
    ASSERT_LT(std::chrono::steady_clock::now(), end);
    std::this_thread::yield();
  }
  EXPECT_EQ(other().integer("SELECT count(*) FROM snapshots"), 1);
}

TEST_F(SqliteStoreTest, NumbersAreNeverUsedAgain) {
  {
    const auto store = open();
    for (int i = 0; i < 3; ++i) add(*store);
  }
  ASSERT_TRUE(other().run("DELETE FROM snapshots"));
  EXPECT_EQ(add(*open()), 4U);
  std::filesystem::remove(path + ".lock");
  EXPECT_EQ(add(*open()), 5U) << "without the file that has the last number, the database knows";
}

TEST_F(SqliteStoreTest, ATextIsStoredOnce) {
  const auto store = open();
  for (int i = 0; i < 10; ++i) add(*store, i % 2 == 0 ? "even" : "odd");
  ASSERT_EQ(store->flush(10s), Kept::on_disk);
  EXPECT_EQ(other().integer("SELECT count(*) FROM config_texts"), 2);
  EXPECT_EQ(store->snapshot(1).value()->text, "even");
  EXPECT_EQ(store->snapshot(10).value()->text, "odd");
}

TEST_F(SqliteStoreTest, TextsWithoutSnapshotsGo) {
  const auto store = SqliteStore::open({.path = path, .snapshots = 3}, clock).value();
  for (int i = 0; i < 10; ++i) {
    add(*store, std::to_string(i));
    ASSERT_EQ(store->flush(10s), Kept::on_disk);
  }
  EXPECT_EQ(other().integer("SELECT count(*) FROM config_texts"), 3);
}

TEST_F(SqliteStoreTest, ManyChangesAreOneTransaction) {
  const auto store = open();
  std::vector<StateEntry> entries;
  for (int i = 0; i < 50'000; ++i) entries.push_back({"k" + std::to_string(i), std::string(200, 'v'), kNoon});
  store->put(std::move(entries));
  ASSERT_EQ(store->flush(60s), Kept::on_disk);
  EXPECT_EQ(store->status().flushes, 1U);
  EXPECT_EQ(store->status().written, 50'000U);
  EXPECT_EQ(store->status().pending, 0U);
  EXPECT_EQ(other().integer("SELECT count(*) FROM state"), 50'000);
}

TEST_F(SqliteStoreTest, ChangesWithinAnIntervalAreWrittenByThemselves) {
  const auto store = SqliteStore::open({.path = path, .flush_interval = 10ms}, clock).value();
  for (std::uint64_t i = 1; i <= 3; ++i) {
    put(*store, "k", std::to_string(i));
    for (const auto end = std::chrono::steady_clock::now() + 10s; store->status().written < i;) {
      ASSERT_LT(std::chrono::steady_clock::now(), end);
      std::this_thread::yield();
    }
  }
  EXPECT_EQ(value_of(*store, "k"), "3");
}

TEST_F(SqliteStoreTest, OneDaoAtATime) {
  const auto store = open();
  EXPECT_EQ(error_of_open(), "another DAO is using it");
}

TEST_F(SqliteStoreTest, ASuccessorSharesItForAWhile) {
  auto predecessor = open();
  EXPECT_EQ(add(*predecessor), 1U);
  put(*predecessor, "k", "old");
  ASSERT_EQ(predecessor->flush(10s), Kept::on_disk);

  auto successor = try_open(true);
  ASSERT_TRUE(successor) << successor.error();
  EXPECT_EQ(value_of(**successor, "k"), "old");
  EXPECT_EQ(add(**successor), 2U);
  EXPECT_EQ(add(*predecessor), 3U) << "numbers are given out for both";
  EXPECT_EQ(add(**successor), 4U);
  put(**successor, "k", "new");
  ASSERT_EQ(predecessor->flush(10s), Kept::on_disk);
  ASSERT_EQ((*successor)->flush(10s), Kept::on_disk);
  EXPECT_THAT((*successor)->snapshots(100).value(), SizeIs(4));
  EXPECT_EQ(value_of(*predecessor, "k"), "new");

  predecessor.reset();
  ASSERT_EQ((*successor)->flush(10s), Kept::on_disk);
  EXPECT_EQ(error_of_open(), "another DAO is using it") << "the lock has a new owner";
  put(**successor, "k", "newer");
  successor->reset();
  EXPECT_EQ(value_of(*open(), "k"), "newer");
}

TEST_F(SqliteStoreTest, ASuccessorMovesNothingAside) {
  make_database();
  const auto predecessor = open();
  damage_file(path, 5 * 4096, 3 * 4096);
  const auto successor = try_open(true);
  ASSERT_FALSE(successor);
  EXPECT_THAT(successor.error(), HasSubstr("another process has it open"));
  EXPECT_THAT(directory.names_with("corrupt"), SizeIs(0));
}

TEST_F(SqliteStoreTest, ANewerDatabaseIsLeftAlone) {
  make_database();
  ASSERT_TRUE(other().run("PRAGMA user_version = 99"));
  EXPECT_EQ(error_of_open(), "it was written by a newer DAO (schema version 99, this one knows 1)");
  EXPECT_EQ(other().integer("SELECT count(*) FROM snapshots"), 20);
}

TEST_F(SqliteStoreTest, WhenAnotherDaoMakesItNewerNothingIsWrittenAnyMore) {
  const auto store = open();
  add(*store);
  ASSERT_EQ(store->flush(10s), Kept::on_disk);
  ASSERT_TRUE(other().run("PRAGMA user_version = 2"));
  add(*store);
  EXPECT_EQ(store->flush(10s), Kept::not_yet);
  EXPECT_EQ(other().integer("SELECT count(*) FROM snapshots"), 1);
  EXPECT_THAT(store->status().last_error, HasSubstr("schema version 2"));
}

TEST_F(SqliteStoreTest, TheDatabaseOfAnotherProgramIsLeftAlone) {
  ASSERT_TRUE(other().run("CREATE TABLE theirs (x)"));
  EXPECT_EQ(error_of_open(), "it is the database of another program");
  EXPECT_EQ(other().integer("SELECT count(*) FROM sqlite_schema"), 1);
}

TEST_F(SqliteStoreTest, AFileThatWasNeverAStoreIsLeftAlone) {
  const std::string text(5000, 'x');
  write_file(path, text);
  for (int i = 0; i < 2; ++i) EXPECT_THAT(error_of_open(), HasSubstr("it is left as it is"));
  EXPECT_EQ(read_file(path), text);
}

TEST_F(SqliteStoreTest, GarbageInItsPlaceIsMovedAside) {
  make_database();
  const std::string garbage(5000, 'x');
  write_file(path, garbage);
  const auto store = open();
  expect_moved_aside(garbage);
  EXPECT_EQ(store->status().begun_anew, 1U);
  EXPECT_THAT(store->snapshots(100).value(), SizeIs(0));
  EXPECT_EQ(add(*store), 21U) << "numbers go on";
  EXPECT_EQ(store->flush(10s), Kept::on_disk);
}

TEST_F(SqliteStoreTest, DamageInTheMiddleIsFound) {
  make_database();
  damage_file(path, 5 * 4096, 3 * 4096);
  open();
  expect_moved_aside("");
}

TEST_F(SqliteStoreTest, ACutDatabaseIsFound) {
  make_database();
  std::filesystem::resize_file(path, std::filesystem::file_size(path) / 2 + 100);
  const std::string cut = read_file(path);
  open();
  expect_moved_aside(cut);
}

TEST_F(SqliteStoreTest, AnEmptyFileIsAnEmptyStoreAndThatIsSaid) {
  make_database();
  std::filesystem::resize_file(path, 0);
  const auto store = open();
  EXPECT_EQ(store->status().begun_anew, 1U);
  EXPECT_EQ(captured.count("warning the store is empty"), 1U);
  EXPECT_EQ(add(*store), 21U);
}

TEST_F(SqliteStoreTest, TwiceInASecondIsMovedToTwoNames) {
  for (int i = 0; i < 2; ++i) {
    make_database();
    write_file(path, std::string(5000, 'x'));
    open();
  }
  EXPECT_THAT(directory.names_with(".corrupt-"), SizeIs(2));
}

TEST_F(SqliteStoreTest, APlaceWhereNothingCanBeIsAnError) {
  path = "/proc/dao/dao.db";
  EXPECT_THAT(error_of_open(), HasSubstr("/proc/dao cannot be made"));
  write_file(directory.file("file"), "x");
  path = directory.file("file") + "/dao.db";
  EXPECT_THAT(error_of_open(), HasSubstr("cannot be"));
  std::filesystem::create_directory(directory.file("dao.db"));
  path = directory.file("dao.db");
  EXPECT_THAT(error_of_open(), HasSubstr("unable to open"));
}

TEST_F(SqliteStoreTest, AFullDiskCostsNothingThatFitsIntoMemory) {
  const auto store = open();
  add(*store, "before");
  put(*store, "a", "1");
  ASSERT_EQ(store->flush(10s), Kept::on_disk);
  {
    const FileSizeLimit full(kSmallFile);
    add(*store, "meanwhile");
    for (int i = 0; i < 3; ++i) {
      put(*store, "a", "2" + std::to_string(i));
      EXPECT_EQ(store->flush(10s), Kept::not_yet);
    }
    EXPECT_EQ(value_of(*store, "a"), "22") << "whoever asks is told";
    EXPECT_EQ(store->snapshot(2).value()->text, "meanwhile");
    EXPECT_EQ(store->snapshot(1).value()->text, "before");
    EXPECT_THAT(store->snapshots(10).value(), SizeIs(2));
    const StoreStatus status = store->status();
    EXPECT_FALSE(status.healthy);
    EXPECT_GE(status.failures, 3U);
    EXPECT_EQ(status.pending, 2U);
    EXPECT_EQ(status.lost, 0U);
    EXPECT_NE(status.last_error, "");
    EXPECT_EQ(status.last_error_at, kNoon);
  }
  EXPECT_EQ(store->flush(10s), Kept::on_disk);
  EXPECT_TRUE(store->status().healthy);
  EXPECT_EQ(other().integer("SELECT count(*) FROM snapshots"), 2);
  EXPECT_EQ(other().text("SELECT value FROM state WHERE key = 'a'"), "22");
  EXPECT_EQ(captured.count("warning the store cannot be written"), 1U) << captured.text();
  EXPECT_EQ(captured.count("info the store is written again"), 1U) << captured.text();
}

TEST_F(SqliteStoreTest, AFullDiskAtTheStart) {
  make_database();
  std::unique_ptr<SqliteStore> store;
  {
    const FileSizeLimit full(kSmallFile);
    store = open();
    ASSERT_TRUE(store);
    EXPECT_FALSE(store->status().healthy);
    EXPECT_FALSE(store->snapshots(10));
    EXPECT_EQ(add(*store, "meanwhile"), 21U);
    EXPECT_EQ(store->flush(10s), Kept::not_yet);
    EXPECT_EQ(store->snapshot(21).value()->text, "meanwhile");
  }
  EXPECT_EQ(store->flush(10s), Kept::on_disk);
  EXPECT_THAT(store->snapshots(100).value(), SizeIs(21));
  EXPECT_EQ(value_of(*store, "key7"), std::string(100, 'v'));
  EXPECT_EQ(store->status().begun_anew, 0U);
  EXPECT_EQ(captured.count("warning the store cannot be written"), 1U);
  EXPECT_EQ(captured.count("info the store is written again"), 1U);
}

TEST_F(SqliteStoreTest, AFullDiskIsTriedAgainWithoutBeingAsked) {
  const auto store = open();
  {
    const FileSizeLimit full(kSmallFile);
    add(*store);
    ASSERT_EQ(store->flush(10s), Kept::not_yet);
  }
  for (const auto end = std::chrono::steady_clock::now() + 20s; store->status().pending > 0;) {
    ASSERT_LT(std::chrono::steady_clock::now(), end);
    std::this_thread::yield();
  }
  EXPECT_TRUE(store->status().healthy);
}

TEST_F(SqliteStoreTest, WhatDoesNotFitIntoMemoryIsCounted) {
  const auto store = open();
  ASSERT_EQ(store->flush(10s), Kept::on_disk);
  const FileSizeLimit full(kSmallFile);
  const std::string large(SqliteStore::kMostPendingBytes / 4, 'x');
  for (int i = 0; i < 5; ++i) put(*store, "k" + std::to_string(i), large);
  EXPECT_EQ(store->flush(20s), Kept::not_yet);
  put(*store, "k9", "x");
  put(*store, "k0", "smaller");
  EXPECT_EQ(store->status().lost, 2U) << "k4 and k9";
  EXPECT_EQ(value_of(*store, "k0"), "smaller");
}

TEST_F(SqliteStoreTest, AnotherWriterIsWaitedFor) {
  const auto store = open();
  auto writer = other();
  ASSERT_TRUE(writer.run("BEGIN IMMEDIATE"));
  put(*store, "k", "v");
  EXPECT_EQ(store->flush(10ms), Kept::not_yet);
  ASSERT_TRUE(writer.run("COMMIT"));
  EXPECT_EQ(store->flush(20s), Kept::on_disk);
}

TEST_F(SqliteStoreTest, RemovedWhileInUseItIsBegunAnewWithWhatIsKnown) {
  const auto store = open();
  add(*store, "running");
  add(*store, "tried", "aborted: errors");
  put(*store, "old", "1");
  ASSERT_EQ(store->flush(10s), Kept::on_disk);
  for (const char* part : {"", "-wal", "-shm"}) std::filesystem::remove(path + part);
  put(*store, "new", "2");
  ASSERT_EQ(store->flush(10s), Kept::on_disk);
  ASSERT_EQ(store->flush(10s), Kept::on_disk);
  EXPECT_EQ(store->status().begun_anew, 1U);
  EXPECT_EQ(value_of(*store, "new"), "2");
  EXPECT_EQ(value_of(*store, "old"), "none");
  EXPECT_EQ(last_applied(*store).value().value().text, "running");
  EXPECT_EQ(other().integer("SELECT count(*) FROM snapshots"), 2);
  EXPECT_EQ(captured.count("warning the store was removed or replaced"), 1U);
}

TEST_F(SqliteStoreTest, DamagedWhileInUseItIsMovedAside) {
  make_database();
  const auto store = open();
  add(*store, "running");
  ASSERT_EQ(store->flush(10s), Kept::on_disk);
  std::filesystem::resize_file(path, 5000);
  put(*store, "new", "2");
  ASSERT_EQ(store->flush(10s), Kept::on_disk);
  ASSERT_EQ(store->flush(10s), Kept::on_disk);
  EXPECT_EQ(store->status().begun_anew, 1U);
  EXPECT_EQ(value_of(*store, "new"), "2");
  EXPECT_EQ(last_applied(*store).value().value().text, "running");
  EXPECT_THAT(directory.names_with(".corrupt-"), testing::Not(SizeIs(0)));
}

// It is mapped into memory, and a touch of what is no longer there ends a process.
TEST_F(SqliteStoreTest, AnIndexThatIsCutWhileInUseIsMended) {
  const auto store = open();
  add(*store);
  ASSERT_EQ(store->flush(10s), Kept::on_disk);
  std::filesystem::resize_file(path + "-shm", 0);
  put(*store, "k", "v");
  ASSERT_EQ(store->flush(10s), Kept::on_disk);
  EXPECT_EQ(value_of(*store, "k"), "v");
  EXPECT_EQ(other().integer("SELECT count(*) FROM snapshots"), 1);
}

TEST_F(SqliteStoreTest, AClockThatWasSetBackChangesNoOrder) {
  const auto store = open();
  store->add_snapshot({.applied_at = kNoon, .outcome = "applied", .text = "first"});
  store->add_snapshot({.applied_at = kNoon - std::chrono::hours(100), .outcome = "applied", .text = "second"});
  ASSERT_EQ(store->flush(10s), Kept::on_disk);
  EXPECT_EQ(last_applied(*store).value().value().text, "second");
  store->put({{"k", "later", kNoon}});
  store->put({{"k", "after the clock", kNoon - 5s}});
  ASSERT_EQ(store->flush(10s), Kept::on_disk);
  EXPECT_EQ(value_of(*store, "k"), "after the clock");
}

}  // namespace
}  // namespace dao::memory

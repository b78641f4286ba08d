// What every store does.
#include "dao/memory/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "dao/memory/memory_store.h"
#include "dao/memory/sqlite_store.h"
#include "dao/memory/store_test_files.h"

namespace dao::memory {
namespace {

using std::chrono_literals::operator""s;
using testing::ElementsAre;
using testing::Field;

constexpr std::size_t kKept = 5;
constexpr WallTime kNoon{std::chrono::hours(24 * 365 * 56 + 12)};

struct Kind {
  std::string name;
  Kept kept;
  std::function<std::unique_ptr<Store>(const std::string& path)> make;
};

class EveryStore : public testing::TestWithParam<Kind> {
 protected:
  std::uint64_t add(const std::string& text, const std::string& outcome = std::string(kApplied)) {
    return store->add_snapshot({.applied_at = kNoon,
                                .author = "file",
                                .reason = "it changed",
                                .outcome = outcome,
                                .source = "/etc/dao/dao.toml",
                                .text = text,
                                .changes = "[]"});
  }
  void flush() { ASSERT_EQ(store->flush(10s), GetParam().kept); }
  std::vector<std::uint64_t> numbers(std::size_t limit = 1000) {
    std::vector<std::uint64_t> found;
    for (const Snapshot& one : store->snapshots(limit).value()) found.push_back(one.number);
    return found;
  }
  std::vector<std::string> keys(const std::string& prefix) {
    std::vector<std::string> found;
    for (const StateEntry& one : store->list(prefix).value()) found.push_back(one.key);
    return found;
  }

  TestDirectory directory;
  std::unique_ptr<Store> store = GetParam().make(directory.file("dao.db"));
};

TEST_P(EveryStore, ASnapshotIsThereAtOnceAndAfterItIsWritten) {
  EXPECT_EQ(add("a = 1\n"), 1U);
  for (int i = 0; i < 2; ++i) {
    const auto found = store->snapshot(1);
    ASSERT_TRUE(found && *found);
    EXPECT_EQ(**found, (Snapshot{.number = 1,
                                 .applied_at = kNoon,
                                 .author = "file",
                                 .reason = "it changed",
                                 .outcome = "applied",
                                 .source = "/etc/dao/dao.toml",
                                 .text = "a = 1\n",
                                 .changes = "[]"}));
    const auto all = store->snapshots(10);
    ASSERT_TRUE(all);
    ASSERT_EQ(all->size(), 1U);
    EXPECT_EQ(all->front(), without_text(**found));
    flush();
  }
  EXPECT_EQ(store->snapshot(2).value(), std::nullopt);
}

TEST_P(EveryStore, ListsTheNewestFirst) {
  for (int i = 0; i < 3; ++i) add("x");
  EXPECT_THAT(numbers(), ElementsAre(3, 2, 1));
  flush();
  add("x");
  EXPECT_THAT(numbers(), ElementsAre(4, 3, 2, 1));
  EXPECT_THAT(numbers(2), ElementsAre(4, 3));
  EXPECT_THAT(numbers(0), ElementsAre());
}

TEST_P(EveryStore, KeepsTheLastSnapshotsAndTheNewestThatWasApplied) {
  add("first");
  for (std::size_t i = 0; i < 2 * kKept; ++i) {
    add("tried", "aborted: worse");
    flush();
  }
  EXPECT_THAT(numbers(), ElementsAre(11, 10, 9, 8, 7, 1));
  EXPECT_EQ(last_applied(*store).value().value().text, "first");
  add("second");
  flush();
  EXPECT_THAT(numbers(), ElementsAre(12, 11, 10, 9, 8));
  EXPECT_EQ(last_applied(*store).value().value().text, "second");
}

TEST_P(EveryStore, AnOutcomeIsDecidedLater) {
  add("x", std::string(kRunning));
  EXPECT_EQ(last_applied(*store).value(), std::nullopt);
  store->set_outcome(1, "applied");
  EXPECT_EQ(store->snapshot(1).value()->outcome, "applied") << "before it is written";
  flush();
  store->set_outcome(1, "rolled back: errors");
  store->set_outcome(77, "applied");
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(store->snapshot(1).value()->outcome, "rolled back: errors");
    EXPECT_EQ(store->snapshots(1).value().front().outcome, "rolled back: errors");
    EXPECT_EQ(store->snapshot(77).value(), std::nullopt);
    flush();
  }
}

TEST_P(EveryStore, StateIsWhatWasPutLast) {
  store->put({{"a/1", "one", kNoon}, {"b", std::string("\0\xff", 2), kNoon}, {"a/2", "", kNoon}});
  store->put({{"a/1", "uno", kNoon + 1s}});
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(store->get("a/1").value(), (StateEntry{"a/1", "uno", kNoon + 1s}));
    EXPECT_EQ(store->get("a/2").value(), (StateEntry{"a/2", "", kNoon}));
    EXPECT_EQ(store->get("b").value(), (StateEntry{"b", std::string("\0\xff", 2), kNoon}));
    EXPECT_EQ(store->get("a").value(), std::nullopt);
    flush();
  }
}

TEST_P(EveryStore, ListsByPrefixInOrder) {
  store->put({{"b/2", "", kNoon}, {"b/4", "", kNoon}, {"a", "", kNoon}, {"c", "", kNoon}, {"b", "", kNoon}});
  flush();
  store->put({{"b/3", "", kNoon}, {"b/1", "", kNoon}, {"b/5", "", kNoon}, {"b/4", "new", kNoon}});
  store->erase({"b/2", "nowhere"});
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(keys("b/"), ElementsAre("b/1", "b/3", "b/4", "b/5"));
    EXPECT_THAT(keys(""), ElementsAre("a", "b", "b/1", "b/3", "b/4", "b/5", "c"));
    EXPECT_THAT(keys("z"), ElementsAre());
    EXPECT_EQ(store->list("b/4").value().front().value, "new");
    flush();
  }
}

TEST_P(EveryStore, WhatIsErasedIsGone) {
  store->put({{"a", "1", kNoon}});
  store->erase({"a"});
  EXPECT_EQ(store->get("a").value(), std::nullopt);
  store->put({{"a", "2", kNoon}});
  flush();
  store->erase({"a"});
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(store->get("a").value(), std::nullopt);
    EXPECT_THAT(keys(""), ElementsAre());
    flush();
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, EveryStore,
    testing::Values(Kind{"Memory", Kept::in_memory,
                         [](const std::string&) { return std::make_unique<MemoryStore>(kKept); }},
                    Kind{"Sqlite", Kept::on_disk,
                         [](const std::string& path) -> std::unique_ptr<Store> {
                           static const SystemClock clock;
                           return SqliteStore::open({.path = path, .snapshots = kKept}, clock).value();
                         }}),
    [](const testing::TestParamInfo<Kind>& kind) { return kind.param.name; });

TEST(Age, ATimeThatIsStillToComeIsNow) {
  EXPECT_EQ(age_of(kNoon, kNoon + 3s), 3s);
  EXPECT_EQ(age_of(kNoon + 3s, kNoon), 0s);
}

TEST(MemoryStoreTest, SaysWhyNothingIsKept) {
  const MemoryStore store(1, "no place");
  EXPECT_EQ(store.status().kind, "memory");
  EXPECT_EQ(store.status().why_in_memory, "no place");
}

TEST(MemoryStoreTest, LargeTextsCostOldSnapshots) {
  MemoryStore store(100);
  const std::size_t half = MemoryStore::kMostBytes / 2;
  for (int i = 0; i < 4; ++i) store.add_snapshot({.outcome = "aborted", .text = std::string(half - 10'000, 'x')});
  EXPECT_EQ(store.snapshots(100).value().size(), 2U);
  EXPECT_EQ(store.snapshots(100).value().front().number, 4U);
}

}  // namespace
}  // namespace dao::memory

// What a start begins with, if the process before was killed anywhere.
#include "dao/server/config_history.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dao/memory/memory_store.h"

namespace dao::server {
namespace {

// What comes after the first `most` changes is lost, as by a kill.
class CutStore final : public memory::Store {
 public:
  explicit CutStore(int most) : left_(most) {}

  std::uint64_t add_snapshot(memory::Snapshot snapshot) override {
    return left_-- > 0 ? inner_.add_snapshot(std::move(snapshot)) : 0;
  }
  void set_outcome(std::uint64_t number, std::string outcome) override {
    if (left_-- > 0) inner_.set_outcome(number, std::move(outcome));
  }
  void put(std::vector<memory::StateEntry> entries) override {
    if (left_-- > 0) inner_.put(std::move(entries));
  }
  void erase(std::vector<std::string> keys) override {
    if (left_-- > 0) inner_.erase(std::move(keys));
  }
  memory::Read<std::vector<memory::Snapshot>> snapshots(std::size_t limit) override { return inner_.snapshots(limit); }
  memory::Read<std::optional<memory::Snapshot>> snapshot(std::uint64_t number) override {
    return inner_.snapshot(number);
  }
  memory::Read<std::optional<memory::StateEntry>> get(std::string_view key) override { return inner_.get(key); }
  memory::Read<std::vector<memory::StateEntry>> list(std::string_view prefix) override { return inner_.list(prefix); }
  memory::Kept flush(Milliseconds patience) override { return inner_.flush(patience); }
  [[nodiscard]] memory::StoreStatus status() const override { return inner_.status(); }
  [[nodiscard]] bool cut() const { return left_ < 0; }

 private:
  memory::MemoryStore inner_{100};
  int left_;
};

ConfigHistory::Applied of_file(std::string_view text) {
  return {.author = "file", .reason = {}, .source = "x", .text = text, .file = text};
}

ConfigHistory::Applied of_api(std::string_view text, std::string_view file) {
  return {.author = "api", .reason = {}, .source = "x", .text = text, .file = file};
}

std::string resumed(const ConfigHistory& history, std::string_view file) {
  const auto snapshot = history.to_resume(file);
  return snapshot ? snapshot->text : "the file";
}

TEST(ConfigHistory, WhatTheApiAppliedGoesOnUntilTheFileChanges) {
  const ManualClock clock;
  memory::MemoryStore store(100);
  ConfigHistory history(store, clock);
  history.started_with(of_file("first"));
  EXPECT_EQ(resumed(history, "first"), "the file");
  history.record(of_api("by api", "first"));
  EXPECT_EQ(resumed(history, "first"), "by api");
  EXPECT_EQ(resumed(history, "second"), "the file");
}

// The file says something new when the process is killed: it counts, wherever that was.
TEST(ConfigHistory, ANewFileCountsWhereverItsReloadWasCut) {
  const ManualClock clock;
  bool cut = true;
  for (int most = 0; cut; ++most) {
    CutStore store(most);
    ConfigHistory history(store, clock);
    history.started_with(of_file("first"));
    history.record(of_api("by api", "first"));
    history.record(of_file("second"));
    EXPECT_EQ(resumed(history, "second"), "the file") << "after " << most << " changes";
    cut = store.cut();
  }
}

// An operator who has tried something writes it into the file as well, and takes that back later.
TEST(ConfigHistory, AFileThatSaidWhatIsInUseCountsWhenItSaysAnythingElse) {
  const ManualClock clock;
  memory::MemoryStore store(100);
  ConfigHistory history(store, clock);
  history.started_with(of_file("first"));
  const std::uint64_t number = history.record(of_api("second", "first"));
  EXPECT_EQ(history.started_with(of_file("second")), number) << "no second place in the history";
  EXPECT_EQ(resumed(history, "second"), "the file");
  EXPECT_EQ(resumed(history, "first"), "the file") << "it was second in between";
}

}  // namespace
}  // namespace dao::server

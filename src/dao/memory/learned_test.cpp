// From one mind through a store to the next, in virtual time.
#include "dao/memory/learned.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dao/base/log.h"
#include "dao/config/load.h"
#include "dao/memory/memory_store.h"

namespace dao::memory {
namespace {

using sense::Outcome;
using sense::Presence;
using std::chrono_literals::operator""h;
using std::chrono_literals::operator""min;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using testing::ElementsAre;

constexpr WallTime kNoon{std::chrono::hours(24 * 365 * 56 + 12)};

// A process: shards, mind and keeper, which end together. The store and the clocks do not.
struct World {
  World(const std::string& toml, Store& store, const ManualClock& clock)
      : config(std::make_shared<const config::Config>(config::load_text(toml, "x").value().config)),
        shard(config->rules.size(), config->upstreams.size()),
        in_flight(config->upstreams.size()),
        admission(config->upstreams.size()),
        mind(config, {.shards = {&shard}, .in_flight = in_flight, .admission = admission}),
        learned(store, clock) {}

  std::shared_ptr<const config::Config> config;
  sense::Shard shard;
  sense::InFlight in_flight;
  sense::Admission admission;
  liminal::Mind mind;
  Learned learned;
};

std::string upstream(const std::string& name, int port) {
  return "[[routes.rule.upstreams]]\nname = \"" + name + "\"\nurl = \"http://192.0.2.1:" + std::to_string(port) +
         "\"\n";
}
std::string rule(const std::string& name) {
  return "[[routes.rule]]\nname = \"" + name + "\"\nmatch.path_prefix = \"/" + name + "\"\n";
}

// Counts what is put.
class CountingStore final : public Store {
 public:
  std::uint64_t add_snapshot(Snapshot snapshot) override { return inner.add_snapshot(std::move(snapshot)); }
  void set_outcome(std::uint64_t number, std::string outcome) override {
    inner.set_outcome(number, std::move(outcome));
  }
  Read<std::vector<Snapshot>> snapshots(std::size_t limit) override { return inner.snapshots(limit); }
  Read<std::optional<Snapshot>> snapshot(std::uint64_t number) override { return inner.snapshot(number); }
  void put(std::vector<StateEntry> entries) override {
    for (const StateEntry& entry : entries) written.push_back(entry.key);
    inner.put(std::move(entries));
  }
  void erase(std::vector<std::string> keys) override { inner.erase(std::move(keys)); }
  Read<std::optional<StateEntry>> get(std::string_view key) override { return inner.get(key); }
  Read<std::vector<StateEntry>> list(std::string_view prefix) override { return inner.list(prefix); }
  Kept flush(Milliseconds patience) override { return inner.flush(patience); }
  StoreStatus status() const override {
    StoreStatus status = inner.status();
    status.begun_anew = begun_anew;
    return status;
  }

  MemoryStore inner{100};
  std::vector<std::string> written;
  std::uint64_t begun_anew = 0;
};

class LearnedTest : public testing::Test {
 protected:
  LearnedTest() {
    log::set_level(log::Level::error);
    clock.advance(1h);
    clock.set_wall(kNoon);
  }
  ~LearnedTest() override { log::set_level(log::Level::info); }

  void start(const std::string& toml) {
    world = std::make_unique<World>(toml, store, clock);
    restored = world->learned.adopt(Roster::of(*world->config), world->mind, clock.now());
    step();
  }
  void stop() {
    world->learned.save_all(world->mind, clock.now());
    world.reset();
  }
  void report(std::uint32_t number, Outcome outcome) {
    sense::report_outcome(world->shard.upstream(number).outcomes, world->admission, number, outcome, 3);
  }
  void answer(std::uint32_t number, Nanoseconds took) {
    report(number, Outcome::success);
    world->shard.record(
        sense::FinishedAttempt{.upstream = number, .status = 200, .head_ns = static_cast<std::uint64_t>(took.count())});
  }
  sense::ViewPtr step(Nanoseconds by = liminal::kStepInterval) {
    clock.advance(by);
    sense::ViewPtr view = world->mind.step(clock.now());
    world->learned.step(world->mind, clock.now());
    return view;
  }
  sense::ViewPtr last_view() { return step(Nanoseconds{1}); }
  Presence presence(std::uint32_t number) { return world->mind.presence_of(number).presence(); }
  std::vector<std::string> take_written() {
    auto written = std::exchange(store.written, {});
    std::erase(written, std::string(Learned::kAsOf));
    return written;
  }

  const std::string two = rule("r") + upstream("a", 1) + upstream("b", 2);
  ManualClock clock;
  CountingStore store;
  std::unique_ptr<World> world;
  std::size_t restored = 0;
};

// An upgrade may be asked for before the mind has taken its first step.
TEST_F(LearnedTest, WhoeverStopsBeforeTheFirstStepSavesNothingAndLosesNothing) {
  const auto stop_at_once = [this] {
    world = std::make_unique<World>(two, store, clock);
    restored = world->learned.adopt(Roster::of(*world->config), world->mind, clock.now());
    stop();
  };
  stop_at_once();
  EXPECT_THAT(take_written(), testing::IsEmpty());
  start(two);
  answer(0, 5ms);
  report(1, Outcome::refused);
  step();
  stop();
  stop_at_once();
  EXPECT_EQ(restored, 2U);
  start(two);
  EXPECT_EQ(restored, 2U);
}

TEST_F(LearnedTest, ARestartBeginsWhereItStopped) {
  start(two);
  EXPECT_EQ(restored, 0U);
  answer(0, 5ms);
  report(1, Outcome::refused);
  step();
  ASSERT_EQ(presence(1), Presence::absent);
  stop();

  clock.advance(30s);
  start(two);
  EXPECT_EQ(restored, 2U);
  EXPECT_EQ(presence(0), Presence::present);
  EXPECT_EQ(presence(1), Presence::absent);
  EXPECT_FALSE(world->admission.admits(1));
}

TEST_F(LearnedTest, ACrashCostsOneSecondOfWhoIsAbsent) {
  start(two);
  answer(0, 5ms);
  step(1s);
  report(1, Outcome::refused);
  step(1s);
  world.reset();
  start(two);
  EXPECT_EQ(presence(0), Presence::present);
  EXPECT_EQ(presence(1), Presence::absent);
}

TEST_F(LearnedTest, PresenceIsForgottenAfterFiveMinutes) {
  start(two);
  report(1, Outcome::refused);
  step();
  stop();
  clock.advance(6min);
  start(two);
  EXPECT_EQ(restored, 0U);
  EXPECT_EQ(presence(1), Presence::unknown);
  EXPECT_TRUE(world->admission.admits(1));
}

// Saved once, it stays true as long as the process runs.
TEST_F(LearnedTest, WhatDidNotChangeIsNotWrittenAgainAndIsNotOld) {
  start(two);
  report(1, Outcome::refused);
  step(1s);
  EXPECT_THAT(take_written(), ElementsAre("presence/b http://192.0.2.1:2"));
  for (int i = 0; i < 3000; ++i) {
    report(1, Outcome::cancelled);
    step(1s);
  }
  EXPECT_THAT(take_written(), ElementsAre());
  world.reset();
  start(two);
  EXPECT_EQ(presence(1), Presence::absent) << "after 50 minutes";
  EXPECT_GE(world->mind.save_presence(1, clock.now()).in_this_state, 49min);
}

TEST_F(LearnedTest, AClockThatWasSetBackMakesItNew) {
  start(two);
  report(1, Outcome::refused);
  step();
  stop();
  clock.set_wall(kNoon - 1000h);
  start(two);
  EXPECT_EQ(presence(1), Presence::absent);
}

TEST_F(LearnedTest, AnotherUrlIsAnotherUpstream) {
  start(two);
  report(1, Outcome::refused);
  step();
  stop();
  start(rule("r") + upstream("a", 1) + upstream("b", 3));
  EXPECT_EQ(presence(1), Presence::unknown);
}

TEST_F(LearnedTest, ItFollowsTheNameWhateverTheNumber) {
  start(two);
  report(1, Outcome::refused);
  step();
  stop();
  start(rule("r") + upstream("b", 2) + upstream("a", 1));
  EXPECT_EQ(presence(0), Presence::absent);
  EXPECT_EQ(presence(1), Presence::unknown);
}

TEST_F(LearnedTest, TheUsualFiguresOfARouteComeBack) {
  start(two);
  for (int i = 0; i < 700; ++i) {
    answer(0, 40ms);
    step(1s);
  }
  const double learned = last_view()->routes[0].typical_ms;
  ASSERT_NEAR(learned, 40, 1);
  stop();
  start(two);
  EXPECT_NEAR(last_view()->routes[0].typical_ms, learned, 1e-6);
  for (int i = 0; i < 10; ++i) {
    answer(0, 400ms);
    step(1s);
  }
  EXPECT_LT(last_view()->routes[0].typical_ms, 45) << "ten seconds against the experience of ten minutes";
}

TEST_F(LearnedTest, TheUsualFiguresFade) {
  const auto after = [&](Nanoseconds pause, int seconds) {
    store.inner.erase({"route/r"});
    start(two);
    for (int i = 0; i < 700; ++i) {
      answer(0, 40ms);
      step(1s);
    }
    stop();
    clock.advance(pause);
    start(two);
    for (int i = 0; i < seconds; ++i) {
      answer(0, 400ms);
      step(1s);
    }
    return last_view()->routes[0].typical_ms;
  };
  EXPECT_NEAR(after(6h, 0), 40, 1) << "a start";
  EXPECT_GT(after(6h, 60), 250) << "that is soon overruled";
  EXPECT_LT(after(0s, 60), 60);
  EXPECT_EQ(after(24h, 0), 0) << "nothing is left";
}

TEST_F(LearnedTest, WhatTheConfigurationNoLongerHasGrowsOld) {
  start(two + rule("s") + upstream("c", 3));
  for (int i = 0; i < 700; ++i) {
    answer(0, 40ms);
    answer(2, 40ms);
    step(1s);
  }
  stop();
  start(two);  // without the route s
  for (int i = 0; i < 7200; ++i) {
    answer(0, 40ms);
    step(1s);
  }
  stop();
  start(two + rule("s") + upstream("c", 3));
  EXPECT_EQ(world->mind.save_route(0).in_flight.told, 600U);
  EXPECT_NEAR(static_cast<double>(world->mind.save_route(1).in_flight.told), 150, 3) << "two half-lives";
  EXPECT_EQ(presence(2), Presence::unknown);
}

TEST_F(LearnedTest, WhatIsGoneForAWeekIsErased) {
  start(two + rule("s") + upstream("c", 3));
  for (int i = 0; i < 3; ++i) {
    answer(2, 40ms);
    step(1s);
  }
  stop();
  start(two);
  ASSERT_FALSE(store.list("route/s").value().empty());
  stop();
  clock.advance(24h * 8);
  start(two);
  EXPECT_TRUE(store.list("route/s").value().empty());
  EXPECT_TRUE(store.list("presence/c").value().empty());
}

TEST_F(LearnedTest, AReloadRestoresOnlyWhatIsNew) {
  start(two);
  report(0, Outcome::refused);
  report(1, Outcome::refused);
  step(1s);
  // Upstream b under a number that was not in use: the mind has made it new.
  store.put({{"presence/a http://192.0.2.1:1", "broken", clock.wall_now()}});
  Roster roster = Roster::of(*world->config);
  EXPECT_EQ(world->learned.adopt(roster, world->mind, clock.now()), 0U) << "nothing is new";
  EXPECT_EQ(presence(0), Presence::absent);
  std::swap(roster.upstreams[0].number, roster.upstreams[1].number);
  EXPECT_EQ(world->learned.adopt(roster, world->mind, clock.now()), 1U) << "b; of a nothing can be read";
}

// Reloads may come faster than all have had their turn.
TEST_F(LearnedTest, AllAreSavedThoughThereIsAReloadEachSecond) {
  start(two + rule("s") + upstream("c", 3) + rule("t") + upstream("d", 4));
  take_written();
  for (int i = 0; i < 8; ++i) {
    for (std::uint32_t number = 0; number < 4; ++number) answer(number, 40ms);
    world->learned.adopt(Roster::of(*world->config), world->mind, clock.now());
    step(1s);
  }
  EXPECT_THAT(take_written(), testing::IsSupersetOf({"route/r", "route/s", "route/t"}));
}

TEST_F(LearnedTest, ANewStoreGetsEverythingAgain) {
  start(two);
  report(1, Outcome::refused);
  answer(0, 40ms);
  for (int i = 0; i < 60; ++i) step(1s);
  take_written();
  for (int i = 0; i < 60; ++i) step(1s);
  ASSERT_THAT(take_written(), ElementsAre());
  store.begun_anew = 1;
  for (int i = 0; i < 60; ++i) step(1s);
  EXPECT_THAT(take_written(), testing::UnorderedElementsAre("presence/a http://192.0.2.1:1",
                                                            "presence/b http://192.0.2.1:2", "route/r"));
}

TEST_F(LearnedTest, WhatIsUnknownAgainIsErased) {
  start(two);
  answer(0, 40ms);
  step(1s);
  ASSERT_EQ(store.list("presence/").value().size(), 1U);
  for (int i = 0; i < 60 * 6; ++i) step(1s);
  ASSERT_EQ(presence(0), Presence::unknown) << "nothing was heard for five minutes";
  EXPECT_TRUE(store.list("presence/").value().empty());
}

}  // namespace
}  // namespace dao::memory

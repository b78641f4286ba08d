#include "dao/align/slow_start.h"

#include <gtest/gtest.h>

#include "dao/align/test_world.h"

namespace dao::align {
namespace {

using std::chrono_literals::operator""s;

constexpr Nanoseconds kOver = 10s;

TEST(SlowStart, GrowsFromATenthToAll) {
  const Instant since{100s};
  EXPECT_DOUBLE_EQ(share_since(since, since, kOver), 0.1);
  EXPECT_DOUBLE_EQ(share_since(since, since - 1s, kOver), 0.1) << "this worker's clock is a little behind";
  EXPECT_DOUBLE_EQ(share_since(since, since + 5s, kOver), 0.55);
  EXPECT_DOUBLE_EQ(share_since(since, since + 10s, kOver), 1);
  EXPECT_DOUBLE_EQ(share_since(since, since, Nanoseconds::zero()), 1) << "off";
  EXPECT_DOUBLE_EQ(share_since(Instant{}, since, kOver), 1) << "was always there";
}

TEST(SlowStart, CostsNothingWhileNobodyIsOnARamp) {
  World world;
  const std::vector<Candidate> candidates{{0, 1}, {1, 1}};
  SlowStart slow_start(kOver);
  world.view.number = 1;
  world.view.upstreams.resize(8);
  world.view.upstreams[5].admitted_since = world.now;  // of another route
  EXPECT_EQ(slow_start.at(world.now, world.view, candidates), Nanoseconds::zero());
  world.view.number = 2;
  world.view.upstreams[1].admitted_since = world.now;
  EXPECT_EQ(slow_start.at(world.now, world.view, candidates), kOver);
  EXPECT_EQ(slow_start.at(world.now + kOver, world.view, candidates), Nanoseconds::zero());
  SlowStart off{Nanoseconds::zero()};
  EXPECT_EQ(off.at(world.now, world.view, candidates), Nanoseconds::zero());
}

TEST(SlowStart, AnotherMemberThatJoinsChangesNoRamp) {
  World world;
  const std::vector<Candidate> candidates{{0, 4}, {1, 4}, {2, 4}};
  SlowStart slow_start(kOver);
  world.view.upstreams.resize(8);
  world.view.number = 1;
  world.view.upstreams[0].admitted_since = world.now - 8s;
  const auto weights = [&] {
    Choosing choosing = world.choosing(candidates);
    choosing.slow_start = slow_start.at(world.now, world.view, candidates);
    return std::vector<std::uint32_t>{choosing.weight(0), choosing.weight(1), choosing.weight(2)};
  };
  EXPECT_EQ(weights(), (std::vector<std::uint32_t>{3280, 4000, 4000}));
  world.view.number = 2;
  world.view.upstreams[2].admitted_since = world.now;
  EXPECT_EQ(weights(), (std::vector<std::uint32_t>{3280, 4000, 400}));
  world.now += 3s;
  EXPECT_EQ(weights(), (std::vector<std::uint32_t>{4000, 4000, 1480}));
}

TEST(SlowStart, IsInThePoliciesByWeight) {
  for (const auto kind : {config::Policy::round_robin, config::Policy::random, config::Policy::two_choices}) {
    World world;
    world.view.upstreams.resize(8);
    world.view.upstreams[1].admitted_since = world.now;
    const auto policy = make_policy({.kind = kind});
    const std::vector<Candidate> candidates{{0, 1}, {1, 1}};
    Choosing choosing = world.choosing(candidates);
    choosing.slow_start = kOver;
    int chosen = 0;
    for (int i = 0; i < 11'000; ++i) chosen += policy->choose(choosing) == 1U ? 1 : 0;
    EXPECT_NEAR(chosen, 1000, 120) << static_cast<int>(kind);
  }
}

TEST(SlowStart, IsInThePoliciesByLoad) {
  for (const auto kind : {config::Policy::least_connections, config::Policy::two_choices, config::Policy::peak_ewma,
                          config::Policy::consistent_hash, config::Policy::resonant}) {
    World world;
    world.view.upstreams.resize(8);
    world.view.upstreams[1].admitted_since = world.now;
    for (const std::size_t i : {0U, 1U}) {
      world.signals[i].sent(world.now - 1s);
      world.signals[i].answered(world.now - 1s, world.now, false);
    }
    const auto policy = make_policy({.kind = kind});
    const std::vector<Candidate> candidates{{0, 1}, {1, 1}};
    for (int i = 0; i < 110; ++i) {
      Choosing choosing = world.choosing(candidates);
      choosing.slow_start = kOver;
      choosing.key = world.random.next() | 1U;
      world.in_flight.enter(*policy->choose(choosing));
    }
    EXPECT_GE(world.in_flight.count(1), 5) << static_cast<int>(kind);
    EXPECT_LE(world.in_flight.count(1), 16) << static_cast<int>(kind);
  }
}

}  // namespace
}  // namespace dao::align

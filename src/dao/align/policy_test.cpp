#include "dao/align/policy.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <vector>

#include "dao/align/test_world.h"

namespace dao::align {
namespace {

constexpr std::array kEveryPolicy = {config::Policy::round_robin,       config::Policy::random,
                                     config::Policy::least_connections, config::Policy::two_choices,
                                     config::Policy::peak_ewma,         config::Policy::consistent_hash,
                                     config::Policy::resonant};

TEST(RoundRobin, GivesEachItsWeightInEveryRoundAndSpreadsIt) {
  const auto policy = make_round_robin();
  const std::vector<Candidate> candidates{{0, 5}, {1, 1}, {2, 1}};
  World world;
  std::string order;
  for (int i = 0; i < 7; ++i) order += static_cast<char>('a' + *policy->choose(world.choosing(candidates)));
  EXPECT_EQ(order, "aabacaa") << "the heavy one is never chosen five times in a row";
}

TEST(RoundRobin, SkipsTheUnusable) {
  const auto policy = make_round_robin();
  const auto chosen = choices(*policy, {{0, 1}, {.upstream = 1, .usable = false}, {2, 1}}, 100);
  EXPECT_EQ(chosen, (std::map<std::size_t, int>{{0, 50}, {2, 50}}));
}

TEST(Random, FollowsTheWeights) {
  const auto policy = make_random();
  auto chosen = choices(*policy, {{0, 3}, {1, 1}}, 40'000);
  EXPECT_NEAR(chosen[0], 30'000, 600);
}

TEST(LeastConnections, TakesTheLeastLoadedForItsWeight) {
  const auto policy = make_least_connections();
  World world;
  world.in_flight.enter(0);
  world.in_flight.enter(1);
  const std::vector<Candidate> candidates{{0, 1}, {1, 4}, {2, 1}};
  // Loads (in flight + 1) / weight: 2, 0.5, 1.
  EXPECT_EQ(policy->choose(world.choosing(candidates)), 1U);
  for (int i = 0; i < 6; ++i) world.in_flight.enter(1);
  EXPECT_EQ(policy->choose(world.choosing(candidates)), 2U) << "now 2, 2, 1";
}

TEST(LeastConnections, EqualOnesTakeTurns) {
  const auto policy = make_least_connections();
  const auto chosen = choices(*policy, {{0, 1}, {1, 1}, {2, 1}}, 300);
  EXPECT_EQ(chosen, (std::map<std::size_t, int>{{0, 100}, {1, 100}, {2, 100}}));
}

TEST(IntentGap, IsSmallestForTheSameIntent) {
  EXPECT_EQ(intent_gap(0, 0), 0);
  EXPECT_EQ(intent_gap(0, 2), 0) << "a request without intent goes anywhere";
  EXPECT_EQ(intent_gap(2, 6), 0);
  EXPECT_EQ(intent_gap(2, 0), 5);
  EXPECT_EQ(intent_gap(2, 4), 10);
}

TEST(EveryPolicy, ExplainsTheChoiceItThenMakes) {
  for (const auto kind : kEveryPolicy) {
    const auto policy = make_policy({.kind = kind});
    World world;
    const std::vector<Candidate> candidates{{0, 1}, {1, 2}, {.upstream = 2, .usable = false}, {3, 1}};
    world.admission.set_gate(3, sense::Gate::closed);
    std::vector<Explained> explained;
    for (int i = 0; i < 50; ++i) {
      policy->explain(world.choosing(candidates), explained);
      ASSERT_EQ(explained.size(), candidates.size());
      const auto chosen = policy->choose(world.choosing(candidates));
      ASSERT_TRUE(chosen);
      for (std::size_t j = 0; j < explained.size(); ++j) {
        EXPECT_EQ(explained[j].chosen, j == *chosen);
        EXPECT_EQ(explained[j].usable, j < 2);
      }
    }
  }
}

TEST(EveryPolicy, AsksThoseThatAreNotAdmittedWhenItFailsOpen) {
  for (const auto kind : kEveryPolicy) {
    const auto policy = make_policy({.kind = kind});
    World world;
    const std::vector<Candidate> candidates{{0, 1}, {1, 1}};
    world.admission.set_gate(0, sense::Gate::closed);
    world.admission.drain(1, true);
    Choosing choosing = world.choosing(candidates);
    EXPECT_EQ(policy->choose(choosing), std::nullopt);
    choosing.fail_open = true;
    EXPECT_EQ(policy->choose(choosing), 0U) << "what the operator drained stays drained";
  }
}

TEST(EveryPolicy, StaysNearWhenToldTo) {
  for (const auto kind : kEveryPolicy) {
    const auto policy = make_policy({.kind = kind});
    World world;
    const std::vector<Candidate> candidates{
        {.upstream = 0}, {.upstream = 1, .near = true}, {.upstream = 2}, {.upstream = 3, .near = true}};
    Choosing choosing = world.choosing(candidates);
    choosing.only_near = true;
    for (int i = 0; i < 50; ++i) {
      const auto choice = policy->choose(choosing);
      ASSERT_TRUE(choice);
      EXPECT_TRUE(candidates[*choice].near);
      world.in_flight.enter(*choice);
    }
    EXPECT_GE(world.in_flight.count(1), 10) << static_cast<int>(kind);
    EXPECT_GE(world.in_flight.count(3), 10) << static_cast<int>(kind);
    world.admission.set_gate(1, sense::Gate::closed);
    world.admission.set_gate(3, sense::Gate::closed);
    EXPECT_EQ(policy->choose(choosing), std::nullopt);
  }
}

TEST(EveryPolicy, SaysSoWhenNobodyIsUsable) {
  for (const auto kind : kEveryPolicy) {
    const auto policy = make_policy({.kind = kind});
    EXPECT_TRUE(choices(*policy, {{.upstream = 0, .usable = false}, {.upstream = 1, .usable = false}}, 3).empty());
    EXPECT_TRUE(choices(*policy, {}, 3).empty());
  }
}

}  // namespace
}  // namespace dao::align

#include "dao/align/policy.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

namespace dao::align {
namespace {

std::map<std::size_t, int> choices(Policy& policy, const std::vector<Candidate>& candidates, int count) {
  const sense::InFlight in_flight(8);
  Random random(1);
  std::map<std::size_t, int> chosen;
  for (int i = 0; i < count; ++i) {
    const auto choice = policy.choose(candidates, in_flight, random);
    if (choice) ++chosen[*choice];
  }
  return chosen;
}

TEST(RoundRobin, GivesEachItsWeightInEveryRoundAndSpreadsIt) {
  const auto policy = make_round_robin();
  const std::vector<Candidate> candidates{{0, 5}, {1, 1}, {2, 1}};
  const sense::InFlight in_flight(3);
  Random random(1);
  std::string order;
  for (int i = 0; i < 7; ++i) order += static_cast<char>('a' + *policy->choose(candidates, in_flight, random));
  EXPECT_EQ(order, "aabacaa") << "the heavy one is never chosen five times in a row";
}

TEST(RoundRobin, SkipsTheUnusable) {
  const auto policy = make_round_robin();
  const auto chosen = choices(*policy, {{0, 1, true}, {1, 1, false}, {2, 1, true}}, 100);
  EXPECT_EQ(chosen, (std::map<std::size_t, int>{{0, 50}, {2, 50}}));
}

TEST(Random, FollowsTheWeights) {
  const auto policy = make_random();
  auto chosen = choices(*policy, {{0, 3}, {1, 1}}, 40'000);
  EXPECT_NEAR(chosen[0], 30'000, 600);
}

TEST(LeastConnections, TakesTheLeastLoadedForItsWeight) {
  const auto policy = make_least_connections();
  sense::InFlight in_flight(3);
  Random random(1);
  in_flight.enter(0);
  in_flight.enter(1);
  const std::vector<Candidate> candidates{{0, 1}, {1, 4}, {2, 1}};
  // Loads (in flight + 1) / weight: 2, 0.5, 1.
  EXPECT_EQ(policy->choose(candidates, in_flight, random), 1U);
  for (int i = 0; i < 6; ++i) in_flight.enter(1);
  EXPECT_EQ(policy->choose(candidates, in_flight, random), 2U) << "now 2, 2, 1";
}

TEST(LeastConnections, EqualOnesTakeTurns) {
  const auto policy = make_least_connections();
  const auto chosen = choices(*policy, {{0, 1}, {1, 1}, {2, 1}}, 300);
  EXPECT_EQ(chosen, (std::map<std::size_t, int>{{0, 100}, {1, 100}, {2, 100}}));
}

TEST(EveryPolicy, SaysSoWhenNobodyIsUsable) {
  for (const auto kind : {config::Policy::round_robin, config::Policy::random, config::Policy::least_connections}) {
    const auto policy = make_policy(kind);
    EXPECT_TRUE(choices(*policy, {{0, 1, false}, {1, 1, false}}, 3).empty());
    EXPECT_TRUE(choices(*policy, {}, 3).empty());
  }
}

}  // namespace
}  // namespace dao::align

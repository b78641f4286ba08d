#include <gtest/gtest.h>

#include <algorithm>

#include "dao/align/policy.h"
#include "dao/align/test_world.h"
#include "dao/align/weighted_draw.h"

namespace dao::align {
namespace {

TEST(WeightedDraw, FollowsTheWeights) {
  WeightedDraw draw;
  const std::vector<Candidate> candidates{{0, 1}, {1, 1000}, {2, 499}, {3, 500}};
  draw.prepare(candidates);
  Random random{7};
  std::vector<int> drawn(candidates.size());
  constexpr int kDraws = 400'000;
  for (int i = 0; i < kDraws; ++i) ++drawn[draw.draw(random)];
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    EXPECT_NEAR(drawn[i], kDraws * (candidates[i].weight / 2000.0), 1500) << i;
  }
}

TEST(TwoChoices, ComparesTwoDifferentOnes) {
  const auto policy = make_two_choices();
  World world;
  world.in_flight.enter(0);
  const std::vector<Candidate> candidates{{0, 1}, {1, 1}};
  for (int i = 0; i < 1000; ++i) {
    ASSERT_EQ(policy->choose(world.choosing(candidates)), 1U) << "of two hosts both are always compared";
  }
}

TEST(TwoChoices, IsEvenAmongFewIdleHosts) {
  for (const std::uint32_t hosts : {2U, 3U}) {
    const auto policy = make_two_choices();
    std::vector<Candidate> candidates;
    for (std::uint32_t i = 0; i < hosts; ++i) candidates.push_back({i, 1});
    for (const auto& [host, count] : choices(*policy, candidates, 1)) EXPECT_LT(host, hosts);
    World world;
    std::vector<int> chosen(hosts);
    for (int i = 0; i < 30'000; ++i) ++chosen[*policy->choose(world.choosing(candidates))];
    for (const int count : chosen) EXPECT_NEAR(count, 30'000 / static_cast<int>(hosts), 500);
  }
}

TEST(TwoChoices, FollowsTheWeightsWhileIdleAndUnderLoad) {
  const auto policy = make_two_choices();
  World world;
  const std::vector<Candidate> candidates{{0, 3}, {1, 1}};
  int heavy = 0;
  for (int i = 0; i < 20'000; ++i) heavy += policy->choose(world.choosing(candidates)) == 0U ? 1 : 0;
  EXPECT_NEAR(heavy, 15'000, 400);
  for (int i = 0; i < 400; ++i) world.in_flight.enter(*policy->choose(world.choosing(candidates)));
  EXPECT_NEAR(static_cast<double>(world.in_flight.count(0)), 300, 2);
}

TEST(TwoChoices, KeepsTheQueuesOfManyHostsAlike) {
  constexpr std::uint32_t kHosts = 100;
  const auto policy = make_two_choices();
  World world{kHosts};
  std::vector<Candidate> candidates;
  for (std::uint32_t i = 0; i < kHosts; ++i) candidates.push_back({i, 1});
  for (int i = 0; i < 1000; ++i) world.in_flight.enter(*policy->choose(world.choosing(candidates)));
  std::int64_t most = 0;
  for (std::size_t i = 0; i < kHosts; ++i) most = std::max(most, world.in_flight.count(i));
  EXPECT_LE(most, 13) << "ten each, and log log n more";
}

TEST(TwoChoices, FindsTheFewThatAreUsable) {
  constexpr std::uint32_t kHosts = 200;
  const auto policy = make_two_choices();
  World world{kHosts};
  std::vector<Candidate> candidates;
  for (std::uint32_t i = 0; i < kHosts; ++i) candidates.push_back({.upstream = i, .usable = i == 17 || i == 140});
  world.in_flight.enter(17);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(policy->choose(world.choosing(candidates)), 140U);
}

}  // namespace
}  // namespace dao::align

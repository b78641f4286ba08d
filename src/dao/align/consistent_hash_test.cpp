#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "dao/align/hash_ring.h"
#include "dao/align/policy.h"
#include "dao/align/stable_hash.h"
#include "dao/align/test_world.h"

namespace dao::align {
namespace {

constexpr std::size_t kKeys = 20'000;

std::vector<Candidate> hosts(std::uint32_t count, std::uint32_t weight = 1) {
  std::vector<Candidate> candidates;
  for (std::uint32_t i = 0; i < count; ++i) {
    candidates.push_back({.upstream = i, .weight = weight, .identity = stable_hash("host-" + std::to_string(i))});
  }
  return candidates;
}

std::uint64_t key_of(std::size_t number) {
  return stable_hash("key-" + std::to_string(number));
}

// The upstream of each key, nobody under load.
std::vector<std::uint32_t> placed(const std::vector<Candidate>& candidates) {
  World world{64};
  const auto policy = make_consistent_hash();
  std::vector<std::uint32_t> upstreams;
  for (std::size_t i = 0; i < kKeys; ++i) {
    Choosing choosing = world.choosing(candidates);
    choosing.key = key_of(i);
    upstreams.push_back(candidates[*policy->choose(choosing)].upstream);
  }
  return upstreams;
}

TEST(StableHash, IsTheSameInEveryVersion) {
  EXPECT_EQ(stable_hash(std::string_view{}), mixed(0xcbf29ce484222325U));
  EXPECT_EQ(stable_hash("a"), mixed(0xaf63dc4c8601ec8cU)) << "FNV-1a of \"a\"";
}

TEST(HashRing, FindsTheNextPoint) {
  HashRing ring;
  ring.prepare(hosts(5));
  ASSERT_EQ(ring.points(), 5U * HashRing::kPoints);
  // Walking along all points meets every place in order; find() agrees with that walk.
  std::vector<std::size_t> seen;
  for (std::uint64_t place = 0; place < (1U << 16U); ++place) {
    const std::size_t point = ring.find(place << 48U);
    if (seen.empty() || seen.back() != point) seen.push_back(point);
  }
  const auto wrapped = std::ranges::is_sorted_until(seen);
  EXPECT_LE(seen.end() - wrapped, 1) << "only after the last point it begins again";
  EXPECT_GT(seen.size(), ring.points() * 9 / 10);
}

TEST(HashRing, StaysSmall) {
  std::vector<Candidate> heavy = hosts(1000, 999);
  heavy[0].weight = 1;
  HashRing ring;
  ring.prepare(heavy);
  EXPECT_LE(ring.points(), HashRing::kMostPoints + 1000);
  EXPECT_GE(ring.points(), 1000U);
}

TEST(ConsistentHash, SharesTheKeysByWeight) {
  std::vector<Candidate> candidates = hosts(4);
  candidates[0].weight = 3;
  std::vector<std::size_t> keys(4);
  for (const std::uint32_t upstream : placed(candidates)) ++keys[upstream];
  EXPECT_NEAR(static_cast<double>(keys[0]), kKeys / 2.0, kKeys * 0.08);
  for (const std::size_t i : {1U, 2U, 3U}) EXPECT_NEAR(static_cast<double>(keys[i]), kKeys / 6.0, kKeys * 0.05);
}

TEST(ConsistentHash, OnlyKeysOfTheOneThatLeavesMove) {
  const std::vector<std::uint32_t> before = placed(hosts(10));
  std::vector<Candidate> without = hosts(10);
  without.erase(without.begin() + 3);
  const std::vector<std::uint32_t> after = placed(without);
  std::vector<Candidate> away = hosts(10);
  away[3].usable = false;
  const std::vector<std::uint32_t> absent = placed(away);
  EXPECT_EQ(after, absent) << "whether it left the configuration or is only away";
  std::size_t moved = 0;
  for (std::size_t i = 0; i < kKeys; ++i) {
    if (before[i] != 3) {
      ASSERT_EQ(after[i], before[i]);
    } else {
      ASSERT_NE(after[i], 3U);
      ++moved;
    }
  }
  EXPECT_NEAR(static_cast<double>(moved), kKeys / 10.0, kKeys * 0.04);
}

TEST(ConsistentHash, TheOrderOfTheConfigurationIsNothing) {
  std::vector<Candidate> turned = hosts(10);
  std::ranges::reverse(turned);
  EXPECT_EQ(placed(turned), placed(hosts(10)));
}

TEST(ConsistentHash, APopularKeyOverloadsNobody) {
  for (const std::uint32_t count : {2U, 5U, 40U}) {
    const std::vector<Candidate> candidates = hosts(count);
    World world{64};
    const auto policy = make_consistent_hash();
    Choosing choosing = world.choosing(candidates);
    choosing.key = key_of(1);
    std::vector<std::size_t> chosen;
    for (int under_way = 0; under_way < 400; ++under_way) {
      const std::size_t index = *policy->choose(choosing);
      world.in_flight.enter(candidates[index].upstream);
      chosen.push_back(index);
    }
    const auto bound = static_cast<std::int64_t>(std::ceil(1.25 * 400 / count));
    for (std::uint32_t i = 0; i < count; ++i) EXPECT_LE(world.in_flight.count(i), bound) << count;
    for (const std::size_t index : chosen) world.in_flight.leave(candidates[index].upstream);
    for (std::uint32_t i = 0; i < count; ++i) EXPECT_EQ(policy->choose(choosing), chosen[0]) << "idle: back home";
  }
}

TEST(ConsistentHash, WithoutAKeyItGoesAnywhere) {
  const auto chosen = choices(*make_consistent_hash(), hosts(4), 1);
  ASSERT_EQ(chosen.size(), 1U);
  World world;
  const auto policy = make_consistent_hash();
  const std::vector<Candidate> candidates = hosts(4);
  std::vector<int> count(4);
  for (int i = 0; i < 4000; ++i) ++count[*policy->choose(world.choosing(candidates))];
  for (const int one : count) EXPECT_GT(one, 600);
}

TEST(ConsistentHash, FindsTheOneThatIsUsableAmongMany) {
  std::vector<Candidate> candidates = hosts(1000);
  for (Candidate& candidate : candidates) candidate.usable = candidate.upstream == 123;
  World world{1000};
  const auto policy = make_consistent_hash();
  Choosing choosing = world.choosing(candidates);
  for (std::size_t i = 0; i < 50; ++i) {
    choosing.key = key_of(i);
    EXPECT_EQ(policy->choose(choosing), 123U);
  }
}

}  // namespace
}  // namespace dao::align

#include "dao/liminal/interpolate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <utility>

#include "dao/config/load.h"
#include "dao/liminal/side_of.h"

namespace dao::liminal {
namespace {

config::Config load(const std::string& rule, const std::string& upstreams, const std::string& before = {}) {
  auto loaded = config::load_text(before + "[[routes.rule]]\nname = \"r\"\n" + rule + upstreams, "test");
  EXPECT_TRUE(loaded) << loaded.error().front().message;
  return std::move(loaded->config);
}

std::string upstream(const std::string& name, int weight) {
  return "[[routes.rule.upstreams]]\nname = \"" + name + "\"\nurl = \"http://" + name +
         "\"\nweight = " + std::to_string(weight) + "\n";
}

struct Pair {
  config::Config before = load("", upstream("a", 3) + upstream("b", 1) + upstream("gone", 4));
  config::Config after = load("", upstream("b", 9) + upstream("a", 1) + upstream("new", 2));
};

double share_of(const std::vector<UpstreamShare>& shares, std::string_view name) {
  for (const UpstreamShare& share : shares) {
    if (share.upstream == name) return share.share;
  }
  return 0;
}

TEST(Interpolate, SharesOfUpstreamsAreAStraightLine) {
  const Pair pair;
  for (int step = 0; step <= 100; ++step) {
    const double progress = step / 100.0;
    const auto shares = shares_of(pair.before, pair.before.rules[0], pair.after, pair.after.rules[0], progress);
    ASSERT_EQ(shares.size(), 4U);
    EXPECT_NEAR(share_of(shares, "a"), 3.0 / 8 + (1.0 / 12 - 3.0 / 8) * progress, 1e-9);
    EXPECT_NEAR(share_of(shares, "b"), 1.0 / 8 + (9.0 / 12 - 1.0 / 8) * progress, 1e-9);
    EXPECT_NEAR(share_of(shares, "gone"), 0.5 * (1 - progress), 1e-9);
    EXPECT_NEAR(share_of(shares, "new"), progress / 6, 1e-9);
  }
}

// What a worker does: a side by the client's point, then an upstream by the weights of that side.
TEST(Interpolate, WhatWorkersDoComesToTheseShares) {
  const Pair pair;
  Random random(5);
  for (const double progress : {0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0}) {
    const std::uint64_t threshold = threshold_of(progress);
    std::map<std::string, double> counts;
    constexpr std::uint32_t kClients = 100'000;
    for (std::uint32_t client = 0; client < kClients; ++client) {
      std::uint8_t address[4];
      std::memcpy(address, &client, sizeof address);
      const Side side = side_of(point_of_address(address, 64, 77), threshold);
      const config::Config& config = side == Side::new_config ? pair.after : pair.before;
      std::uint64_t total = 0;
      for (const auto& one : config.rules[0].upstreams) total += one.weight;
      std::uint64_t drawn = random.below(total);
      for (const auto& one : config.rules[0].upstreams) {
        if (drawn < one.weight) {
          counts[config.upstreams[one.index].name] += 1.0 / kClients;
          break;
        }
        drawn -= one.weight;
      }
    }
    for (const auto& share : shares_of(pair.before, pair.before.rules[0], pair.after, pair.after.rules[0], progress)) {
      EXPECT_NEAR(counts[std::string(share.upstream)], share.share, 0.01) << share.upstream << " at " << progress;
    }
  }
}

TEST(Interpolate, ALimitThatBothHaveIsOne) {
  const config::RateLimit before{.rps = 1, .burst = 10};
  const config::RateLimit after{.rpm = 120, .burst = 30};
  for (int step = 0; step <= 100; ++step) {
    const double progress = step / 100.0;
    const EffectiveRates rates = effective_rates(before, after, progress);
    EXPECT_TRUE(rates.shared);
    ASSERT_TRUE(rates.before);
    EXPECT_NEAR(rates.before->per_second, 1 + progress, 1e-9);
    EXPECT_NEAR(rates.before->burst, 10 + 20 * progress, 1e-9);
    EXPECT_EQ(rates.before, rates.after);
  }
}

TEST(Interpolate, ALimitOfOneSideGrowsWithItsClients) {
  const config::RateLimit limit{.rps = 100, .burst = 50};
  for (const double progress : {0.0, 0.1, 0.5, 1.0}) {
    const EffectiveRates rates = effective_rates({}, limit, progress);
    EXPECT_FALSE(rates.shared);
    EXPECT_FALSE(rates.before);
    ASSERT_TRUE(rates.after);
    EXPECT_NEAR(rates.after->per_second, std::max(0.1, 100 * progress), 1e-9);
    EXPECT_GE(rates.after->burst, 1);
    const EffectiveRates back = effective_rates(limit, {}, progress);
    EXPECT_FALSE(back.after);
    EXPECT_NEAR(back.before->per_second, std::max(0.1, 100 * (1 - progress)), 1e-9);
  }
  EXPECT_FALSE(effective_rates({}, {}, 0.5).before) << "no limit at all";
}

TEST(Interpolate, ALimitOfEachClientIsNotDivided) {
  const config::RateLimit route{.rps = 100, .burst = 50};
  const config::RateLimit client{.rps = 10, .burst = 5, .key = config::RateLimit::Key::client};
  const EffectiveRates rates = effective_rates(route, client, 0.25);
  EXPECT_FALSE(rates.shared) << "they count different things";
  EXPECT_NEAR(rates.before->per_second, 75, 1e-9);
  EXPECT_NEAR(rates.after->per_second, 10, 1e-9);
}

TEST(Interpolate, LimitsOfTheProcess) {
  const config::Config before =
      load("", upstream("a", 1),
           "[server]\nmax_connections = 1000\nmax_connections_per_client = 10\n[proxy]\nretry_budget_percent = 20\n");
  const config::Config after =
      load("", upstream("a", 1),
           "[server]\nmax_connections = 3000\n[proxy]\nretry_budget_percent = 40\npool_max_idle = 200\n");
  for (int step = 0; step <= 100; ++step) {
    const double progress = step / 100.0;
    const EffectiveLimits limits = effective_limits(before, after, progress);
    EXPECT_NEAR(static_cast<double>(limits.max_connections), 1000 + 2000 * progress, 10);
    EXPECT_EQ(limits.max_connections_per_client, step == 100 ? 0U : 10U) << "none is not a number between";
    EXPECT_NEAR(limits.retry_budget_percent, 20 + 20 * progress, 1e-9);
  }
  EXPECT_EQ(interpolated_limit(0, 5, 0.99), 0U);
  EXPECT_EQ(interpolated_limit(0, 5, 1), 5U);
}

}  // namespace
}  // namespace dao::liminal

// What the evidence is, where it can be worked out by hand. Whether it is right in the long run is tried in
// transition_trials_test.cpp.
#include "dao/liminal/comparison.h"

#include <gtest/gtest.h>

#include <cmath>

#include "dao/base/random.h"
#include "dao/liminal/evidence.h"

namespace dao::liminal {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

// The integral that log_evidence() is the closed form of.
double by_quadrature(double sum, double variance, double information) {
  const double prior_variance = information / kSharpestAt / variance;
  double integral = 0;
  constexpr int kSteps = 200'000;
  const double most = 12 * std::sqrt(prior_variance);
  for (int i = 0; i < kSteps; ++i) {
    const double drift = most * (i + 0.5) / kSteps;
    const double weight = 2 * std::exp(-drift * drift / (2 * prior_variance)) / std::sqrt(2 * M_PI * prior_variance);
    integral += weight * std::exp(drift * sum - drift * drift * variance / 2) * most / kSteps;
  }
  return integral;
}

TEST(Evidence, IsTheMixtureThatItClaimsToBe) {
  for (const double sum : {-30.0, -5.0, 0.0, 3.0, 20.0, 40.0}) {
    for (const double information : {5.0, 50.0, 800.0}) {
      const double variance = 100;
      EXPECT_NEAR(evidence_of(log_evidence(sum, variance, information)) / by_quadrature(sum, variance, information), 1,
                  1e-3)
          << sum << " " << information;
    }
  }
}

TEST(Evidence, NothingIsNoEvidence) {
  EXPECT_EQ(evidence_of(log_evidence(0, 0, 0)), 1);
  EXPECT_LT(evidence_of(log_evidence(0, 0, 1000)), 1);
  EXPECT_TRUE(std::isfinite(log_evidence(-1e9, 1, 1e6)));
  EXPECT_TRUE(std::isfinite(evidence_of(log_evidence(1e9, 1, 1e6))));
}

// Under the null hypothesis the chance of ever reaching 100, however often one looks, is at most 1 in 100.
TEST(Evidence, LookingAllTheTimeIsAllowed) {
  Random random(7);
  constexpr int kWalks = 4000;
  int crossed = 0;
  for (int walk = 0; walk < kWalks; ++walk) {
    double sum = 0;
    for (int step = 1; step <= 1000; ++step) {
      sum += (random.next() >> 63U) != 0 ? 1 : -1;
      if (log_evidence(sum, step, step) < std::log(100.0)) continue;
      ++crossed;
      break;
    }
  }
  EXPECT_LE(crossed, kWalks / 100);
  EXPECT_GT(crossed, kWalks / 2000) << "or it would find nothing";
}

struct Sides {
  Comparison comparison{{}, 1s, Instant{}};
  Instant now{};
  // A second in which each cell below `cells` has one request on the side it is on.
  void second(std::uint16_t cells, std::uint16_t on_new, auto&& failed) {
    for (std::uint16_t cell = 0; cell < cells; ++cell) {
      const Side side = cell < on_new ? Side::new_config : Side::old_config;
      comparison.add({.side = side, .cell = cell, .failed = failed(cell, side), .bucket = 900});
    }
    now += 1s;
    comparison.step(now);
  }
};

TEST(Comparison, OneClientThatFailsIsOneVoice) {
  Sides sides;
  for (int i = 0; i < 1000; ++i) {
    sides.second(1000, 100, [](std::uint16_t cell, Side) { return cell == 7; });
    ASSERT_LT(sides.comparison.evidence(), 2);
  }
  EXPECT_EQ(sides.comparison.figures(Side::new_config).failures, 1000U);
  EXPECT_NEAR(sides.comparison.effective_cells(), 1000, 1e-6);
}

TEST(Comparison, ManyClientsThatFailAreEvidence) {
  Sides sides;
  sides.second(1000, 20, [](std::uint16_t, Side side) { return side == Side::new_config; });
  EXPECT_EQ(sides.comparison.worst(), Metric::errors);
  EXPECT_GT(sides.comparison.evidence(Metric::errors), 2);
  EXPECT_NEAR(sides.comparison.error_increase(), 1, 0.02);
  for (int i = 0; i < 3; ++i) {
    sides.second(1000, 60, [](std::uint16_t, Side side) { return side == Side::new_config; });
  }
  EXPECT_GT(sides.comparison.evidence(), 100);
}

TEST(Comparison, AnOutageOfBothSidesIsNone) {
  Sides sides;
  for (int i = 0; i < 100; ++i) {
    sides.second(1000, 100, [i](std::uint16_t, Side) { return i % 10 == 0; });
  }
  EXPECT_LT(sides.comparison.evidence(), 2);
  EXPECT_NEAR(sides.comparison.error_increase(), 0, 1e-9);
}

TEST(Comparison, OfAFewClientsEachIsComparedWithItself) {
  Sides sides;
  const auto fails = [](std::uint16_t cell, Side side) { return cell == 0 || side == Side::new_config; };
  for (int i = 0; i < 20; ++i) sides.second(10, 0, fails);
  EXPECT_EQ(sides.comparison.evidence(), 1) << "there is nothing to compare";
  for (int i = 0; i < 60; ++i) sides.second(10, 1, fails);
  EXPECT_LT(sides.comparison.evidence(), 2) << "the client that fails has always failed";
  for (int i = 0; i < 200; ++i) sides.second(10, 3, fails);
  EXPECT_GT(sides.comparison.evidence(Metric::errors), 50) << "the others failed when they changed sides";
}

TEST(Comparison, BlocksWaitForBothSides) {
  Comparison comparison({}, 1s, Instant{});
  const auto one = [&](Side side) { comparison.add({.side = side, .cell = 1, .bucket = 900}); };
  one(Side::old_config);
  EXPECT_FALSE(comparison.step(Instant{} + 1s)) << "nothing on the new side yet";
  one(Side::new_config);
  EXPECT_FALSE(comparison.step(Instant{} + 4s)) << "not much";
  EXPECT_TRUE(comparison.step(Instant{} + 5s)) << "but it will not be more";
  one(Side::old_config);
  EXPECT_FALSE(comparison.step(Instant{} + 9s));
  EXPECT_TRUE(comparison.step(Instant{} + 10s)) << "one side alone: what clients were before";
  EXPECT_FALSE(comparison.step(Instant{} + 20s)) << "nothing at all";
}

}  // namespace
}  // namespace dao::liminal

#include "dao/sense/resonance.h"

#include <gtest/gtest.h>

#include "dao/sense/typical.h"

namespace dao::sense {
namespace {

TEST(LatencyTerm, IsOneAtTheTypicalTimeAndTenFrom1023TimesOn) {
  EXPECT_EQ(latency_term(0, 20), 0);
  EXPECT_DOUBLE_EQ(latency_term(20, 20), 1);
  EXPECT_DOUBLE_EQ(latency_term(20 * 1023, 20), 10);
  EXPECT_DOUBLE_EQ(latency_term(1e9, 20), 10);
}

TEST(LatencyTerm, KnowsNothingWithoutATypicalTime) {
  EXPECT_EQ(latency_term(100, 0), 0);
}

TEST(LatencyTerm, HasNoUnit) {
  EXPECT_DOUBLE_EQ(latency_term(0.2, 0.05), latency_term(2000, 500));
}

TEST(ErrorTerm, IsZeroUpToTheUsualRateAndTenWhenAllFails) {
  EXPECT_EQ(error_term(0, 0), 0);
  EXPECT_EQ(error_term(0.05, 0.1), 0);
  EXPECT_NEAR(error_term(0.01, 0), 3.5, 0.05);
  EXPECT_NEAR(error_term(0.1, 0), 6.7, 0.05);
  EXPECT_DOUBLE_EQ(error_term(1, 0), 10);
  EXPECT_DOUBLE_EQ(error_term(1, 0.3), 10);
  EXPECT_EQ(error_term(1, 1), 0) << "what always fails is no worse than usual";
}

TEST(QueueTerm, IsOneAtTheUsualNumber) {
  EXPECT_EQ(queue_term(0, 8), 0);
  EXPECT_DOUBLE_EQ(queue_term(8, 8), 1);
  EXPECT_DOUBLE_EQ(queue_term(1, 0.01), 1) << "less than one is no usual number";
  EXPECT_DOUBLE_EQ(queue_term(1e9, 8), 10);
}

TEST(LoadResonance, GrowsWithEachFigureAndStaysWithinItsScale) {
  for (const double usual : {0.0, 0.001, 1.0, 30.0}) {
    double latency = 0;
    double queue = 0;
    double errors = 0;
    for (double value = 0; value < 1e6; value = value * 1.5 + 0.001) {
      const double share = value / 1e6;
      EXPECT_GE(latency_term(value, usual), latency);
      EXPECT_GE(queue_term(value, usual), queue);
      EXPECT_GE(error_term(share, usual / 100), errors);
      latency = latency_term(value, usual);
      queue = queue_term(value, usual);
      errors = error_term(share, usual / 100);
      EXPECT_LE(std::max({latency, queue, errors}), 10);
    }
  }
}

TEST(LoadResonance, IsTheMeanOfItsTerms) {
  UpstreamView upstream;
  upstream.p95_ms = 30;
  upstream.error_rate = 1;
  upstream.in_flight = 7;
  RouteView route;
  route.typical_ms = 10;
  route.typical_in_flight = 1;
  const LoadTerms terms = load_terms(upstream, route);
  EXPECT_DOUBLE_EQ(terms.latency, 2);
  EXPECT_DOUBLE_EQ(terms.errors, 10);
  EXPECT_DOUBLE_EQ(terms.queue, 3);
  EXPECT_DOUBLE_EQ(terms.load_resonance(), 5);
}

TEST(TypicalTest, IsWhatWasToldFirstThenFollowsSlowlyUpAndFasterDown) {
  Typical typical{0.001};
  EXPECT_EQ(typical.value(), 0);
  typical.learn(10);
  EXPECT_NEAR(typical.value(), 10, 1e-9);
  for (int second = 0; second < 3600; ++second) typical.learn(10);
  for (int second = 0; second < 60; ++second) typical.learn(100);
  EXPECT_LT(typical.value(), 13) << "a minute of ten times the usual";
  for (int second = 0; second < 3600; ++second) typical.learn(100);
  EXPECT_GT(typical.value(), 95) << "an hour of it";
  for (int second = 0; second < 300; ++second) typical.learn(10);
  EXPECT_LT(typical.value(), 11) << "and back within minutes";
}

TEST(TypicalTest, KeepsZero) {
  Typical typical{1};
  for (int second = 0; second < 10; ++second) typical.learn(0);
  EXPECT_EQ(typical.value(), 0);
}

TEST(TypicalTest, GoesOnWhereItWasSaved) {
  Typical typical{0.001};
  for (int second = 0; second < 1000; ++second) typical.learn(10);
  Typical restored{0.001};
  restored.restore(typical.save(), 1);
  EXPECT_NEAR(restored.value(), 10, 1e-9);
  for (int second = 0; second < 60; ++second) restored.learn(100);
  EXPECT_LT(restored.value(), 13) << "as if there had been no restart";
}

TEST(TypicalTest, WhatIsBelievedLessIsOverruledSooner) {
  const auto after_a_minute = [](std::uint64_t told, double weight) {
    Typical typical{0.001};
    typical.restore({.value = 10, .told = told}, weight);
    for (int second = 0; second < 60; ++second) typical.learn(100);
    return typical.value();
  };
  EXPECT_LT(after_a_minute(600, 0.5), 20);
  EXPECT_GT(after_a_minute(600, 0.05), 40);
  EXPECT_GT(after_a_minute(30, 0.5), 60);
  EXPECT_NEAR(after_a_minute(600, 0.001), 100, 1e-6) << "less than a second of it is nothing";
  EXPECT_NEAR(after_a_minute(0, 1), 100, 1e-6);
}

TEST(TypicalTest, WhatWasSeenIsNotReplaced) {
  Typical typical{0.001};
  typical.learn(100);
  typical.restore({.value = 10, .told = 600}, 1);
  EXPECT_NEAR(typical.value(), 100, 1e-9);
}

TEST(LowerMedian, HoldsWhileHalfGoesWrong) {
  EXPECT_EQ(lower_median({}), 0);
  EXPECT_EQ(lower_median({5}), 5);
  EXPECT_EQ(lower_median({100, 1}), 1);
  EXPECT_EQ(lower_median({100, 1, 2, 200}), 2);
  EXPECT_EQ(lower_median({3, 1, 2}), 2);
}

}  // namespace
}  // namespace dao::sense

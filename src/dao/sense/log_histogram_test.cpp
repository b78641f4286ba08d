#include "dao/sense/log_histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "dao/base/random.h"

namespace dao::sense {
namespace {

constexpr double kStatedError = 0.01;

double uniform(Random& random) {
  return (static_cast<double>(random.next() >> 11U) + 0.5) / 9007199254740992.0;
}

TEST(LogBuckets, EachDurationIsNearTheMiddleOfItsBucket) {
  Random random{1};
  for (int i = 0; i < 100'000; ++i) {
    const auto exact = static_cast<std::uint64_t>(std::exp2(10 + 30 * uniform(random)));
    const auto told = static_cast<double>(log_bucket_middle(log_bucket_of(exact)));
    ASSERT_NEAR(told / static_cast<double>(exact), 1, 1.0 / 128) << exact;
  }
}

TEST(LogBuckets, GrowWithTheDurationAndMissNone) {
  std::uint16_t last = log_bucket_of(1024);
  EXPECT_EQ(last, 0);
  for (std::uint64_t nanoseconds = 1024; nanoseconds < 1'100'000'000'000; nanoseconds += nanoseconds / 200 + 1) {
    const std::uint16_t bucket = log_bucket_of(nanoseconds);
    ASSERT_TRUE(bucket == last || bucket == last + 1) << nanoseconds;
    last = bucket;
  }
  EXPECT_EQ(last, kLogBuckets - 1);
}

TEST(LogBuckets, WhatIsOutsideCountsAsTheFirstOrTheLast) {
  EXPECT_EQ(log_bucket_of(0), 0);
  EXPECT_EQ(log_bucket_of(~std::uint64_t{0}), kLogBuckets - 1);
}

TEST(LogHistogramTest, IsZeroWhenEmpty) {
  const LogHistogram histogram;
  EXPECT_EQ(histogram.count(), 0U);
  EXPECT_EQ(histogram.quantile_nanoseconds(0.5), 0);
  EXPECT_EQ(histogram.mean_nanoseconds(), 0);
}

// Against exact quantiles of the same values, for distributions of many shapes and sizes.
TEST(LogHistogramTest, QuantilesAndMeanAreWithinTheStatedError) {
  Random random{7};
  for (int round = 0; round < 300; ++round) {
    const auto size = static_cast<std::size_t>(1 + random.below(2000));
    const double scale = std::exp2(14 + 14 * uniform(random));  // 16 us .. 0.27 s
    const int shape = static_cast<int>(random.below(4));
    std::vector<std::uint64_t> exact;
    LogHistogram histogram;
    double sum = 0;
    for (std::size_t i = 0; i < size; ++i) {
      double value = scale;
      if (shape == 1) value *= 0.1 - std::log(uniform(random));        // exponential
      if (shape == 2) value *= std::pow(uniform(random), -1.0 / 1.5);  // Pareto
      if (shape == 3) value *= random.below(10) == 0 ? 10 : 1;         // two modes
      const auto nanoseconds = static_cast<std::uint64_t>(std::clamp(value, 2000.0, 1e12));
      exact.push_back(nanoseconds);
      histogram.add(log_bucket_of(nanoseconds));
      sum += static_cast<double>(nanoseconds);
    }
    std::ranges::sort(exact);
    for (const double share : {0.001, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0}) {
      const auto rank = std::max(1.0, std::ceil(share * static_cast<double>(size)));
      const auto truth = static_cast<double>(exact[static_cast<std::size_t>(rank) - 1]);
      ASSERT_NEAR(histogram.quantile_nanoseconds(share) / truth, 1, kStatedError)
          << "round " << round << " share " << share;
    }
    ASSERT_NEAR(histogram.mean_nanoseconds() / (sum / static_cast<double>(size)), 1, kStatedError) << round;
  }
}

TEST(LogHistogramTest, WhatIsRemovedIsForgotten) {
  Random random{3};
  LogHistogram kept;
  LogHistogram both;
  std::vector<std::uint16_t> gone;
  for (int i = 0; i < 10'000; ++i) {
    const std::uint16_t bucket = log_bucket_of(random.next() >> (24U + random.below(20)));
    both.add(bucket);
    if (i % 2 == 0) {
      kept.add(bucket);
    } else {
      gone.push_back(bucket);
    }
  }
  for (const std::uint16_t bucket : gone) both.remove(bucket, 1);
  EXPECT_EQ(both.count(), kept.count());
  EXPECT_EQ(both.mean_nanoseconds(), kept.mean_nanoseconds());
  for (const double share : {0.01, 0.5, 0.99}) {
    EXPECT_EQ(both.quantile_nanoseconds(share), kept.quantile_nanoseconds(share));
  }
}

}  // namespace
}  // namespace dao::sense

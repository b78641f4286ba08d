#include "dao/sense/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "dao/base/random.h"

namespace dao::sense {
namespace {

// The definition: the first bucket whose bound is not below the duration.
std::size_t bucket_by_search(std::uint64_t nanoseconds) {
  return static_cast<std::size_t>(std::ranges::lower_bound(kBucketBounds, nanoseconds) - kBucketBounds.begin());
}

TEST(HistogramTest, ABoundBelongsToItsOwnBucket) {
  for (const std::uint64_t bound : kBucketBounds) {
    for (const std::uint64_t value : {bound - 1, bound, bound + 1}) {
      EXPECT_EQ(bucket_of(value), bucket_by_search(value)) << value;
    }
  }
}

TEST(HistogramTest, TheEndsOfTheRange) {
  EXPECT_EQ(bucket_of(0), 0U);
  EXPECT_EQ(bucket_of(1), 0U);
  EXPECT_EQ(bucket_of(~std::uint64_t{0}), kBuckets - 1);
}

TEST(HistogramTest, AgreesWithASearchForAnyDuration) {
  Random random{1};
  for (int i = 0; i < 100'000; ++i) {
    const std::uint64_t value = random.next() >> random.below(64);
    ASSERT_EQ(bucket_of(value), bucket_by_search(value)) << value;
  }
}

TEST(HistogramTest, CountsAndSums) {
  Histogram histogram;
  histogram.record(50'000);
  histogram.record(60'000);
  histogram.record(20'000'000'000);
  EXPECT_EQ(histogram.in_bucket(0), 2U);
  EXPECT_EQ(histogram.in_bucket(kBuckets - 1), 1U);
  EXPECT_EQ(histogram.sum_nanoseconds(), 20'000'110'000U);
  Histogram twice;
  twice.add(histogram);
  twice.add(histogram);
  EXPECT_EQ(twice.in_bucket(0), 4U);
  EXPECT_EQ(twice.sum_nanoseconds(), 40'000'220'000U);
}

}  // namespace
}  // namespace dao::sense

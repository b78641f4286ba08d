#include "dao/sense/sample_ring.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace dao::sense {
namespace {

TEST(SampleRingTest, HandsOverWhatWasPushedInOrderAndOnce) {
  SampleRing ring;
  std::uint64_t from = ring.head();
  ring.push({.kind = SampleKind::request, .number = 50'000, .bucket = 7});
  ring.push({.kind = SampleKind::attempt, .number = ~std::uint32_t{0}, .bucket = Sample::kNoBucket});
  std::vector<Sample> got;
  const auto take = [&got](const Sample& sample) { got.push_back(sample); };
  EXPECT_EQ(ring.read(from, take), 0U);
  ASSERT_EQ(got.size(), 2U);
  EXPECT_EQ(got[0].kind, SampleKind::request);
  EXPECT_EQ(got[0].number, 50'000U);
  EXPECT_EQ(got[0].bucket, 7);
  EXPECT_EQ(got[1].kind, SampleKind::attempt);
  EXPECT_EQ(got[1].number, ~std::uint32_t{0});
  EXPECT_EQ(got[1].bucket, Sample::kNoBucket);
  EXPECT_EQ(ring.read(from, take), 0U);
  EXPECT_EQ(got.size(), 2U);
}

TEST(SampleRingTest, AReaderThatIsTooLateGetsTheNewestAndKnowsHowManyItLost) {
  SampleRing ring;
  std::uint64_t from = ring.head();
  for (std::uint32_t i = 0; i < kSampleSlots + 10; ++i) ring.push({.number = i});
  std::uint32_t next = 10;
  const std::uint64_t lost = ring.read(from, [&next](const Sample& sample) { ASSERT_EQ(sample.number, next++); });
  EXPECT_EQ(lost, 10U);
  EXPECT_EQ(next, kSampleSlots + 10);
}

TEST(SampleRingTest, ARunningWriterIsReadWithoutAWrongWord) {
  constexpr std::uint32_t kSamples = 1'000'000;
  SampleRing ring;
  std::thread writer([&ring] {
    for (std::uint32_t i = 0; i < kSamples; ++i) {
      ring.push({.number = i, .bucket = static_cast<std::uint16_t>(i % 1000)});
    }
  });
  std::uint64_t from = 0;
  std::uint64_t taken = 0;
  std::uint64_t lost = 0;
  std::int64_t last = -1;
  while (taken + lost < kSamples) {
    lost += ring.read(from, [&](const Sample& sample) {
      ++taken;
      EXPECT_GT(sample.number, last);
      EXPECT_EQ(sample.bucket, sample.number % 1000);
      last = sample.number;
    });
  }
  writer.join();
  EXPECT_EQ(taken + lost, kSamples);
}

}  // namespace
}  // namespace dao::sense

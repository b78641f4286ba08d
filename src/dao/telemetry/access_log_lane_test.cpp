#include "dao/telemetry/access_log_lane.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "dao/base/random.h"

namespace dao::telemetry {
namespace {

constexpr std::size_t kRing = 65536;  // the smallest

std::string take(AccessLogLane& lane) {
  const auto bytes = lane.readable();
  std::string text{bytes.data(), bytes.size()};
  lane.consume(bytes.size());
  return text;
}

class LaneTest : public testing::Test {
 protected:
  AccessLogBell bell_;
  AccessLogLane lane_{AccessLogFormat::combined, kRing, bell_};
};

TEST_F(LaneTest, EmptyAtFirst) {
  EXPECT_TRUE(lane_.readable().empty());
}

TEST_F(LaneTest, WhatIsWrittenCanBeReadInPieces) {
  ASSERT_TRUE(lane_.write({.status = 200}));
  const std::string line = "- - - [01/Jan/1970:00:00:00 +0000] \"-\" 200 0 \"-\" \"-\"\n";
  auto bytes = lane_.readable();
  EXPECT_EQ(std::string_view(bytes.data(), bytes.size()), line);
  lane_.consume(10);
  EXPECT_EQ(take(lane_), line.substr(10));
  EXPECT_TRUE(lane_.readable().empty());
  EXPECT_EQ(lane_.produced(), lane_.consumed());
}

TEST_F(LaneTest, AFullRingDropsWholeLinesAndCounts) {
  std::uint64_t accepted = 0;
  while (lane_.write({.status = 200})) ++accepted;
  EXPECT_EQ(lane_.dropped(), 1U);
  EXPECT_FALSE(lane_.write({.status = 200}));
  EXPECT_EQ(lane_.dropped(), 2U);
  std::string text;
  while (!lane_.readable().empty()) text += take(lane_);
  EXPECT_EQ(static_cast<std::uint64_t>(std::ranges::count(text, '\n')), accepted);
  EXPECT_TRUE(lane_.write({.status = 200}));
}

TEST_F(LaneTest, ARecordThatCanNeverFitIsDropped) {
  const std::string target(kRing, 'x');
  EXPECT_FALSE(lane_.write({.method = "GET", .target = target}));
  EXPECT_EQ(lane_.dropped(), 1U);
  EXPECT_TRUE(lane_.readable().empty());
}

// Lines of any length against a reader that takes any amount: what comes out is what went in, over hundreds of laps.
TEST_F(LaneTest, WrapsAtEveryLength) {
  Random random{3};
  std::string expected;
  std::string found;
  const std::string filler(4000, 'x');
  for (int i = 0; i < 20'000; ++i) {
    const RequestRecord record{.method = "GET", .target = std::string_view{filler}.substr(random.below(4000))};
    if (lane_.write(record)) {
      AccessLogFormatter formatter{AccessLogFormat::combined};
      std::string line(AccessLogFormatter::max_size(record), '\0');
      line.resize(static_cast<std::size_t>(formatter.format(record, line.data()) - line.data()));
      expected += line;
    }
    if (random.below(3) == 0) {
      const auto bytes = lane_.readable();
      const std::size_t amount = random.below(bytes.size() + 1);
      found.append(bytes.data(), amount);
      lane_.consume(amount);
    }
    if (random.below(50) == 0) {
      while (!lane_.readable().empty()) found += take(lane_);
    }
    ASSERT_LE(lane_.produced() - lane_.consumed(), kRing);
  }
  while (!lane_.readable().empty()) found += take(lane_);
  EXPECT_GT(expected.size(), 100 * kRing);
  EXPECT_TRUE(found == expected);
  EXPECT_EQ(lane_.produced(), lane_.consumed());
}

}  // namespace
}  // namespace dao::telemetry

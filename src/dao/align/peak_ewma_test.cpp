#include <gtest/gtest.h>

#include "dao/align/policy.h"
#include "dao/align/test_world.h"

namespace dao::align {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

const std::vector<Candidate> kTwo{{0, 1}, {1, 1}};

void answer(World& world, std::size_t upstream, Nanoseconds after, bool failed = false) {
  world.signals[upstream].sent(world.now - after);
  world.signals[upstream].answered(world.now - after, world.now, failed);
}

TEST(PeakSeconds, JumpsUpAndComesDownSlowly) {
  World world;
  sense::UpstreamSignals& signals = world.signals[0];
  EXPECT_EQ(signals.peak_seconds(world.now), 0);
  answer(world, 0, 10ms);
  answer(world, 0, 1s);
  EXPECT_DOUBLE_EQ(signals.peak_seconds(world.now), 1) << "one slow answer is enough";
  answer(world, 0, 10ms);
  EXPECT_NEAR(signals.peak_seconds(world.now), 1, 1e-9) << "a fast one at the same moment takes nothing back";
  world.now += sense::UpstreamSignals::kPeakDecay;
  answer(world, 0, 10ms);
  EXPECT_NEAR(signals.peak_seconds(world.now), 0.01 + 0.99 / 2.718281828, 1e-6);
}

TEST(PeakEwma, AvoidsTheSlowOneAtOnceAndTriesItAgain) {
  const auto policy = make_peak_ewma();
  World world;
  answer(world, 0, 10ms);
  answer(world, 1, 10ms);
  answer(world, 1, 500ms);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(policy->choose(world.choosing(kTwo)), 0U);
  world.now += 60s;  // upstream 0 goes on answering, upstream 1 is left alone
  answer(world, 0, 10ms);
  EXPECT_EQ(policy->choose(world.choosing(kTwo)), 1U) << "nobody is slow for ever";
}

TEST(PeakEwma, CountsWhatIsUnderWay) {
  const auto policy = make_peak_ewma();
  World world;
  answer(world, 0, 10ms);
  answer(world, 1, 25ms);
  EXPECT_EQ(policy->choose(world.choosing(kTwo)), 0U);
  for (int i = 0; i < 3; ++i) world.in_flight.enter(0);
  EXPECT_EQ(policy->choose(world.choosing(kTwo)), 1U) << "4 x 10 ms are more than 25 ms";
}

TEST(PeakEwma, WaitsForTheFirstAnswerOfANewOne) {
  const auto policy = make_peak_ewma();
  World world;
  answer(world, 0, 10ms);
  EXPECT_EQ(policy->choose(world.choosing(kTwo)), 1U) << "unknown: try it";
  world.signals[1].sent(world.now);
  EXPECT_EQ(policy->choose(world.choosing(kTwo)), 0U) << "one trial is under way";
}

TEST(PeakEwma, WhoFailsAtOnceIsNotFast) {
  const auto policy = make_peak_ewma();
  World world;
  for (int i = 0; i < 50; ++i) {
    answer(world, 0, 10ms);
    answer(world, 1, i % 2 == 0 ? 10ms : 1ms, i % 2 != 0);
  }
  world.in_flight.enter(0);
  for (int i = 0; i < 20; ++i) {
    world.in_flight.leave(0);
    EXPECT_EQ(policy->choose(world.choosing(kTwo)), 0U);
    world.in_flight.enter(0);
  }
}

}  // namespace
}  // namespace dao::align

#include "dao/sense/signals.h"

#include <gtest/gtest.h>

namespace dao::sense {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

class UpstreamSignalsTest : public testing::Test {
 protected:
  void answers(int count, Nanoseconds each, bool failed = false) {
    for (int i = 0; i < count; ++i) {
      signals_.sent(now_);
      now_ += each;
      signals_.answered(now_ - each, now_, failed);
    }
  }
  // Always so many at once.
  void answers_of_many(int at_once, int rounds, Nanoseconds each) {
    for (int i = 0; i < rounds; ++i) {
      for (int j = 0; j < at_once; ++j) signals_.sent(now_);
      now_ += each;
      for (int j = 0; j < at_once; ++j) {
        signals_.answered(now_ - each, now_, false);
        if (j + 1 < at_once) signals_.sent(now_);  // the next one follows at once
      }
      for (int j = 0; j + 1 < at_once; ++j) signals_.cancelled(now_, now_);
    }
  }
  UpstreamSignals signals_;
  Instant now_{std::chrono::hours(5)};
};

TEST_F(UpstreamSignalsTest, KnowNothingAtFirst) {
  EXPECT_EQ(signals_.mean_seconds(now_), 0);
  EXPECT_EQ(signals_.weight(now_), 0);
  EXPECT_EQ(signals_.error_rate(), 0);
  EXPECT_EQ(signals_.spread(), 1);
}

TEST_F(UpstreamSignalsTest, EstimateTheTimeToAnswer) {
  answers(300, 10ms);
  EXPECT_NEAR(signals_.mean_seconds(now_), 0.010, 1e-6);
  EXPECT_NEAR(signals_.spread(), 0, 1e-3);
  answers(300, 100ms);
  EXPECT_NEAR(signals_.mean_seconds(now_), 0.100, 0.002);
}

TEST_F(UpstreamSignalsTest, CountWhatIsStillUnanswered) {
  answers(100, 10ms);
  const double before = signals_.mean_seconds(now_);
  for (int i = 0; i < 5; ++i) signals_.sent(now_);
  now_ += 1s;
  EXPECT_EQ(signals_.waiting(), 5);
  EXPECT_GT(signals_.mean_seconds(now_), 5 * before) << "five seconds of waiting over some fifty answers";
  EXPECT_NEAR(signals_.ended_mean_seconds(), before, 1e-6);
}

TEST_F(UpstreamSignalsTest, WhatWasCalledOffTookAtLeastSoLong) {
  answers(100, 10ms);
  signals_.sent(now_);
  now_ += 1s;
  signals_.cancelled(now_ - 1s, now_);
  EXPECT_EQ(signals_.waiting(), 0);
  EXPECT_GT(signals_.mean_seconds(now_), 0.020);
  EXPECT_NEAR(signals_.ended_mean_seconds(), 0.010, 1e-6) << "nothing is known of how long it would have taken";
}

TEST_F(UpstreamSignalsTest, FailingFastIsNoMerit) {
  answers(200, 10ms);
  answers(50, 0ms, true);
  EXPECT_NEAR(signals_.mean_seconds(now_), 0.010, 0.001);
  EXPECT_GT(signals_.error_rate(), 0.4);
  EXPECT_TRUE(signals_.last_failed());
}

TEST_F(UpstreamSignalsTest, AFewFailuresInARowOfOneThatNeverFailedAreAChange) {
  answers(200, 10ms);
  answers(3, 0ms, true);
  EXPECT_LT(signals_.error_rate(), 0.05);
  answers(1, 0ms, true);
  EXPECT_GT(signals_.error_rate(), 0.6) << "whatever it was before";
  EXPECT_NEAR(signals_.mean_seconds(now_), 0.010, 0.001) << "of the times nothing was learned";
  answers(20, 0ms, true);
  EXPECT_GT(signals_.error_rate(), 0.9);
}

TEST_F(UpstreamSignalsTest, SomeGoodAnswersInARowOfOneThatAlwaysFailedAreAChange) {
  answers(200, 10ms);
  answers(40, 1ms, true);
  answers(10, 10ms);
  EXPECT_EQ(signals_.error_rate(), 0);
}

// By chance half of the failures of one that fails half of the time come in rows.
TEST_F(UpstreamSignalsTest, RowsThatChanceExplainsChangeNothing) {
  for (int i = 0; i < 100; ++i) {
    answers(i % 3 + 1, 10ms);
    answers(i % 5 + 1, 10ms, true);
    if (i > 20) {
      EXPECT_NEAR(signals_.error_rate(), 0.6, 0.1) << i;
    }
  }
}

TEST_F(UpstreamSignalsTest, WhatIsOldCountsLess) {
  answers(200, 10ms);
  const double fresh = signals_.weight(now_);
  now_ += 10s;
  EXPECT_LT(signals_.weight(now_), fresh / 2);
  answers(8, 100ms);
  EXPECT_GT(signals_.mean_seconds(now_), 0.025) << "a few new answers weigh against many old ones";
}

TEST_F(UpstreamSignalsTest, AreLearnedAnewAfterAnAbsence) {
  answers(200, 10ms);
  answers(3, 500ms, true);
  answers(1, 100ms);  // a trial
  signals_.begin_anew();
  EXPECT_NEAR(signals_.mean_seconds(now_), 0.100, 1e-6);
  EXPECT_EQ(signals_.error_rate(), 0);
  answers(3, 20ms);
  EXPECT_NEAR(signals_.mean_seconds(now_), 0.040, 0.002);
}

TEST_F(UpstreamSignalsTest, AFailureBeforeAnAbsenceSaysNothingAfterIt) {
  answers(200, 10ms);
  answers(3, 500ms, true);
  signals_.begin_anew();
  EXPECT_EQ(signals_.mean_seconds(now_), 0);
  EXPECT_EQ(signals_.weight(now_), 0);
  EXPECT_EQ(signals_.error_rate(), 0);
}

TEST_F(UpstreamSignalsTest, MissAnswersByTheUsualTimes) {
  answers_of_many(4, 100, 10ms);
  EXPECT_EQ(signals_.answers_missed(now_), 0);
  for (int i = 0; i < 4; ++i) signals_.sent(now_);
  now_ += 30ms;
  EXPECT_NEAR(signals_.answers_missed(now_), 12, 0.1);
  signals_.answered(now_ - 30ms, now_, false);
  EXPECT_EQ(signals_.answers_missed(now_), 0) << "any answer ends the silence";
}

// Eight slots serve what three times as many wait for: answers come no more often than before.
TEST_F(UpstreamSignalsTest, ALineIsNoSilence) {
  answers_of_many(8, 100, 10ms);
  for (int i = 0; i < 24; ++i) signals_.sent(now_);
  now_ += 10ms;
  EXPECT_NEAR(signals_.answers_missed(now_), 8, 0.1);
}

TEST_F(UpstreamSignalsTest, AnIdleTimeIsNoSilence) {
  answers(100, 10ms);
  now_ += 1s;
  for (int i = 0; i < 4; ++i) signals_.sent(now_);
  EXPECT_NEAR(signals_.answers_missed(now_), 0, 1e-6);
}

TEST_F(UpstreamSignalsTest, SilenceIsRememberedUntilSomethingEnds) {
  answers(100, 10ms);
  signals_.found_silent();
  EXPECT_TRUE(signals_.silent());
  answers(1, 10ms);
  EXPECT_FALSE(signals_.silent());
}

}  // namespace
}  // namespace dao::sense

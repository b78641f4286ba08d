// A transition as a specification: how the share grows, waits and falls, and what is told of it. How well it tells
// worse from not worse is in transition_trials_test.cpp.
#include "dao/liminal/transition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "dao/liminal/side_rings.h"
#include "dao/liminal/transition_world.h"

namespace dao::liminal {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""min;
using testing::HasSubstr;

constexpr Nanoseconds kOver = 100s;

class TransitionTest : public testing::Test {
 protected:
  // Time passes with so many requests a second on the two sides, as the share has it.
  void pass(Nanoseconds time, int rps = 2000) {
    for (const Instant end = now + time; now < end;) {
      now += 100ms;
      for (int i = 0; i < rps / 10; ++i) request();
      transition.step(now);
    }
  }
  void request() {
    const auto point = static_cast<ClientPoint>(random.next());
    const Side side = side_of(point, transition.view().threshold);
    const bool failed = side == Side::new_config && random.unit() < new_fails;
    transition.add({.side = side, .cell = cell_of(point), .failed = failed, .bucket = 900});
  }
  [[nodiscard]] double progress() const { return transition.view().progress; }

  config::Metamorphic settings;
  Random random{3};
  Instant now{1000s};
  double new_fails = 0;
  Transition transition{settings, kOver, 42, now, "a test"};
};

TEST_F(TransitionTest, GoesFromNobodyToEverybodyInItsTime) {
  EXPECT_EQ(transition.view().threshold, 0U);
  EXPECT_EQ(transition.view().seed, 42U);
  double before = 0;
  for (int second = 1; second < 100; ++second) {
    pass(1s);
    ASSERT_EQ(transition.state(), TransitionState::running);
    EXPECT_NEAR(progress(), second / 100.0, 0.011);
    EXPECT_GE(progress(), before);
    before = progress();
  }
  pass(2s);
  EXPECT_EQ(transition.state(), TransitionState::finished);
  EXPECT_EQ(transition.view().threshold, kAllPoints);
  EXPECT_EQ(transition.figures(now).reason, "every client sees the new configuration");
  EXPECT_FALSE(transition.step(now + 1s)) << "nothing changes any more";
}

TEST_F(TransitionTest, WithoutTrafficItWaitsAndThenGoesOn) {
  pass(1s, 0);
  EXPECT_NEAR(progress(), 0.01, 1e-6);
  pass(3s, 0);
  EXPECT_NEAR(progress(), 0.01, 1e-6);
  EXPECT_EQ(transition.figures(now).hold, Hold::evidence);
  EXPECT_THAT(transition.figures(now).verdict, HasSubstr("nothing is known"));
  pass(124s, 0);
  EXPECT_EQ(transition.state(), TransitionState::running);
  pass(4s, 0);
  EXPECT_EQ(transition.state(), TransitionState::finished) << "100 s, and 30 s of waiting for requests";
  EXPECT_NEAR(std::chrono::duration<double>(transition.figures(now).held).count(), 30, 0.5);
}

TEST_F(TransitionTest, PauseKeepsTheShare) {
  pass(30s);
  const double at = progress();
  ASSERT_TRUE(transition.pause(now, "ada"));
  EXPECT_FALSE(transition.pause(now, "ada"));
  pass(50s);
  EXPECT_EQ(progress(), at);
  EXPECT_EQ(transition.state(), TransitionState::paused);
  EXPECT_EQ(transition.figures(now).reason, "paused by ada");
  now += 10min;  // nobody stepped it
  ASSERT_TRUE(transition.resume(now, "ada"));
  EXPECT_EQ(transition.resume(now, "ada").error(), "the transition is not paused, it is running");
  pass(10s);
  EXPECT_NEAR(progress(), at + 0.1, 0.011);
}

TEST_F(TransitionTest, AbortTakesEverybodyBack) {
  pass(30s);
  ASSERT_TRUE(transition.abort(now, "ada"));
  EXPECT_EQ(transition.view().threshold, 0U);
  EXPECT_EQ(transition.state(), TransitionState::aborted);
  pass(10s);
  EXPECT_EQ(progress(), 0);
  EXPECT_EQ(transition.finish(now, "ada").error(), "the transition is over: aborted");
  EXPECT_FALSE(transition.abort(now, "ada"));
  EXPECT_FALSE(transition.pause(now, "ada"));
}

TEST_F(TransitionTest, FinishTakesEverybodyThere) {
  pass(5s);
  ASSERT_TRUE(transition.finish(now, "ada"));
  EXPECT_EQ(transition.view().threshold, kAllPoints);
  const TransitionFigures figures = transition.figures(now);
  ASSERT_EQ(figures.changes.size(), 2U);
  EXPECT_EQ(figures.changes[0].reason, "begun by a test");
  EXPECT_EQ(figures.changes[1].reason, "finished by ada");
  EXPECT_EQ(figures.changes[1].at, now);
}

TEST_F(TransitionTest, WorseIsRolledBackWithTheFigures) {
  new_fails = 0.5;
  pass(20s);
  ASSERT_EQ(transition.state(), TransitionState::rolled_back);
  EXPECT_EQ(transition.view().threshold, 0U);
  const TransitionFigures figures = transition.figures(now);
  EXPECT_TRUE(figures.worse);
  EXPECT_GT(figures.progress_at_verdict, 0);
  EXPECT_LT(figures.progress_at_verdict, 0.1);
  EXPECT_GE(figures.evidence, figures.evidence_needed);
  EXPECT_EQ(figures.worst, Metric::errors);
  EXPECT_GT(figures.error_increase, 0.2);
  EXPECT_THAT(figures.reason, HasSubstr("the new configuration is worse: "));
  EXPECT_THAT(figures.reason, HasSubstr(" requests failed, instead of 0 % of "));
  EXPECT_THAT(figures.verdict, HasSubstr("worse: "));
  log_transition(figures);
}

TEST_F(TransitionTest, WorseIsFoundWhilePaused) {
  pass(50s);
  ASSERT_TRUE(transition.pause(now, "ada"));
  new_fails = 0.5;
  pass(20s);
  EXPECT_EQ(transition.state(), TransitionState::rolled_back);
}

TEST_F(TransitionTest, DoubtHoldsTheShare) {
  pass(30s);
  new_fails = 1;
  bool held = false;
  for (int i = 0; i < 40 && transition.state() == TransitionState::running; ++i) {
    pass(100ms, 60);
    held = held || transition.figures(now).hold == Hold::doubt;
  }
  pass(10s, 60);
  EXPECT_TRUE(held || transition.state() == TransitionState::rolled_back);
  EXPECT_EQ(transition.state(), TransitionState::rolled_back);
}

TEST_F(TransitionTest, AMindThatWasAwayDoesNotJump) {
  pass(30s);
  const double at = progress();
  now += 60s;
  transition.step(now);
  EXPECT_NEAR(progress(), at + 0.01, 1e-3);
}

TEST(Transition, WithoutRollbackItStopsAndWaits) {
  config::Metamorphic settings;
  settings.rollback = false;
  TransitionWorld world({.added_errors = 0.2}, settings, 1);
  while (world.transition().state() == TransitionState::running) world.one_step();
  ASSERT_EQ(world.transition().state(), TransitionState::paused);
  const double at = world.transition().view().progress;
  EXPECT_GT(at, 0);
  EXPECT_THAT(world.transition().figures(world.now()).reason, HasSubstr("worse"));
  ASSERT_TRUE(world.transition().resume(world.now(), "ada"));
  for (int i = 0; i < 100; ++i) world.one_step();
  EXPECT_EQ(world.transition().state(), TransitionState::running) << "the operator knows";
  EXPECT_GT(world.transition().view().progress, at);
}

TEST(Transition, SaysWhenThereAreTooFewClients) {
  TransitionWorld few({.clients = 5}, {}, 1);
  TransitionWorld many({}, {}, 1);
  for (int i = 0; i < 1500; ++i) {
    few.one_step();
    many.one_step();
  }
  EXPECT_THAT(few.transition().figures(few.now()).verdict, HasSubstr("the traffic is that of about 5 clients"));
  EXPECT_THAT(many.transition().figures(many.now()).verdict, testing::StartsWith("not worse, as far as "));
  EXPECT_THAT(many.transition().figures(many.now()).verdict, testing::Not(HasSubstr("little")));
}

TEST(Transition, RemembersHowItBeganAndTheLastChanges) {
  Transition transition({}, 100s, 1, Instant{}, "ada");
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(transition.pause(Instant{} + i * 1s, "p" + std::to_string(i)));
    ASSERT_TRUE(transition.resume(Instant{} + i * 1s, "r" + std::to_string(i)));
  }
  const TransitionFigures figures = transition.figures(Instant{});
  EXPECT_EQ(figures.changes.size(), 64U);
  EXPECT_EQ(figures.changes.front().reason, "begun by ada");
  EXPECT_EQ(figures.changes.back().reason, "resumed by r99");
}

TEST(SideRings, BringEverythingToTheTransition) {
  SideRings rings(2);
  Transition transition({}, 100s, 1, Instant{}, "a test");
  for (int i = 0; i < 10; ++i) rings.of(0)->push(to_word({.side = Side::old_config, .cell = 1, .bucket = 900}));
  for (int i = 0; i < 3; ++i) {
    rings.of(1)->push(to_word({.side = Side::new_config, .cell = 2, .failed = true, .bucket = 900}));
  }
  EXPECT_EQ(rings.read_into(transition), 0U);
  EXPECT_EQ(rings.read_into(transition), 0U) << "nothing twice";
  const TransitionFigures figures = transition.figures(Instant{});
  EXPECT_EQ(figures.sides[0].requests, 10U);
  EXPECT_EQ(figures.sides[0].failures, 0U);
  EXPECT_EQ(figures.sides[1].requests, 3U);
  EXPECT_EQ(figures.sides[1].failures, 3U);
  for (std::size_t i = 0; i < sense::kSampleSlots + 5; ++i) rings.of(0)->push(to_word({.bucket = 900}));
  EXPECT_EQ(rings.read_into(transition), 5U);
}

TEST(SideSample, TravelsAsAWord) {
  sense::SampleRing ring;
  std::uint64_t from = ring.head();
  for (const Side side : {Side::old_config, Side::new_config}) {
    for (const bool failed : {false, true}) {
      for (const std::uint16_t cell : {std::uint16_t{0}, std::uint16_t{513}, std::uint16_t{kCells - 1}}) {
        ring.push(to_word({.side = side, .cell = cell, .failed = failed, .bucket = 1234}));
        ring.read(from, [&](const sense::Sample& word) {
          const SideSample sample = from_word(word);
          EXPECT_EQ(sample.side, side);
          EXPECT_EQ(sample.failed, failed);
          EXPECT_EQ(sample.cell, cell);
          EXPECT_EQ(sample.bucket, 1234);
        });
      }
    }
  }
  EXPECT_LT(from_word({.number = 0, .bucket = sense::Sample::kNoBucket}).bucket, sense::kLogBuckets);
}

TEST(SideSample, WhatCountsAsFailed) {
  EXPECT_FALSE(failed_request({.status = 200}));
  EXPECT_FALSE(failed_request({.status = 404})) << "of a backend: an answer like others";
  EXPECT_TRUE(failed_request({.status = 404, .matched_rule = false})) << "a rule was lost";
  EXPECT_FALSE(failed_request({.status = 400, .matched_rule = false})) << "refused before any rule was looked for";
  EXPECT_TRUE(failed_request({.status = 502}));
  EXPECT_TRUE(failed_request({.status = 0})) << "no answer";
  EXPECT_FALSE(failed_request({.status = 0, .client_left = true}));
  EXPECT_TRUE(failed_request({.status = 200, .grpc_status = 14})) << "UNAVAILABLE";
  EXPECT_FALSE(failed_request({.status = 200, .grpc_status = 5})) << "NOT_FOUND";
  EXPECT_FALSE(failed_request({.status = 200, .grpc_status = 0})) << "OK";
  EXPECT_TRUE(failed_request({.status = 200, .grpc_status = sense::kNoGrpcStatus}));
}

}  // namespace
}  // namespace dao::liminal

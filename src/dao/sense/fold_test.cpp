// The windows, in virtual time: what the mind must know of the traffic, and when it must have forgotten it.
#include "dao/sense/fold.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "dao/base/random.h"
#include "dao/sense/resonance.h"

namespace dao::sense {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr Nanoseconds kStep = milliseconds(100);

// Three shards, four upstreams. Route 0 has the upstreams 0 and 1, route 1 has 1, 2 and 3.
class FoldTest : public testing::Test {
 protected:
  FoldTest() {
    for (int i = 0; i < 3; ++i) shards_.push_back(std::make_unique<Shard>(2, 4));
    restart();
  }
  void restart() {
    std::vector<const Shard*> shards;
    for (const auto& shard : shards_) shards.push_back(shard.get());
    fold_ = std::make_unique<Fold>(
        shards, std::vector<Fold::Members>{{.route = 0, .upstreams = {0, 1}}, {.route = 1, .upstreams = {1, 2, 3}}},
        in_flight_);
  }
  void attempt(std::uint32_t upstream, double ms, std::uint16_t status = 200, ErrorKind error = ErrorKind::none) {
    next_shard().record(FinishedAttempt{
        .upstream = upstream, .status = status, .error = error, .head_ns = static_cast<std::uint64_t>(ms * 1e6)});
  }
  void request(std::uint32_t route, double ms, std::uint16_t status = 200) {
    next_shard().record(
        FinishedRequest{.route = route, .status = status, .duration_ns = static_cast<std::uint64_t>(ms * 1e6)});
  }
  const View& step(Nanoseconds after = kStep) {
    now_ += after;
    fold_->step(now_, view_);
    return view_;
  }
  // Folds ten times a second; `each` before each fold.
  template <class Each>
  const View& run(Nanoseconds time, Each each) {
    for (Nanoseconds passed{}; passed < time; passed += kStep) {
      each();
      step();
    }
    return view_;
  }
  const View& run(Nanoseconds time) {
    return run(time, [] {});
  }

  InFlight in_flight_{4};
  std::vector<std::unique_ptr<Shard>> shards_;
  std::unique_ptr<Fold> fold_;
  Instant now_{seconds(1000)};
  View view_;

 private:
  Shard& next_shard() { return *shards_[turn_++ % shards_.size()]; }
  std::size_t turn_ = 0;
};

TEST_F(FoldTest, ShowsZerosBeforeAnyTraffic) {
  const View& view = step();
  ASSERT_EQ(view.upstreams.size(), 4U);
  ASSERT_EQ(view.routes.size(), 2U);
  EXPECT_EQ(view.folded_at, now_);
  EXPECT_EQ(view.upstreams[0].requests, 0);
  EXPECT_EQ(view.upstreams[0].p99_ms, 0);
  EXPECT_EQ(view.upstreams[0].load_resonance, 0);
  EXPECT_EQ(view.routes[0].typical_ms, 0);
}

TEST_F(FoldTest, AddsUpWhatAllShardsRecorded) {
  step();
  for (int i = 1; i <= 100; ++i) attempt(2, i);
  for (int i = 1; i <= 100; ++i) request(1, 2 * i);
  const View& view = step();
  const UpstreamView& upstream = view.upstreams[2];
  EXPECT_EQ(upstream.requests, 100);
  EXPECT_NEAR(upstream.p50_ms, 50, 0.5);
  EXPECT_NEAR(upstream.p95_ms, 95, 0.95);
  EXPECT_NEAR(upstream.p99_ms, 99, 0.99);
  EXPECT_NEAR(upstream.mean_ms, 50.5, 0.505);
  EXPECT_EQ(upstream.error_rate, 0);
  const RouteView& route = view.routes[1];
  EXPECT_EQ(route.requests, 100);
  EXPECT_NEAR(route.p50_ms, 100, 1);
  EXPECT_NEAR(route.p95_ms, 190, 1.9);
  EXPECT_NEAR(route.p99_ms, 198, 1.98);
  EXPECT_NEAR(route.mean_ms, 101, 1.01);
  EXPECT_EQ(view.upstreams[1].requests, 0);
  EXPECT_EQ(view.routes[0].requests, 0);
}

TEST_F(FoldTest, CountsFailuresOnceAndWithoutALatency) {
  attempt(0, 10);
  attempt(0, 10, 404);
  attempt(0, 10, 503);
  attempt(0, 10, 502, ErrorKind::incomplete);
  attempt(0, 0, 0, ErrorKind::refused);
  attempt(0, 0, 0);  // called off by the client: no failure of the upstream
  for (const int status : {200, 404, 499, 504, 0}) request(0, 10, static_cast<std::uint16_t>(status));
  const View& view = step();
  EXPECT_EQ(view.upstreams[0].requests, 6);
  EXPECT_DOUBLE_EQ(view.upstreams[0].error_rate, 3.0 / 6);
  EXPECT_NEAR(view.upstreams[0].p50_ms, 10, 0.1);
  EXPECT_DOUBLE_EQ(view.routes[0].error_rate, 2.0 / 5);
}

TEST_F(FoldTest, AnUpstreamThatOnlyFailsHasNoQuantiles) {
  for (int i = 0; i < 5; ++i) attempt(0, 0, 0, ErrorKind::refused);
  const View& view = step();
  EXPECT_EQ(view.upstreams[0].error_rate, 1);
  EXPECT_EQ(view.upstreams[0].p95_ms, 0);
}

TEST_F(FoldTest, ForgetsAfterSixtySeconds) {
  step();
  for (int i = 0; i < 10; ++i) attempt(0, 500, 500);
  for (int i = 0; i < 10; ++i) request(0, 500, 500);
  step();
  const View& view = run(milliseconds(59'800));
  EXPECT_EQ(view.upstreams[0].requests, 10) << "the slice is 59 seconds old";
  EXPECT_NEAR(view.upstreams[0].p99_ms, 500, 5);
  run(milliseconds(200));
  EXPECT_EQ(view.upstreams[0].requests, 0);
  EXPECT_EQ(view.upstreams[0].p99_ms, 0);
  EXPECT_EQ(view.upstreams[0].error_rate, 0);
  EXPECT_EQ(view.routes[0].requests, 0);
  EXPECT_EQ(view.routes[0].p95_ms, 0);
}

TEST_F(FoldTest, SlicesFadeOneByOne) {
  step();
  run(seconds(30), [this] { attempt(0, 10); });
  run(seconds(30), [this] { attempt(0, 1000); });
  const double before = view_.upstreams[0].requests;
  EXPECT_NEAR(before, 595, 6);
  run(seconds(10), [this] { attempt(0, 1000); });
  EXPECT_NEAR(view_.upstreams[0].requests, before, 10) << "ten seconds came, ten seconds went";
  EXPECT_NEAR(view_.upstreams[0].p50_ms, 1000, 10);
  run(seconds(21), [this] { attempt(0, 1000); });
  EXPECT_NEAR(view_.upstreams[0].mean_ms, 1000, 10) << "nothing of the first half is left";
}

TEST_F(FoldTest, AnInterruptionLongerThanTheWindowEmptiesIt) {
  attempt(0, 10);
  step();
  step(std::chrono::hours(30));
  EXPECT_EQ(view_.upstreams[0].requests, 0);
  attempt(0, 20);
  step();
  EXPECT_EQ(view_.upstreams[0].requests, 1);
  EXPECT_NEAR(view_.upstreams[0].p50_ms, 20, 0.2);
}

TEST_F(FoldTest, RatesAreOfTheLastSeconds) {
  step();
  run(seconds(30), [this] { attempt(0, 10); });
  EXPECT_NEAR(view_.upstreams[0].rps, 10, 0.4);
  run(seconds(6), [this] {
    for (int i = 0; i < 5; ++i) attempt(0, 10);
  });
  EXPECT_NEAR(view_.upstreams[0].rps, 50, 2);
  run(milliseconds(6100));
  EXPECT_EQ(view_.upstreams[0].rps, 0);
  EXPECT_GT(view_.upstreams[0].requests, 0) << "the window is longer";
}

TEST_F(FoldTest, RatesAreRightSoonAfterTheStart) {
  step();
  run(seconds(2), [this] { request(0, 10); });
  EXPECT_NEAR(view_.routes[0].rps, 10, 0.5);
}

TEST_F(FoldTest, WhatWasCountedBeforeTheFoldIsNotInIt) {
  for (int i = 0; i < 50; ++i) attempt(0, 10, 500);
  restart();
  attempt(0, 10);
  const View& view = step();
  EXPECT_EQ(view.upstreams[0].requests, 1);
  EXPECT_EQ(view.upstreams[0].error_rate, 0);
}

TEST_F(FoldTest, EvenAndRandomArrivalsAreNotSpikyBurstsAre) {
  Random random{5};
  step();
  run(seconds(60), [&] {
    attempt(0, 10);
    // Poisson with mean 10, by the product of uniforms.
    double product = 1;
    for (;;) {
      product *= (static_cast<double>(random.next() >> 11U) + 0.5) / 9007199254740992.0;
      if (product < std::exp(-10.0)) break;
      attempt(1, 10);
    }
    // One second of twenty.
    if ((now_ - Instant{}) / seconds(1) % 20 == 10) {
      for (int i = 0; i < 100; ++i) attempt(2, 10);
    }
  });
  EXPECT_EQ(view_.upstreams[0].tempo_spikiness, 0);
  EXPECT_LT(view_.upstreams[1].tempo_spikiness, 0.07);
  EXPECT_NEAR(view_.upstreams[2].tempo_spikiness, 4.4, 0.3) << "sqrt(20 - 1)";
}

TEST_F(FoldTest, InFlightIsTheAverageOfAboutASecondAndSeenWithoutAnAnswer) {
  step();
  for (int i = 0; i < 8; ++i) in_flight_.enter(3);
  step();
  EXPECT_LT(view_.upstreams[3].in_flight, 1);
  run(seconds(5));
  EXPECT_NEAR(view_.upstreams[3].in_flight, 8, 0.1);
  EXPECT_NEAR(view_.upstreams[3].load_resonance, queue_term(8, 0) / 3, 0.05);
  for (int i = 0; i < 8; ++i) in_flight_.leave(3);
  run(seconds(10));
  EXPECT_EQ(view_.upstreams[3].in_flight, 0);
}

TEST_F(FoldTest, ARouteLearnsItsTypicalTimeAndKeepsItWhenOneUpstreamDegrades) {
  step();
  run(seconds(120), [this] {
    for (const std::uint32_t upstream : {1U, 2U, 3U}) attempt(upstream, 20);
    request(1, 25);
  });
  EXPECT_NEAR(view_.routes[1].typical_ms, 20, 0.2);
  const double calm = view_.upstreams[1].load_resonance;
  run(seconds(120), [this] {
    attempt(1, 20);
    attempt(2, 20);
    attempt(3, 200);
    request(1, 25);
  });
  EXPECT_NEAR(view_.routes[1].typical_ms, 20, 0.2);
  EXPECT_NEAR(view_.upstreams[1].load_resonance, calm, 0.01);
  EXPECT_NEAR(view_.upstreams[3].load_resonance, calm + (std::log2(11.0) - 1) / 3, 0.05);
}

TEST_F(FoldTest, ARouteOfOneUpstreamDoesNotTakeAMinuteOfTroubleForTypical) {
  step();
  run(seconds(600), [this] { attempt(0, 20); });
  run(seconds(60), [this] { attempt(0, 200); });
  EXPECT_LT(view_.routes[0].typical_ms, 25);
  EXPECT_GT(view_.upstreams[0].load_resonance, 1);
}

TEST_F(FoldTest, FailingFastTeachesNothing) {
  step();
  run(seconds(60), [this] {
    for (const std::uint32_t upstream : {0U, 1U}) attempt(upstream, 20);
  });
  run(seconds(120), [this] {
    attempt(0, 20);
    attempt(1, 0.1, 500);
  });
  EXPECT_NEAR(view_.routes[0].typical_ms, 20, 0.2);
  EXPECT_NEAR(view_.routes[0].typical_error_rate, 0, 0.001);
  EXPECT_GT(view_.upstreams[1].load_resonance, view_.upstreams[0].load_resonance + 2);
}

TEST_F(FoldTest, AQuietRouteKeepsWhatItHasLearned) {
  step();
  run(seconds(30), [this] { attempt(0, 20); });
  run(seconds(300));
  EXPECT_EQ(view_.upstreams[0].requests, 0);
  EXPECT_NEAR(view_.routes[0].typical_ms, 20, 0.2);
}

TEST_F(FoldTest, WhoStaysKeepsItsWindowAndWhatItHasLearned) {
  step();
  run(seconds(10), [this] {
    attempt(0, 20);
    request(0, 20);
  });
  attempt(0, 20);  // not folded yet when the others come
  fold_->reconfigure({{.route = 1, .upstreams = {2}}, {.route = 0, .upstreams = {3, 0}}});
  const View& view = step();
  EXPECT_EQ(view.upstreams[0].requests, 101);
  EXPECT_EQ(view.routes[0].requests, 100);
  EXPECT_NEAR(view.routes[0].typical_ms, 20, 0.2);
}

TEST_F(FoldTest, WhoIsGoneIsForgottenAndWhoHasItsNumberBeginsWithNothing) {
  step();
  run(seconds(10), [this] {
    attempt(1, 20, 500);
    request(1, 20, 500);
  });
  fold_->reconfigure({{.route = 0, .upstreams = {0}}});
  attempt(1, 20);  // of a request that still runs
  request(1, 20);
  const View& gone = step();
  EXPECT_EQ(gone.upstreams[1].requests, 0);
  EXPECT_EQ(gone.routes[1].requests, 0);
  EXPECT_EQ(gone.routes[1].typical_error_rate, 0);
  for (const auto& shard : shards_) {
    shard->forget_upstream(1);
    shard->forget_route(1);
  }
  fold_->reconfigure({{.route = 0, .upstreams = {0}}, {.route = 1, .upstreams = {1}}});
  EXPECT_EQ(step().upstreams[1].requests, 0);
  EXPECT_EQ(view_.routes[1].typical_ms, 0);
  attempt(1, 5);
  request(1, 5);
  const View& view = step();
  EXPECT_EQ(view.upstreams[1].requests, 1);
  EXPECT_EQ(view.upstreams[1].error_rate, 0);
  EXPECT_NEAR(view.upstreams[1].p50_ms, 5, 0.1);
  EXPECT_EQ(view.routes[1].requests, 1);
}

TEST_F(FoldTest, MoreNumbersThanAtTheBeginning) {
  step();
  for (const auto& shard : shards_) shard->grow(5, 9);
  in_flight_.grow(9);
  fold_->reconfigure({{.route = 0, .upstreams = {0, 1}}, {.route = 4, .upstreams = {8, 1}}});
  in_flight_.enter(8);
  run(seconds(2), [this] {
    attempt(8, 10);
    request(4, 10);
  });
  ASSERT_EQ(view_.upstreams.size(), 9U);
  ASSERT_EQ(view_.routes.size(), 5U);
  EXPECT_EQ(view_.upstreams[8].requests, 20);
  EXPECT_EQ(view_.routes[4].requests, 20);
  EXPECT_NEAR(view_.upstreams[8].in_flight, 1, 0.2);
}

TEST_F(FoldTest, AFoldThatIsTooLateLosesDurationsAndNoCount) {
  step();
  constexpr std::uint32_t kMore = 1000;
  for (std::uint32_t i = 0; i < kSampleSlots + kMore; ++i) {
    shards_[0]->record(FinishedAttempt{
        .upstream = i < kMore ? 3U : 0U, .status = static_cast<std::uint16_t>(i < kMore ? 500 : 200), .head_ns = 1000});
  }
  const View& view = step();
  EXPECT_EQ(view.samples_lost, kMore);
  EXPECT_EQ(view.upstreams[3].requests, kMore) << "all its samples were lost";
  EXPECT_EQ(view.upstreams[3].error_rate, 1);
  EXPECT_EQ(view.upstreams[0].requests, kSampleSlots);
}

}  // namespace
}  // namespace dao::sense

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <queue>
#include <vector>

#include "dao/align/policy.h"

namespace dao::align {
namespace {

// Upstreams in virtual time, each with as many slots as are asked of it; what a worker would tell the signals is told.
class ResonantTest : public testing::Test {
 protected:
  static constexpr std::size_t kUpstreams = 4;

  std::size_t choose(std::uint64_t intent = 0) { return *policy_->choose(choosing(intent)); }
  Choosing choosing(std::uint64_t intent = 0) {
    return {.candidates = candidates_,
            .in_flight = in_flight_,
            .admission = admission_,
            .signals = signals_,
            .view = view_,
            .now = now_,
            .random = random_,
            .intent = intent,
            .slow_start = slow_start_};
  }
  void send(std::size_t upstream) {
    in_flight_.enter(upstream);
    signals_[upstream].sent(now_);
  }
  void end(std::size_t upstream, Instant sent, bool failed) {
    in_flight_.leave(upstream);
    signals_[upstream].answered(sent, now_, failed);
  }

  // A steady stream of requests; how many each upstream got.
  std::map<std::size_t, int> run(Nanoseconds time, double per_second) {
    std::map<std::size_t, int> got;
    const Instant until = now_ + time;
    Instant next = now_;
    while (next < until) {
      while (!ends_.empty() && ends_.top().at <= next) {
        const End one = ends_.top();
        ends_.pop();
        now_ = one.at;
        end(one.upstream, one.sent, one.failed);
      }
      now_ = next;
      const std::size_t chosen = choose();
      ++got[chosen];
      send(chosen);
      const bool failed = random_.unit() < fails_[chosen];
      const double takes = failed ? 0.0001 : -seconds_[chosen] * std::log(1 - random_.unit());
      if (!hangs_[chosen]) ends_.push({now_ + in_seconds(takes), now_, chosen, failed});
      next += in_seconds(-std::log(1 - random_.unit()) / per_second);
    }
    return got;
  }
  static Nanoseconds in_seconds(double seconds) { return Nanoseconds(static_cast<std::int64_t>(seconds * 1e9)); }

  struct End {
    Instant at;
    Instant sent;
    std::size_t upstream;
    bool failed;
    bool operator<(const End& other) const { return at > other.at; }
  };
  std::unique_ptr<Policy> policy_ = make_resonant({});
  std::vector<Candidate> candidates_{{.upstream = 0}, {.upstream = 1}, {.upstream = 2}, {.upstream = 3}};
  sense::InFlight in_flight_{kUpstreams};
  sense::Admission admission_{kUpstreams};
  std::vector<sense::UpstreamSignals> signals_{kUpstreams};
  sense::View view_;
  Nanoseconds slow_start_{};
  Random random_{1};
  Instant now_{std::chrono::hours(1)};
  std::priority_queue<End> ends_;
  double seconds_[kUpstreams] = {0.01, 0.01, 0.01, 0.01};
  double fails_[kUpstreams] = {};
  bool hangs_[kUpstreams] = {};
};

TEST_F(ResonantTest, EqualUpstreamsShareEvenly) {
  auto got = run(std::chrono::seconds(20), 1000);
  for (std::size_t i = 0; i < kUpstreams; ++i) EXPECT_NEAR(got[i], 5000, 250) << i;
}

TEST_F(ResonantTest, ASlowOneIsLeftAlone) {
  run(std::chrono::seconds(5), 1000);
  seconds_[2] = 0.1;
  run(std::chrono::seconds(1), 1000);
  auto got = run(std::chrono::seconds(20), 1000);
  EXPECT_LT(got[2], 200) << "less than 1 %";
  EXPECT_GT(got[2], 10) << "but it is asked now and then";
}

TEST_F(ResonantTest, OneThatWasSlowComesBack) {
  seconds_[2] = 0.1;
  run(std::chrono::seconds(10), 1000);
  seconds_[2] = 0.01;
  run(std::chrono::seconds(3), 1000);
  auto got = run(std::chrono::seconds(10), 1000);
  EXPECT_NEAR(got[2], 2500, 250);
}

TEST_F(ResonantTest, OneThatHangsIsNoticedBeforeAnythingEnds) {
  run(std::chrono::seconds(5), 1000);
  hangs_[1] = true;
  auto got = run(std::chrono::milliseconds(200), 1000);
  EXPECT_LT(got[1], 25) << "of 50 that would be its share";
  got = run(std::chrono::seconds(10), 1000);
  EXPECT_LT(got[1], 5) << "while requests wait there, none is sent to find out";
}

// With little traffic nothing ever waits, so that the least difference would decide for ever.
TEST_F(ResonantTest, OneThatFailedNowAndThenComesBackWithLittleTraffic) {
  for (double& seconds : seconds_) seconds = 0.003;
  run(std::chrono::seconds(10), 60);
  fails_[1] = 0.5;
  auto got = run(std::chrono::seconds(20), 60);
  EXPECT_LT(got[1], 150) << "of 300 that would be its share";
  EXPECT_GT(got[1], 20);
  fails_[1] = 0;
  run(std::chrono::seconds(15), 60);
  got = run(std::chrono::seconds(20), 60);
  EXPECT_NEAR(got[1], 300, 60);
}

// Cold after a restart: chance is given less room than with one that was there all the time.
TEST_F(ResonantTest, ThatAReturnedOneIsMuchSlowerIsBelievedAtOnce) {
  run(std::chrono::seconds(5), 1000);
  view_.upstreams.resize(kUpstreams);
  view_.upstreams[2].admitted_since = now_;
  signals_[2].sent(now_);
  now_ += std::chrono::milliseconds(100);
  signals_[2].answered(now_ - std::chrono::milliseconds(100), now_, false);
  signals_[2].begin_anew();
  const auto latency_with = [this](Nanoseconds slow_start) {
    const std::unique_ptr<Policy> policy = make_resonant({});
    std::vector<Explained> explained;
    for (std::size_t i = 0; i < 2 * kUpstreams; ++i) {
      Choosing choosing_now = choosing();
      choosing_now.slow_start = slow_start;
      policy->choose(choosing_now);
      policy->explain(choosing_now, explained);
      now_ += std::chrono::milliseconds(2);
    }
    return explained[2].latency;
  };
  EXPECT_GT(latency_with(std::chrono::seconds(10)), latency_with(Nanoseconds::zero()) + 0.5);
}

TEST_F(ResonantTest, FailingFastAttractsNobody) {
  run(std::chrono::seconds(5), 1000);
  fails_[0] = 1;
  run(std::chrono::seconds(2), 1000);
  auto got = run(std::chrono::seconds(10), 1000);
  EXPECT_LT(got[0], 200) << "less than 2 %";
}

TEST_F(ResonantTest, OneThatFailsAtTimesGetsNoMoreThanItsShare) {
  fails_[0] = 0.3;
  run(std::chrono::seconds(2), 2000);
  auto got = run(std::chrono::seconds(20), 2000);
  EXPECT_LE(got[0], 10'000);
}

// Where nobody else is better than bad, what fails at once must not look good for what it was before.
TEST_F(ResonantTest, FailingFastIsNoticedBesideOneThatMostlyFails) {
  for (double& seconds : seconds_) seconds = 0.003;
  admission_.set_gate(2, sense::Gate::closed);
  admission_.set_gate(3, sense::Gate::closed);
  fails_[1] = 0.7;
  run(std::chrono::seconds(20), 45);
  fails_[0] = 1;
  auto got = run(std::chrono::seconds(2), 45);
  EXPECT_LT(got[0], 25) << "of 90";
}

TEST_F(ResonantTest, FailingFastIsWorseThanASlowAnswer) {
  for (double& seconds : seconds_) seconds = 0.003;
  seconds_[1] = 0.2;
  admission_.set_gate(2, sense::Gate::closed);
  admission_.set_gate(3, sense::Gate::closed);
  run(std::chrono::seconds(20), 45);
  fails_[0] = 1;
  auto got = run(std::chrono::seconds(2), 45);
  EXPECT_LT(got[0], 25) << "of 90";
}

// Presence may let one request in each 1.5 s, and its upstream is back within two seconds only if somebody is it.
TEST_F(ResonantTest, ATrialIsTakenSoonHoweverBadItsUpstreamLooks) {
  for (double& seconds : seconds_) seconds = 0.003;
  fails_[0] = 1;
  run(std::chrono::seconds(20), 45);
  for (int turn = 0; turn < 20; ++turn) {
    admission_.set_gate(0, sense::Gate::trial, 1);
    EXPECT_GE(run(std::chrono::milliseconds(500), 45)[0], 1) << turn;
    admission_.set_gate(0, sense::Gate::closed);
    run(std::chrono::milliseconds(500), 45);
  }
}

TEST_F(ResonantTest, OneThatFailedIsAskedAgainThoughAllOthersAreSlow) {
  for (double& seconds : seconds_) seconds = 0.2;
  seconds_[0] = 0.003;
  run(std::chrono::seconds(20), 45);
  fails_[0] = 1;
  run(std::chrono::seconds(5), 45);
  auto got = run(std::chrono::seconds(20), 45);
  EXPECT_LT(got[0], 40) << "of 900";
  EXPECT_GE(got[0], 8);
}

TEST_F(ResonantTest, OneThatFellSilentIsWorseThanSlowOnes) {
  for (double& seconds : seconds_) seconds = 0.2;
  seconds_[0] = 0.003;
  run(std::chrono::seconds(20), 45);
  hangs_[0] = true;
  run(std::chrono::milliseconds(100), 45);
  signals_[0].found_silent();
  EXPECT_LE(run(std::chrono::milliseconds(900), 45)[0], 1) << "of 40";
}

// One answer that happened to take long is no proof that it is cold. Where few requests come and nothing waits, it
// would be left alone for a second and more, and again after the next answer that took long by chance.
TEST_F(ResonantTest, AReturnedOneWhoseFirstAnswerWasSlowIsAskedAgainSoon) {
  for (double& seconds : seconds_) seconds = 0.003;
  admission_.set_gate(3, sense::Gate::closed);
  view_.upstreams.resize(kUpstreams);
  slow_start_ = std::chrono::seconds(10);
  for (const Nanoseconds first : {std::chrono::milliseconds(20), std::chrono::milliseconds(50)}) {
    int left_alone = 0;
    for (int turn = 0; turn < 400; ++turn) {
      admission_.set_gate(2, sense::Gate::closed);
      run(std::chrono::seconds(20), 45);
      admission_.set_gate(2, sense::Gate::open);
      view_.upstreams[2].admitted_since = now_;
      signals_[2].sent(now_);
      now_ += first;
      signals_[2].answered(now_ - first, now_, false);
      signals_[2].begin_anew();
      run(std::chrono::milliseconds(500), 45);
      if (run(std::chrono::seconds(2), 45)[2] < 3) ++left_alone;
    }
    EXPECT_LE(left_alone, 2) << "of 400 times, after " << first.count() << " ns";
  }
}

// An upstream that stood in for others, or was away, had now many requests per second and now few. That is not its
// tempo.
TEST_F(ResonantTest, WhatCameOfOthersComingAndGoingIsNotHeldAgainstOne) {
  for (double& seconds : seconds_) seconds = 0.003;
  run(std::chrono::seconds(20), 45);
  view_.routes.resize(1);
  view_.routes[0].rps = 45;
  view_.upstreams.resize(kUpstreams);
  view_.upstreams[0].tempo_spikiness = 1.2;
  view_.upstreams[0].rps = 40;
  view_.upstreams[0].requests = 600;
  ++view_.number;
  EXPECT_LE(run(std::chrono::seconds(2), 45)[0], 2) << "with a tempo of its own";
  view_.upstreams[3].presence_since = now_ - std::chrono::seconds(1);
  view_.upstreams[3].figures.transitions = 1;
  ++view_.number;
  EXPECT_LE(run(std::chrono::seconds(2), 45)[0], 2) << "nothing was heard of that one before";
  view_.upstreams[3].figures.transitions = 2;
  ++view_.number;
  EXPECT_NEAR(run(std::chrono::seconds(40), 45)[0], 450, 90);
  run(std::chrono::seconds(20), 45);
  EXPECT_LE(run(std::chrono::seconds(2), 45)[0], 2) << "that was long ago";
}

TEST_F(ResonantTest, WeightsShareTheLoadOfIdleUpstreams) {
  candidates_[0].weight = 3;
  std::map<std::size_t, int> got;
  for (int i = 0; i < 600; ++i) ++got[choose()];
  EXPECT_EQ(got[0], 300);
  EXPECT_EQ(got[1], 100);
}

TEST_F(ResonantTest, WeightsScaleTheCapacity) {
  candidates_[0].weight = 2;
  for (int i = 0; i < 4; ++i) send(0);
  for (std::size_t upstream = 1; upstream < kUpstreams; ++upstream) {
    for (int i = 0; i < 3; ++i) send(upstream);
  }
  EXPECT_EQ(choose(), 0U) << "4 of weight 2 are less than 3 of weight 1";
}

TEST_F(ResonantTest, TheIntentDecidesUntilTheLoadIsFarWorse) {
  candidates_[0].intents = 1;
  candidates_[1].intents = 2;
  candidates_[2].intents = 2;
  candidates_[3].intents = 2;
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(choose(1), 0U);
    send(0);
  }
  for (int i = 0; i < 10; ++i) EXPECT_NE(choose(2), 0U);
  candidates_[1].intents = 0;
  for (int i = 0; i < 50; ++i) {
    if (choose(1) == 1) return;  // one for any intent, when the right one has enough to do
    send(0);
  }
  FAIL() << "100 requests wait at the only one";
}

TEST_F(ResonantTest, ManyCandidatesAreDrawnFrom) {
  candidates_.clear();
  sense::InFlight in_flight(1000);
  sense::Admission admission(1000);
  std::vector<sense::UpstreamSignals> signals(1000);
  for (std::uint32_t i = 0; i < 1000; ++i) candidates_.push_back({.upstream = i});
  for (std::size_t i = 0; i < 1000; ++i) {
    if (i != 777) admission.set_gate(i, sense::Gate::closed);
  }
  Choosing one{.candidates = candidates_,
               .in_flight = in_flight,
               .admission = admission,
               .signals = signals,
               .view = view_,
               .now = now_,
               .random = random_};
  EXPECT_EQ(policy_->choose(one), 777U) << "the only one that is admitted is found";
  for (std::size_t i = 0; i < 1000; ++i) admission.set_gate(i, sense::Gate::open);
  std::map<std::size_t, int> got;
  for (int i = 0; i < 50'000; ++i) ++got[*policy_->choose(one)];
  int most = 0;
  for (const auto& [upstream, count] : got) most = std::max(most, count);
  EXPECT_EQ(got.size(), 1000U);
  EXPECT_LT(most, 120) << "on average 50";
}

TEST_F(ResonantTest, ExplainsTheChoiceItThenMakes) {
  const config::ResonantWeights weights{.load = 0.5, .intent = 0.4, .tempo = 0.1};
  policy_ = make_resonant(weights);
  view_.upstreams.resize(kUpstreams);
  view_.upstreams[3].tempo_spikiness = 0.9;
  view_.upstreams[3].rps = 200;
  view_.upstreams[3].requests = 12000;
  candidates_[0].intents = 1;
  seconds_[1] = 0.05;
  fails_[2] = 0.1;
  std::vector<Explained> explained;
  for (int round = 0; round < 200; ++round) {
    run(std::chrono::milliseconds(20), 1000);
    policy_->explain(choosing(1), explained);
    ASSERT_EQ(explained.size(), kUpstreams);
    const std::size_t chosen = choose(1);
    for (std::size_t i = 0; i < kUpstreams; ++i) {
      const Explained& one = explained[i];
      EXPECT_EQ(one.chosen, i == chosen);
      EXPECT_NEAR(one.load_resonance, std::min(10.0, one.latency + one.errors + one.queue), 1e-9);
      EXPECT_NEAR(
          one.score,
          weights.load * one.load_resonance + weights.intent * one.intent_gap + weights.tempo * one.tempo_spikiness,
          1e-9);
      EXPECT_GE(one.score, 0);
    }
    EXPECT_FALSE(explained[chosen].why.empty());
    if (explained[chosen].why == "smallest score") {
      for (const Explained& one : explained) EXPECT_GE(one.score, explained[chosen].score);
    }
  }
}

TEST_F(ResonantTest, ADormantOneTakesTurnsByWeight) {
  view_.level = sense::Level::dormant;
  candidates_[0].weight = 3;
  for (int i = 0; i < 20; ++i) send(0);
  std::map<std::size_t, int> got;
  for (int i = 0; i < 600; ++i) ++got[choose()];
  EXPECT_EQ(got, (std::map<std::size_t, int>{{0, 300}, {1, 100}, {2, 100}, {3, 100}}));
}

TEST_F(ResonantTest, AnAwareOneComparesTwo) {
  view_.level = sense::Level::aware;
  for (int i = 0; i < 20; ++i) send(0);
  std::map<std::size_t, int> got;
  for (int i = 0; i < 6000; ++i) ++got[choose()];
  EXPECT_EQ(got[0], 0) << "it loses against each of the others";
  for (std::size_t i = 1; i < kUpstreams; ++i) EXPECT_NEAR(got[i], 2000, 200);
}

TEST_F(ResonantTest, SaysSoWhenNobodyIsUsable) {
  for (std::size_t i = 0; i < kUpstreams; ++i) admission_.set_gate(i, sense::Gate::closed);
  EXPECT_EQ(policy_->choose(choosing()), std::nullopt);
  candidates_.clear();
  EXPECT_EQ(policy_->choose(choosing()), std::nullopt);
}

}  // namespace
}  // namespace dao::align

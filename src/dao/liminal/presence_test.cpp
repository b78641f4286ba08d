// Presence as a specification: what an upstream does, and what DAO makes of it, in virtual time.
#include "dao/liminal/presence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

namespace dao::liminal {
namespace {

using sense::Gate;
using sense::Outcome;
using sense::Presence;
using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""min;
using testing::EndsWith;

// The detector with a gate and workers before it, as Mind and server have them.
class PresenceTest : public testing::Test {
 protected:
  PresenceTest() { start(); }
  void start() {
    detector = std::make_unique<PresenceDetector>(settings, probe, now, 1);
    counters = std::make_unique<sense::OutcomeCounters>();
    admission = std::make_unique<sense::Admission>(1);
    before = {};
  }

  // The upstream is asked, if it is admitted. False: it was not.
  bool ask(Outcome outcome) {
    if (!admission->admits(0) || !admission->enter(0)) return false;
    asked++;
    tell(outcome);
    return true;
  }
  // What was asked before comes to an end.
  void tell(Outcome outcome) { sense::report_outcome(*counters, *admission, 0, outcome, settings.failures); }
  void step() {
    now += 100ms;
    Heard heard;
    for (std::size_t i = 0; i < sense::kOutcomes; ++i) {
      const std::uint64_t count = (*counters)[i].value();
      heard.outcomes[i] = count - std::exchange(before[i], count);
    }
    heard.failures_in_a_row = admission->failures_in_a_row(0);
    heard.gate = admission->gate(0);
    heard.tokens = admission->tokens(0);
    detector->step(heard, now);
    obey();
    if (probes && detector->probe_due(now)) {
      detector->begin_probe();
      ++probes_made;
      detector->probed(probe_answer, now);
      obey();
    }
  }
  void obey() {
    if (!detector->takes_gate()) return;
    if (detector->forgives()) admission->succeeded(0);
    admission->set_gate(0, detector->gate(), detector->tokens());
  }
  // Time passes; the upstream answers so to `per_step` requests in each step, if it gets them.
  void pass(Nanoseconds time, Outcome outcome, int per_step = 1) {
    for (const Instant end = now + time; now < end; step()) {
      for (int i = 0; i < per_step; ++i) ask(outcome);
    }
  }
  void idle(Nanoseconds time) {
    for (const Instant end = now + time; now < end;) step();
  }
  [[nodiscard]] Presence presence() const { return detector->presence(); }
  [[nodiscard]] bool admitted() const { return admission->admits(0); }
  [[nodiscard]] std::string history() const { return detector->figures().history.data(); }
  // Well known and well.
  void known() { pass(3s, Outcome::success); }

  config::Presence settings;
  config::Probe probe;
  Instant now{std::chrono::hours(1)};
  ProbeOutcome probe_answer = ProbeOutcome::good;
  bool probes = true;
  int probes_made = 0;
  int asked = 0;
  std::unique_ptr<PresenceDetector> detector;
  std::unique_ptr<sense::OutcomeCounters> counters;
  std::unique_ptr<sense::Admission> admission;
  std::array<std::uint64_t, sense::kOutcomes> before{};
};

TEST_F(PresenceTest, UnknownMayGetTraffic) {
  EXPECT_EQ(presence(), Presence::unknown);
  EXPECT_TRUE(admitted());
  idle(1min);
  EXPECT_EQ(presence(), Presence::unknown);
  EXPECT_EQ(probes_made, 0);  // nobody asked for probes
}

TEST_F(PresenceTest, OneAnswerMakesItPresent) {
  ask(Outcome::success);
  step();
  EXPECT_EQ(presence(), Presence::present);
}

TEST_F(PresenceTest, OneErrorSaysNothingOfAnUnknownOne) {
  ask(Outcome::server_error);
  step();
  EXPECT_EQ(presence(), Presence::unknown);
  EXPECT_TRUE(admitted());
}

TEST_F(PresenceTest, ARefusedConnectionActsAtOnce) {
  known();
  probe_answer = ProbeOutcome::refused;
  ASSERT_TRUE(ask(Outcome::refused));
  EXPECT_FALSE(admitted());  // before the mind has seen it
  step();
  EXPECT_EQ(presence(), Presence::absent);
  EXPECT_EQ(detector->reason(), "connections are refused");
}

TEST_F(PresenceTest, NoRequestAfterTheThirdFailure) {
  known();
  probe_answer = ProbeOutcome::refused;
  asked = 0;
  pass(10s, Outcome::transport, 20);
  EXPECT_EQ(asked, 3);
  EXPECT_EQ(presence(), Presence::absent);
}

// envoy#40697: after the first ejection it took more failures than before.
// Trials may be over before a second has passed; that all of them failed is no reason to think better of it.
TEST_F(PresenceTest, IsAbsentHoweverSoonItsTrialsFail) {
  pass(3s, Outcome::transport, 100);
  EXPECT_EQ(presence(), Presence::absent);
  EXPECT_LE(asked, 3 + 3 * 4);
}

TEST_F(PresenceTest, TheSecondTimeIsLikeTheFirst) {
  for (int turn = 0; turn < 5; ++turn) {
    probe_answer = ProbeOutcome::good;
    known();
    ASSERT_EQ(presence(), Presence::present) << turn;
    probe_answer = ProbeOutcome::refused;
    asked = 0;
    pass(5s, Outcome::transport, 20);
    EXPECT_EQ(asked, 3) << turn;
  }
}

// apisix#4959, Kong#15001: passive checks alone never bring anybody back.
TEST_F(PresenceTest, IsBackWithinTwoSeconds) {
  for (const Nanoseconds away : {Nanoseconds(500ms), Nanoseconds(7s), Nanoseconds(10min)}) {
    known();
    probe_answer = ProbeOutcome::refused;
    ask(Outcome::refused);
    idle(away);
    ASSERT_EQ(presence(), Presence::absent);
    probe_answer = ProbeOutcome::good;
    pass(2s, Outcome::success);
    EXPECT_EQ(presence(), Presence::present);
    EXPECT_EQ(detector->gate(), Gate::open);
    EXPECT_GE(detector->admitted_since(), now - 2s);  // for slow start
  }
}

// One request that was sent while it was away may end after it is back.
TEST_F(PresenceTest, OneLateFailureAfterItsReturnIsNoVerdict) {
  known();
  pass(1500ms, Outcome::timeout);
  ASSERT_NE(detector->gate(), Gate::open);
  pass(2s, Outcome::success);
  ASSERT_EQ(detector->gate(), Gate::open);
  start();
  pass(100ms, Outcome::success);
  tell(Outcome::timeout);
  step();
  EXPECT_EQ(presence(), Presence::present);
  tell(Outcome::timeout);
  step();
  EXPECT_EQ(presence(), Presence::liminal);
}

TEST_F(PresenceTest, AProbeThatTimesOutDoesNotPutOffTheNext) {
  probe.type = config::ProbeType::http;
  probe.timeout = Milliseconds(1000);
  start();
  known();
  probes = false;
  probe_answer = ProbeOutcome::timed_out;
  Instant last{};
  for (int i = 0; i < 300; ++i) {
    step();
    if (!detector->probe_due(now)) continue;
    if (i > 100) EXPECT_LE(now - last, 1600ms);
    last = now;
    detector->begin_probe();
    idle(1s);
    detector->probed(probe_answer, now);
    obey();
  }
  EXPECT_EQ(presence(), Presence::absent);
}

TEST_F(PresenceTest, ATrialIsOneRequest) {
  known();
  probe_answer = ProbeOutcome::refused;
  ask(Outcome::refused);
  step();
  probe_answer = ProbeOutcome::good;
  while (detector->gate() != Gate::trial) step();
  EXPECT_EQ(presence(), Presence::unknown);
  EXPECT_TRUE(admission->enter(0));
  EXPECT_FALSE(admitted());
  step();
  EXPECT_FALSE(admitted());
  tell(Outcome::success);
  step();
  EXPECT_EQ(presence(), Presence::present);
  EXPECT_EQ(detector->figures().trials, 1U);
  EXPECT_EQ(detector->figures().trials_failed, 0U);
}

// It accepts connections and answers nothing: sozu#260, a breaker that loops.
TEST_F(PresenceTest, FailedTrialsGetRarer) {
  known();
  idle(2s);
  pass(1s, Outcome::timeout, 3);
  ASSERT_EQ(presence(), Presence::absent);
  asked = 0;
  pass(60s, Outcome::timeout, 20);
  EXPECT_EQ(presence(), Presence::absent);
  EXPECT_GE(asked, 30);  // one in 1.5 s at least, or it could not be back within 2 s
  EXPECT_LE(asked, 65);
  asked = 0;
  pass(2s, Outcome::success);
  EXPECT_EQ(presence(), Presence::present);
}

// A trial that nobody answers must not be followed by one every second: each costs a client.
TEST_F(PresenceTest, AnUnansweredTrialIsWaitedFor) {
  known();
  idle(2s);
  pass(1s, Outcome::timeout, 3);
  ASSERT_EQ(presence(), Presence::absent);
  int taken = 0;
  for (int i = 0; i < 600; ++i) {
    if (admitted() && admission->enter(0)) ++taken;
    step();
  }
  EXPECT_GE(taken, 3);
  EXPECT_LE(taken, 7);
}

TEST_F(PresenceTest, ACancelledTrialIsMadeAgain) {
  known();
  probe_answer = ProbeOutcome::refused;
  ask(Outcome::refused);
  step();
  probe_answer = ProbeOutcome::good;
  while (detector->gate() != Gate::trial) step();
  ASSERT_TRUE(ask(Outcome::cancelled));
  EXPECT_FALSE(admitted());
  step();
  EXPECT_TRUE(admitted());
}

TEST_F(PresenceTest, ATrialThatNobodyTakesIsLookedAfter) {
  known();
  probe_answer = ProbeOutcome::refused;
  ask(Outcome::refused);
  step();
  probe_answer = ProbeOutcome::good;
  idle(5s);
  EXPECT_EQ(presence(), Presence::unknown);
  probe_answer = ProbeOutcome::refused;
  idle(5s);
  EXPECT_EQ(presence(), Presence::absent);
  EXPECT_FALSE(admitted());
}

TEST_F(PresenceTest, AThirdOfErrorsIsLiminalNeverAbsent) {
  for (const Outcome kind : {Outcome::server_error, Outcome::timeout, Outcome::transport}) {
    start();
    known();
    Random random(7);
    asked = 0;
    bool liminal = false;
    for (int i = 0; i < 3000; ++i) {
      for (int j = 0; j < 10; ++j) ask(random.unit() < 0.3 ? kind : Outcome::success);
      step();
      liminal = liminal || presence() == Presence::liminal;
      ASSERT_NE(presence(), Presence::absent) << static_cast<int>(kind) << " after " << i;
    }
    EXPECT_TRUE(liminal);
    EXPECT_GE(asked, 15000) << "it still gets traffic";
  }
}

// At 10 000 requests a second twenty outcomes are two milliseconds; a verdict on them would change all the time.
TEST_F(PresenceTest, HeavyTrafficGivesSteadyVerdicts) {
  known();
  Random random(3);
  for (int i = 0; i < 50; ++i) {
    for (int j = 0; j < 1000; ++j) ask(random.unit() < 0.3 ? Outcome::server_error : Outcome::success);
    step();
  }
  ASSERT_EQ(presence(), Presence::liminal);
  const std::uint64_t transitions = detector->figures().transitions;
  for (int i = 0; i < 600; ++i) {
    for (int j = 0; j < 1000; ++j) ask(random.unit() < 0.3 ? Outcome::server_error : Outcome::success);
    step();
  }
  EXPECT_EQ(detector->figures().transitions, transitions);
  EXPECT_THAT(history(), testing::MatchesRegex("[67]*"));
}

TEST_F(PresenceTest, OnlyServerErrorsEndInAbsence) {
  known();
  asked = 0;
  pass(5s, Outcome::server_error, 10);
  EXPECT_EQ(presence(), Presence::liminal);
  EXPECT_EQ(detector->gate() == Gate::open, false) << "left to trials";
  pass(28s, Outcome::server_error, 10);
  EXPECT_EQ(presence(), Presence::absent);
  asked = 0;
  pass(10s, Outcome::server_error, 10);
  EXPECT_LE(asked, 15);
  pass(2s, Outcome::success);
  EXPECT_EQ(presence(), Presence::present);
}

// Under heavier traffic a second is many clients' errors.
TEST_F(PresenceTest, TwentyServerErrorsWithoutASuccessAreEnough) {
  for (const int per_step : {3, 5, 20, 1000}) {
    start();
    known();
    asked = 0;
    pass(1s, Outcome::server_error, per_step);
    EXPECT_EQ(presence(), Presence::liminal);
    // Twenty, and what comes until the mind looks, for 300 ms at least; then a fair trial, and one request each time.
    EXPECT_LE(asked, std::max(20 + per_step, 3 * per_step) + 3 + 2) << per_step;
  }
}

TEST_F(PresenceTest, AnAnswerInTheMomentInWhichTheyBeginChangesNothing) {
  known();
  for (int i = 0; i < 3; ++i) ask(Outcome::server_error);
  ask(Outcome::success);
  step();
  pass(1700ms, Outcome::server_error);
  EXPECT_FALSE(admitted() && detector->gate() == Gate::open);
}

TEST_F(PresenceTest, AMomentOfServerErrorsIsNoVerdict) {
  known();
  for (int i = 0; i < 1000; ++i) ask(Outcome::server_error);
  step();
  step();
  EXPECT_TRUE(admitted());
  for (int i = 0; i < 1000; ++i) ask(Outcome::success);
  step();
  EXPECT_TRUE(admitted());
  EXPECT_EQ(detector->admitted_since(), Instant{}) << "it was never away";
}

TEST_F(PresenceTest, OnlyTheFirstTrialAfterServerErrorsHasSeveralRequests) {
  known();
  pass(1s, Outcome::server_error, 5);
  ASSERT_EQ(detector->gate() == Gate::open, false);
  asked = 0;
  pass(20s, Outcome::server_error, 5);
  EXPECT_LE(asked, 3 + 20);
  EXPECT_GE(asked, 13) << "one in 1.5 s at least, or it could not be back within 2 s";
  pass(2s, Outcome::success);
  EXPECT_EQ(presence(), Presence::present);
}

TEST_F(PresenceTest, FailuresWeighByTheirKind) {
  const auto score_with = [this](Outcome kind) {
    start();
    pass(1500ms, Outcome::success);
    for (int i = 0; i < 2; ++i) tell(kind);
    tell(Outcome::success);
    step();
    return detector->score();
  };
  const double server_error = score_with(Outcome::server_error);
  const double timeout = score_with(Outcome::timeout);
  const double transport = score_with(Outcome::transport);
  EXPECT_GT(server_error, timeout);
  EXPECT_GT(timeout, transport);
  EXPECT_GT(transport, score_with(Outcome::refused));
}

// Three in a row of one that never failed are no chance, however many successes were before.
TEST_F(PresenceTest, ThreeServerErrorsInARowMakeAWellOneLiminal) {
  known();
  pass(300ms, Outcome::server_error);
  EXPECT_EQ(presence(), Presence::liminal);
  EXPECT_EQ(history(), "EEE");
  pass(1s, Outcome::success);
  EXPECT_EQ(presence(), Presence::present) << "nor are ten successes after them";
}

// A policy sends little to one that fails, so that twenty outcomes would be a long time.
TEST_F(PresenceTest, AsksFewTimesBeforeItTrustsAgain) {
  known();
  for (int i = 0; i < 30; ++i) {  // seven of ten fail
    ask(i % 10 < 7 ? Outcome::server_error : Outcome::success);
    step();
  }
  ASSERT_EQ(presence(), Presence::liminal);
  for (asked = 0; presence() != Presence::present && asked < 30; step()) ask(Outcome::success);
  EXPECT_LE(asked, 10);
}

// What is rare is not taken for a change: of an upstream at which a fifth or more fails, rows are chance.
TEST_F(PresenceTest, RowsThatChanceExplainsChangeNothing) {
  // Of the time, at most that much another verdict than liminal; of 0.3, too, twenty outcomes may have three.
  for (const auto& [failing, at_most] : {std::pair{0.3, 0.25}, std::pair{0.5, 0.02}, std::pair{0.7, 0.01}}) {
    start();
    Random random(11);
    int wrong = 0;
    for (int i = 0; i < 6000; ++i) {  // ten minutes
      ask(random.unit() < failing ? Outcome::server_error : Outcome::success);
      step();
      if (i > 20 && presence() != Presence::liminal) ++wrong;
    }
    EXPECT_LE(wrong, 6000 * at_most) << failing;
  }
}

TEST_F(PresenceTest, CancellationsCountForNothing) {
  known();
  pass(1min, Outcome::cancelled, 10);
  EXPECT_EQ(presence(), Presence::present);
  EXPECT_EQ(history(), std::string(20, '.'));
}

// Failures in a row while others succeed: bad luck that a trial clears up.
TEST_F(PresenceTest, BadLuckIsNotAbsence) {
  known();
  ask(Outcome::success);
  for (int i = 0; i < 3; ++i) ask(Outcome::transport);
  EXPECT_FALSE(admitted());
  step();
  EXPECT_EQ(presence(), Presence::liminal);
  pass(1s, Outcome::success);
  EXPECT_EQ(presence(), Presence::present);
  EXPECT_EQ(detector->figures().entered[static_cast<std::size_t>(Presence::absent)], 0U);
}

// In a fair trial one more failure is not the end.
TEST_F(PresenceTest, ASuspectGetsAFairTrial) {
  known();
  ask(Outcome::success);
  for (int i = 0; i < 3; ++i) ask(Outcome::transport);
  while (detector->gate() != Gate::trial) step();
  EXPECT_TRUE(ask(Outcome::transport));
  EXPECT_TRUE(ask(Outcome::success));
  step();
  EXPECT_EQ(detector->gate(), Gate::open);
}

TEST_F(PresenceTest, ASuspectWhoseProbeIsRefusedIsAbsent) {
  known();
  ask(Outcome::success);
  for (int i = 0; i < 3; ++i) ask(Outcome::transport);
  probe_answer = ProbeOutcome::refused;
  step();
  EXPECT_EQ(presence(), Presence::absent);
  EXPECT_EQ(detector->cause(), PresenceDetector::Cause::connect);
}

TEST_F(PresenceTest, ConfiguredProbesFallAndRise) {
  probe.type = config::ProbeType::http;
  probe.interval = Milliseconds(1000);
  start();
  idle(3s);
  EXPECT_EQ(presence(), Presence::present);  // without a request
  probe_answer = ProbeOutcome::bad_answer;
  idle(5s);
  EXPECT_EQ(presence(), Presence::absent);
  EXPECT_EQ(detector->reason(), "probes fail");
  // It answers requests that were under way; the probe says no, perhaps on purpose.
  tell(Outcome::success);
  step();
  EXPECT_EQ(presence(), Presence::absent);
  probe_answer = ProbeOutcome::good;
  idle(2s);
  EXPECT_EQ(presence(), Presence::present);
  EXPECT_TRUE(admitted());
}

TEST_F(PresenceTest, OneFailedProbeIsNotEnough) {
  probe.type = config::ProbeType::tcp;
  probe.interval = Milliseconds(1000);
  start();
  idle(3s);
  for (int i = 0; i < 20; ++i) {
    probe_answer = ProbeOutcome::timed_out;
    const int made = probes_made;
    while (probes_made == made) step();
    probe_answer = ProbeOutcome::good;
    idle(2s);
    ASSERT_EQ(presence(), Presence::present);
  }
}

TEST_F(PresenceTest, ARefusedProbeActsAtOnce) {
  probe.type = config::ProbeType::http;
  probe.interval = Milliseconds(1000);
  start();
  idle(3s);
  probe_answer = ProbeOutcome::refused;
  idle(1100ms);
  EXPECT_EQ(presence(), Presence::absent);
  EXPECT_EQ(detector->cause(), PresenceDetector::Cause::connect);
  EXPECT_FALSE(admitted());
  probe_answer = ProbeOutcome::good;
  idle(1s);
  EXPECT_EQ(presence(), Presence::present);
}

// A policy that sends nothing more after the first timeout must not keep three from coming together.
TEST_F(PresenceTest, FailedRequestsAndProbesMakeARow) {
  probe.type = config::ProbeType::http;
  probe.interval = Milliseconds(10'000);
  start();
  known();
  probe_answer = ProbeOutcome::timed_out;
  tell(Outcome::timeout);
  idle(300ms);
  EXPECT_EQ(presence(), Presence::absent);
  EXPECT_EQ(detector->cause(), PresenceDetector::Cause::probes);
  EXPECT_EQ(detector->figures().probes_failed, 2U);
}

TEST_F(PresenceTest, AnAnswerBreaksThatRow) {
  probe.type = config::ProbeType::http;
  probe.interval = Milliseconds(10'000);
  start();
  known();
  tell(Outcome::timeout);
  tell(Outcome::success);
  probe_answer = ProbeOutcome::timed_out;
  idle(500ms);
  EXPECT_EQ(presence(), Presence::present);
}

TEST_F(PresenceTest, FailuresAskForNoMoreThanAProbeASecond) {
  probe.type = config::ProbeType::http;
  probe.interval = Milliseconds(60'000);
  start();
  known();
  const int made = probes_made;
  for (int i = 0; i < 100; ++i) {
    ask(Outcome::transport);
    ask(Outcome::success);
    step();
  }
  EXPECT_GE(probes_made - made, 9);
  EXPECT_LE(probes_made - made, 11);
}

// apisix#3616: probes that burn CPU.
TEST_F(PresenceTest, ProbesOfAnAbsentOneBackOff) {
  known();
  probe_answer = ProbeOutcome::refused;
  ask(Outcome::refused);
  idle(10min);
  EXPECT_LE(probes_made, 600);
  EXPECT_GE(probes_made, 390);  // at least one in 1.5 s
}

TEST_F(PresenceTest, AProbeThatCouldNotBeMadeSaysNothing) {
  probe.type = config::ProbeType::tcp;
  start();
  known();
  probe_answer = ProbeOutcome::not_done;
  idle(4min);
  EXPECT_EQ(presence(), Presence::present);
  EXPECT_EQ(detector->figures().probes_failed, 0U);
}

TEST_F(PresenceTest, LatencyIsNoPartOfIt) {
  known();
  for (int i = 0; i < 100; ++i) {  // an answer each ten seconds
    idle(10s);
    ask(Outcome::success);
    step();
    ASSERT_EQ(presence(), Presence::present);
  }
}

TEST_F(PresenceTest, WhatWasLongAgoIsForgotten) {
  known();
  idle(6min);
  EXPECT_EQ(presence(), Presence::unknown);
  EXPECT_TRUE(admitted());
}

TEST_F(PresenceTest, IsKeptOverAReload) {
  known();
  probe_answer = ProbeOutcome::refused;
  ask(Outcome::refused);
  idle(3s);
  const PresenceDetector::State state = detector->save(now);
  start();
  detector->restore(state, 1s, now);
  obey();
  EXPECT_EQ(presence(), Presence::absent);
  EXPECT_FALSE(admitted()) << "haproxy#199: a reload sent traffic to servers that were known to be down";
  EXPECT_THAT(history(), EndsWith("R"));
  probe_answer = ProbeOutcome::good;
  pass(2s, Outcome::success);
  EXPECT_EQ(presence(), Presence::present);
}

TEST_F(PresenceTest, WhatWasKeptTooLongIsUnknown) {
  known();
  const PresenceDetector::State state = detector->save(now);
  start();
  detector->restore(state, 10min, now);
  EXPECT_EQ(presence(), Presence::unknown);
}

TEST_F(PresenceTest, OffMeansOff) {
  settings.enabled = false;
  settings.failures = 0;  // as the workers have it then
  start();
  pass(1min, Outcome::refused, 10);
  EXPECT_EQ(presence(), Presence::unknown);
  EXPECT_TRUE(admitted());
  EXPECT_EQ(probes_made, 0);
}

}  // namespace
}  // namespace dao::liminal

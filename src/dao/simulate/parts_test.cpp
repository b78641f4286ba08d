// The parts of a simulation, each by itself.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "dao/simulate/arrivals.h"
#include "dao/simulate/condition.h"
#include "dao/simulate/due_line.h"
#include "dao/simulate/event_queue.h"
#include "dao/simulate/latency_record.h"

namespace dao::simulate {
namespace {

using std::chrono::seconds;

constexpr Time kSecond = 1'000'000'000;

TEST(EventQueue, GivesTheEarliestFirstAndEqualOnesInTheirOrder) {
  EventQueue queue;
  Random random(1);
  std::vector<std::pair<Time, std::uint32_t>> added;
  for (std::uint32_t i = 0; i < 2000; ++i) {
    const Time time = random.below(100);
    added.emplace_back(time, i);
    queue.add({.time = time, .subject = i});
  }
  std::ranges::sort(added);
  for (const auto& [time, subject] : added) {
    ASSERT_EQ(queue.next_time(), time);
    ASSERT_EQ(queue.take().subject, subject);
  }
  EXPECT_EQ(queue.next_time(), kEndOfTime);
}

TEST(Line, KeepsTheOrderWhileItGrows) {
  Line<int> line;
  int in = 0;
  int out = 0;
  for (int round = 1; round < 60; ++round) {
    for (int i = 0; i < round; ++i) line.add(in++);
    for (int i = 0; i < round / 2; ++i) ASSERT_EQ(line.take(), out++);
  }
  while (!line.empty()) ASSERT_EQ(line.take(), out++);
  EXPECT_EQ(in, out);
}

TEST(LatencyRecord, IsRightToTwoPerMille) {
  LatencyRecord record;
  std::vector<std::uint64_t> values;
  Random random(3);
  for (int i = 0; i < 50'000; ++i) {
    values.push_back(static_cast<std::uint64_t>(std::exp(random.unit() * 25)));
    record.add(values.back());
  }
  std::ranges::sort(values);
  for (const double quantile : {0.01, 0.5, 0.9, 0.99, 0.999}) {
    const auto exact = static_cast<double>(values[static_cast<std::size_t>(std::ceil(quantile * 50'000)) - 1]) * 1e-6;
    EXPECT_NEAR(record.quantile_ms(quantile), exact, exact * 0.002) << quantile;
  }
  EXPECT_DOUBLE_EQ(record.max_ms(), static_cast<double>(values.back()) * 1e-6);
  EXPECT_EQ(LatencyRecord{}.quantile_ms(0.99), 0);
}

Scenario with_arrivals(Arrivals arrivals) {
  Scenario scenario;
  scenario.arrivals = std::move(arrivals);
  return scenario;
}

// Requests in each of the first seconds.
std::vector<double> counts(const Scenario& scenario, std::size_t seconds) {
  ArrivalProcess arrivals(scenario, 5);
  std::vector<double> per_second(seconds);
  Time before = 0;
  for (;;) {
    const Time at = arrivals.next();
    EXPECT_GE(at, before);
    before = at;
    if (at >= seconds * kSecond) return per_second;
    per_second[at / kSecond] += 1;
  }
}

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}
double variance_of(const std::vector<double>& values) {
  const double mean = mean_of(values);
  double sum = 0;
  for (const double value : values) sum += (value - mean) * (value - mean);
  return sum / static_cast<double>(values.size());
}

TEST(Arrivals, PoissonHasItsMeanAndVariance) {
  const auto per_second = counts(with_arrivals({.rate = 100, .load = {}, .trace_path = {}, .trace = {}}), 2000);
  EXPECT_NEAR(mean_of(per_second), 100, 1);
  EXPECT_NEAR(variance_of(per_second), 100, 12);
}

TEST(Arrivals, ConstantComesEvenly) {
  const auto per_second = counts(
      with_arrivals({.kind = ArrivalKind::constant, .rate = 100, .load = {}, .trace_path = {}, .trace = {}}), 50);
  EXPECT_LE(std::ranges::max(per_second) - std::ranges::min(per_second), 2) << "one more or less at each end";
}

TEST(Arrivals, BurstsKeepTheMeanRate) {
  const auto per_second = counts(with_arrivals({.kind = ArrivalKind::bursts,
                                                .rate = 50,
                                                .load = {},
                                                .burst_factor = 5,
                                                .burst_seconds = 2,
                                                .burst_every_seconds = 10,
                                                .trace_path = {},
                                                .trace = {}}),
                                 20'000);
  EXPECT_NEAR(mean_of(per_second), 50, 1.5);
  EXPECT_GT(variance_of(per_second), 500) << "ten times that of Poisson arrivals";
}

TEST(Arrivals, ATraceIsFollowedAndEnds) {
  const Scenario scenario =
      with_arrivals({.kind = ArrivalKind::trace, .rate = 100, .load = {}, .trace_path = {}, .trace = {1, 0, 3, 0}});
  const auto per_second = counts(scenario, 10);
  EXPECT_NEAR(per_second[0], 100, 40);
  EXPECT_EQ(per_second[1], 0);
  EXPECT_NEAR(per_second[2], 300, 70);
  EXPECT_EQ(per_second[3] + per_second[4] + per_second[9], 0);
}

Scenario with_fault(Fault fault) {
  Scenario scenario;
  scenario.backends.resize(1);
  fault.backends = {0};
  scenario.faults = {std::move(fault)};
  return scenario;
}

// How much of the time up to `end` a backend is slow.
double slow_share(const Scenario& scenario, Time end) {
  Condition condition(scenario, 0, 9);
  Time slow = 0;
  Time at = 0;
  while (at < end) {
    const bool was_slow = condition.slowness(at) > 1;
    const Time next = std::min(end, condition.next_change());
    if (was_slow) slow += next - at;
    at = next;
    if (condition.next_change() == at) condition.change(at);
  }
  return static_cast<double>(slow) / static_cast<double>(end);
}

TEST(Condition, AFaultBeginsAndEnds) {
  const Scenario scenario =
      with_fault({.effect = Effect::slow, .backends = {}, .from = seconds(2), .to = seconds(5), .factor = 3});
  Condition condition(scenario, 0, 1);
  EXPECT_EQ(condition.next_change(), 2 * kSecond);
  EXPECT_EQ(condition.slowness(kSecond), 1);
  condition.change(2 * kSecond);
  EXPECT_EQ(condition.slowness(3 * kSecond), 3);
  EXPECT_EQ(condition.next_change(), 5 * kSecond);
  condition.change(5 * kSecond);
  EXPECT_EQ(condition.slowness(6 * kSecond), 1);
  EXPECT_EQ(condition.next_change(), kEndOfTime);
}

TEST(Condition, EpisodesTakeTheirShareOfTheTime) {
  Fault fault{.effect = Effect::slow, .backends = {}, .to = {}, .on = seconds(1), .off = seconds(4), .factor = 3};
  EXPECT_NEAR(slow_share(with_fault(fault), 1000 * kSecond), 0.2, 0.001);
  fault.random = true;
  EXPECT_NEAR(slow_share(with_fault(fault), 50'000 * kSecond), 0.2, 0.01);
}

TEST(Condition, WhatIsColdWarmsUpSteadily) {
  const Scenario scenario =
      with_fault({.effect = Effect::cold, .backends = {}, .from = seconds(0), .to = seconds(4), .factor = 9});
  Condition condition(scenario, 0, 1);
  condition.change(0);
  EXPECT_DOUBLE_EQ(condition.slowness(0), 9);
  EXPECT_DOUBLE_EQ(condition.slowness(2 * kSecond), 5);
  EXPECT_NEAR(condition.slowness(4 * kSecond - 1), 1, 1e-6);
}

TEST(Scenario, TheCapacityKnowsOfFaultsThatComeAndGo) {
  Scenario scenario = with_fault({.effect = Effect::slow, .backends = {}, .to = {}, .factor = 4});
  scenario.backends[0].slots = 8;
  scenario.backends[0].service.mean_seconds = 0.01;
  EXPECT_DOUBLE_EQ(scenario.capacity(), 800) << "one that stays is what the scenario is about";
  scenario.faults[0].on = seconds(1);
  scenario.faults[0].off = seconds(3);
  EXPECT_DOUBLE_EQ(scenario.capacity(), 800 * (0.75 + 0.25 / 4));
}

}  // namespace
}  // namespace dao::simulate

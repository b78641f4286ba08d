// Does it find what is worse, and leave alone what is not? Seeded trials of whole transitions in virtual time, told as
// a table; docs/metamorphic.md has it from `make campaign-metamorphic`, which makes more of them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "dao/liminal/transition_world.h"

namespace dao::liminal {
namespace {

// `make campaign-metamorphic` says how many trials, and wants all cases.
const char* campaign() {
  return std::getenv("DAO_METAMORPHIC_TRIALS");
}

std::size_t trials() {
  if (campaign() != nullptr) return std::strtoul(campaign(), nullptr, 10);
#ifdef DAO_SANITIZED
  return 4;  // the statistics are the same in every build; here it is about memory
#else
  return 100;
#endif
}

struct Tally {
  std::size_t trials = 0;
  std::size_t early = 0;  // found worse before 20 %
  std::size_t found = 0;
  double median_progress = 0;  // when found
  double median_seconds = 0;
};

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  return values[values.size() / 2];
}

Tally tally(const std::string& name, const Traffic& traffic, double until, const config::Metamorphic& settings = {}) {
  static bool titled = false;
  if (!titled)
    fmt::print("| case | trials | found before 20 % | found | at progress | after |\n|---|---|---|---|---|---|\n");
  titled = true;
  Tally tally{.trials = trials()};
  std::vector<double> progress;
  std::vector<double> seconds;
  for (std::size_t seed = 0; seed < tally.trials; ++seed) {
    TransitionWorld world(traffic, settings, seed + 1);
    const Outcome outcome = world.run(until);
    if (!outcome.figures.worse) continue;
    ++tally.found;
    if (outcome.found(0.2)) ++tally.early;
    progress.push_back(outcome.figures.progress_at_verdict * 100);
    seconds.push_back(std::chrono::duration<double>(outcome.figures.elapsed).count());
  }
  fmt::print("| {} | {} | {} | {} |", name, tally.trials, tally.early, tally.found);
  if (tally.found > 0) fmt::print(" {:.1f} % | {:.0f} s |\n", median(progress), median(seconds));
  if (tally.found == 0) fmt::print(" | |\n");
  return tally;
}

struct Case {
  std::string name;
  Traffic traffic;
  bool in_campaign_only = false;
};

// What must be found before 20 %, in 95 of 100 trials.
std::vector<Case> worse() {
  return {
      {"5 % errors more, none before", {.errors = 0, .added_errors = 0.05}},
      {"5 % errors more, 0.1 % before", {.added_errors = 0.05}},
      {"5 % errors more, 5 % before", {.errors = 0.05, .added_errors = 0.05}},
      {"5 % errors more, bursts and outages", {.bursts = true, .outages = true, .added_errors = 0.05}},
      {"5 % errors more, groups of 4 requests", {.at_once = 4, .added_errors = 0.05}},
      {"30 % longer, lognormal", {.latency_factor = 1.3}},
      {"30 % longer, lognormal, spread 1", {.spread = 1, .latency_factor = 1.3}},
      {"30 % longer, exponential", {.service = ServiceTime::exponential, .latency_factor = 1.3}},
      {"30 % longer, slow phases and bursts", {.bursts = true, .slow_phases = true, .latency_factor = 1.3}},
      {"30 % longer, groups of 4 requests", {.at_once = 4, .latency_factor = 1.3}},
      {"one in ten takes five times as long", {.slow_share = 0.1}},
      {"all fail", {.added_errors = 1}},
  };
}

// What must be left alone, in 99 of 100 trials.
std::vector<Case> harmless() {
  return {
      {"equal, no errors", {.errors = 0}},
      {"equal, 0.1 % errors", {}},
      {"equal, 5 % errors", {.errors = 0.05}},
      {"equal, bursts", {.bursts = true, .at_once = 4}, true},
      {"equal, slow phases and outages", {.bursts = true, .slow_phases = true, .outages = true}},
      {"equal, exponential", {.service = ServiceTime::exponential}, true},
      {"equal, clients that differ and change", {.skew = 0.8, .client_spread = 1, .client_phases = true}},
      {"equal, a fifth from a client that fails", {.first_client = 0.2, .first_client_fails = true}},
      {"equal, 40 clients that differ", {.clients = 40, .skew = 1, .client_spread = 1}, true},
      {"equal, 40 clients that change",
       {.clients = 40, .client_spread = 0.5, .client_phases = true, .outages = true},
       true},
      {"equal, 40 clients that fail at times", {.clients = 40, .client_spread = 0.5, .client_failures = true}},
      {"equal, 10 clients that change", {.clients = 10, .client_spread = 0.5, .client_phases = true}, true},
      {"equal, 10 clients that fail at times", {.clients = 10, .client_failures = true}, true},
      {"equal, groups of 20, slow phases", {.at_once = 20, .slow_phases = true}, true},
      {"equal, skewed clients, one of 30 %", {.skew = 1.2, .first_client = 0.3, .client_spread = 1}, true},
      {"equal, 5000 rps", {.rps = 5000, .over = std::chrono::minutes(1), .client_spread = 1, .outages = true}, true},
      {"equal, a transition of 20 s", {.over = std::chrono::seconds(20), .slow_phases = true, .outages = true}, true},
      {"10 % longer, which is the limit", {.latency_factor = 1.1}, true},
      {"0.5 % errors more, which is the limit", {.added_errors = 0.005}, true},
      {"0.5 % longer", {.latency_factor = 1.005}},
      {"0.1 % errors more", {.added_errors = 0.001}, true},
  };
}

TEST(TransitionTrials, WhatIsWorseIsFoundBeforeAFifthOfTheClientsSeeIt) {
  for (const Case& one : worse()) {
    const Tally found = tally(one.name, one.traffic, 0.2);
    EXPECT_GE(found.early * 100, found.trials * 95) << one.name;
  }
}

TEST(TransitionTrials, WhatIsNotWorseIsLeftAlone) {
  for (const Case& one : harmless()) {
    if (one.in_campaign_only && campaign() == nullptr) continue;
    const Tally found = tally(one.name, one.traffic, 1);
    EXPECT_LE(found.found * 100, found.trials) << one.name;
  }
}

// With less traffic it is found later; what is left alone stays so.
TEST(TransitionTrials, WithLittleTrafficItTakesLonger) {
  for (const double rps : {50.0, 5.0}) {
    const std::size_t clients = rps > 20 ? 500 : 100;
    const auto with = [&](Traffic traffic) {
      traffic.rps = rps;
      traffic.clients = clients;
      return traffic;
    };
    const std::string rate = fmt::format(", {} rps", rps);
    const Tally errors = tally("5 % errors more" + rate, with({.added_errors = 0.05}), 1);
    const Tally longer = tally("30 % longer, lognormal" + rate, with({.latency_factor = 1.3}), 1);
    const Tally all = tally("all fail" + rate, with({.added_errors = 1}), 1);
    const Tally equal = tally("equal" + rate, with({}), 1);
    if (rps > 20) {
      EXPECT_GE(errors.found * 100, errors.trials * 95);
      EXPECT_GE(longer.found * 100, longer.trials * 95);
    } else {
      EXPECT_GE(errors.found * 100, errors.trials * 50);
      EXPECT_LT(longer.found, longer.trials) << "docs/metamorphic.md says that it may be missed";
    }
    EXPECT_GE(all.early * 100, all.trials * 95);
    EXPECT_LE(equal.found * 100, equal.trials);
  }
}

// Where there are few clients, each is compared with itself.
TEST(TransitionTrials, FewClients) {
  const Tally errors = tally("5 % errors more, 10 clients", {.clients = 10, .added_errors = 0.05}, 1);
  const Tally longer = tally("30 % longer, 10 clients", {.clients = 10, .latency_factor = 1.3}, 1);
  const Tally all = tally("all fail, 10 clients", {.clients = 10, .added_errors = 1}, 1);
  EXPECT_GE(errors.found * 100, errors.trials * 90);
  EXPECT_LT(longer.found, longer.trials) << "docs/metamorphic.md says that it may be missed";
  EXPECT_GE(all.found * 100, all.trials * 95);
}

}  // namespace
}  // namespace dao::liminal

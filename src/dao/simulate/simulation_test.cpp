#include "dao/simulate/simulation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "dao/simulate/report.h"
#include "dao/simulate/scenario_file.h"

namespace dao::simulate {
namespace {

Scenario scenario_of(std::string_view text) {
  auto scenario = parse_scenario(text, "test.toml");
  EXPECT_TRUE(scenario) << (scenario ? "" : scenario.error().front().message);
  return scenario.value_or(Scenario{});
}

Figures figures_of(const Scenario& scenario, std::string_view policy) {
  const auto run = simulate(scenario, policy);
  EXPECT_TRUE(run) << (run ? "" : run.error());
  return run.value_or(simulate::Run{}).figures;
}

std::string four_backends(std::string_view more, double seconds = 20) {
  return "seconds = " + std::to_string(seconds) +
         "\nwarm_up_seconds = 2\n"
         "[arrivals]\nload = 0.6\n"
         "[[backends]]\nname = \"well\"\ncount = 3\nmean_ms = 12.8\n"
         "[[backends]]\nname = \"sick\"\nmean_ms = 12.8\n" +
         std::string(more);
}

// The mean time in a queue with `servers` servers, Poisson arrivals and exponential service: Erlang's C formula.
double erlang_c_mean(unsigned servers, double load, double mean_service) {
  const double offered = servers * load;
  double term = 1;  // offered^n / n!
  double sum = 0;
  for (unsigned n = 0; n < servers; ++n) {
    sum += term;
    term *= offered / (n + 1);
  }
  const double queued = term / (1 - load);
  const double waits = queued / (sum + queued);
  return mean_service + waits * mean_service / (servers * (1 - load));
}

TEST(Simulation, AgreesWithErlangC) {
  for (const unsigned slots : {1U, 8U}) {
    const Scenario scenario = scenario_of(
        "requests = 600_000\nwarm_up_seconds = 20\n[arrivals]\nload = 0.8\n"
        "[[backends]]\nname = \"one\"\nmean_ms = 10\nslots = " +
        std::to_string(slots));
    const double expected = erlang_c_mean(slots, 0.8, 10);
    EXPECT_NEAR(figures_of(scenario, "round-robin").mean_ms, expected, expected * 0.04) << slots << " slots";
  }
}

TEST(Simulation, AgreesWithPollaczekAndKhinchine) {
  // Mean wait = load / (1 - load) * (1 + cv^2) / 2 * mean service.
  struct Case {
    std::string service;
    double cv_squared;
  };
  for (const Case& one :
       {Case{"service = \"constant\"", 0}, Case{"service = \"lognormal\"\nsigma = 0.8", std::exp(0.64) - 1}}) {
    const Scenario scenario = scenario_of(
        "requests = 600_000\nwarm_up_seconds = 20\n[arrivals]\nload = 0.7\n"
        "[[backends]]\nname = \"one\"\nslots = 1\nmean_ms = 10\n" +
        one.service);
    const double expected = 10 + 0.7 / 0.3 * (1 + one.cv_squared) / 2 * 10;
    EXPECT_NEAR(figures_of(scenario, "round-robin").mean_ms, expected, expected * 0.04) << one.service;
  }
}

TEST(Simulation, GivesTheSameFiguresForTheSameSeed) {
  const auto report = [](std::uint64_t seed) {
    Scenario scenario = scenario_of("nodes = 3\nworkers = 2\n" +
                                    four_backends("[[faults]]\neffect = \"slow\"\nfactor = 5\nbackends = [\"*\"]\n"
                                                  "on_seconds = 1\noff_seconds = 5\nrandom = true\n",
                                                  10));
    scenario.seed = seed;
    std::vector<simulate::Run> runs;
    for (const char* policy : {"random", "least-connections", "resonant"}) runs.push_back(*simulate(scenario, policy));
    return render_json(scenario, runs, {});
  };
  const std::string once = report(7);
  EXPECT_EQ(once, report(7));
  EXPECT_NE(once, report(8));
}

TEST(Simulation, ShowsEveryPolicyTheSameRequests) {
  const Scenario scenario = scenario_of(
      "seconds = 20\n[arrivals]\nload = 0.7\n[[backends]]\nname = \"only\"\nmean_ms = 10\n"
      "[[faults]]\neffect = \"slow\"\nfactor = 3\nbackends = [\"only\"]\non_seconds = 1\noff_seconds = 5\nrandom = "
      "true");
  const Figures one = figures_of(scenario, "round-robin");
  const Figures other = figures_of(scenario, "random");
  EXPECT_EQ(one.mean_ms, other.mean_ms);
  EXPECT_EQ(one.max_ms, other.max_ms);
  EXPECT_EQ(one.requests, other.requests);
}

TEST(Simulation, SaysWhichPolicyDoesNotExist) {
  const auto run = simulate(scenario_of(four_backends("")), "astrology");
  ASSERT_FALSE(run);
  EXPECT_NE(run.error().find("astrology"), std::string::npos) << run.error();
}

TEST(Simulation, RetriesElsewhereWhatIsRefused) {
  const std::string refusing =
      four_backends("[[faults]]\neffect = \"refuse\"\nbackends = [\"sick\"]\nfrom_seconds = 5\nto_seconds = 6\n");
  const Figures with = figures_of(scenario_of(refusing), "round-robin");
  EXPECT_EQ(with.errors, 0);
  EXPECT_GT(with.retries, 0);
  EXPECT_LT(with.retries, 20) << "presence soon leaves it alone";
  const Figures without = figures_of(scenario_of("retries = 0\n" + refusing), "round-robin");
  EXPECT_GT(without.errors, 0);
  EXPECT_EQ(without.retries, 0);
}

TEST(Simulation, KeepsRetriesWithinTheBudget) {
  const std::string failing =
      four_backends("[[faults]]\neffect = \"fail\"\nbackends = [\"well\", \"sick\"]\nprobability = 0.5\n");
  const Figures figures = figures_of(scenario_of(failing), "random");
  EXPECT_GT(figures.retries_denied, 0);
  EXPECT_LT(figures.retries, figures.requests * 0.22) << "20 percent of the requests, and 10 a second";
  EXPECT_GT(figures.errors, figures.requests * 0.25);
}

TEST(Simulation, FailingFastIsSeenInTheFigures) {
  const Scenario scenario = scenario_of(
      "retries = 0\n" +
      four_backends("[[faults]]\neffect = \"fail\"\nbackends = [\"sick\"]\nafter_ms = 0.5\nfrom_seconds = 5\n"));
  const Figures figures = figures_of(scenario, "round-robin");
  EXPECT_NEAR(figures.sick_share_before, 0.25, 0.001);
  EXPECT_LT(figures.sick_share_after, 0.02) << "presence leaves it to trials";
  EXPECT_GT(figures.error_share, 0.005);
  EXPECT_LT(figures.error_share, 0.25 * 15 / 18);
}

// A line before a backend is no silence.
TEST(Simulation, NobodyIsSilentWhereAllIsWell) {
  const Scenario scenario =
      scenario_of("seconds = 60\n[arrivals]\nload = 0.9\n[[backends]]\nname = \"well\"\ncount = 4\nmean_ms = 12.8\n");
  EXPECT_EQ(figures_of(scenario, "round-robin").retries, 0);
  EXPECT_EQ(figures_of(scenario, "least-connections").retries, 0);
}

TEST(Simulation, WhatHangsIsAnsweredByTheTimeout) {
  const Scenario scenario = scenario_of(
      "retries = 0\nfirst_byte_timeout_ms = 300\n" +
      four_backends("[[faults]]\neffect = \"hang\"\nbackends = [\"sick\"]\nfrom_seconds = 5\nto_seconds = 7\n"));
  const Figures figures = figures_of(scenario, "round-robin");
  EXPECT_DOUBLE_EQ(figures.max_ms, 300);
  EXPECT_GT(figures.errors, 100);
  EXPECT_LT(figures.errors, 500) << "presence leaves it alone after the first timeouts";
}

TEST(Simulation, ASilentBackendIsLeftForAnother) {
  const std::string hang =
      four_backends("[[faults]]\neffect = \"hang\"\nbackends = [\"sick\"]\nfrom_seconds = 5\nto_seconds = 7\n");
  const Figures with = figures_of(scenario_of("first_byte_timeout_ms = 1000\n" + hang), "least-connections");
  const Figures without =
      figures_of(scenario_of("retries = 0\nfirst_byte_timeout_ms = 1000\n" + hang), "least-connections");
  EXPECT_GT(with.retries, 0);
  EXPECT_LT(with.errors, without.errors);
}

TEST(Simulation, ClientsGoAway) {
  const Scenario scenario = scenario_of(
      "client_timeout_ms = 100\n" +
      four_backends("[[faults]]\neffect = \"slow\"\nfactor = 20\nbackends = [\"sick\"]\nfrom_seconds = 5\n"));
  const Figures figures = figures_of(scenario, "round-robin");
  EXPECT_DOUBLE_EQ(figures.max_ms, 100);
  EXPECT_GT(figures.errors, 50) << "before it was known to be silent";
}

TEST(Simulation, WhatIsUnderWayAtAKilledBackendIsLost) {
  const std::string killed = four_backends(
      "[[faults]]\neffect = \"refuse\"\nbackends = [\"sick\"]\nfrom_seconds = 5\nto_seconds = 5.000001\n");
  const Figures lost = figures_of(scenario_of("retries = 0\n" + killed), "round-robin");
  EXPECT_GT(lost.errors, 0);
  EXPECT_LT(lost.errors, 40) << "what was in service and in line";
  EXPECT_EQ(figures_of(scenario_of(killed), "round-robin").errors, 0) << "sent again elsewhere";
}

TEST(Simulation, AFullQueueAnswers503) {
  const std::string overload =
      "seconds = 5\nretries = 0\n[arrivals]\nload = 1.5\n[[backends]]\nname = \"one\"\nmean_ms = 10\nqueue = 4\n";
  const Figures figures = figures_of(scenario_of(overload), "round-robin");
  EXPECT_NEAR(figures.error_share, 1.0 / 3, 0.05);
  EXPECT_EQ(figures.deepest, 12);
}

TEST(Simulation, ABackendThatWasColdIsWarmInTheEnd) {
  const std::string cold = "[[faults]]\neffect = \"cold\"\nfactor = 10\nbackends = [\"*\"]\nto_seconds = 5\n";
  const std::string quiet =
      "seconds = 40\n[arrivals]\nload = 0.05\n[[backends]]\nname = \"one\"\nmean_ms = 10\nservice = \"constant\"\n";
  const Figures all = figures_of(scenario_of(quiet + cold), "round-robin");
  EXPECT_GT(all.max_ms, 90);
  EXPECT_LE(all.max_ms, 100);
  const Figures later = figures_of(scenario_of("warm_up_seconds = 6\n" + quiet + cold), "round-robin");
  EXPECT_LT(later.max_ms, 10.1);
}

TEST(Simulation, TheRoundTripIsPartOfTheLatency) {
  const std::string text =
      "seconds = 20\n[arrivals]\nload = 0.01\n[[backends]]\nname = \"one\"\nmean_ms = 10\nservice = \"constant\"\n";
  EXPECT_NEAR(figures_of(scenario_of(text), "round-robin").p50_ms, 10, 0.03);
  EXPECT_NEAR(figures_of(scenario_of("round_trip_ms = 2\n" + text), "round-robin").p50_ms, 12, 0.03);
}

TEST(Simulation, LeastConnectionsMeetsItsKnownFlaw) {
  // What answers errors at once has no connections: it draws the traffic, as long as presence does not see to it.
  const Scenario scenario =
      scenario_of("retries = 0\n" + four_backends("[[faults]]\neffect = \"fail\"\nbackends = [\"sick\"]\n"
                                                  "probability = 0.3\nfrom_seconds = 5\n"));
  EXPECT_GT(figures_of(scenario, "least-connections").sick_share_after,
            1.1 * figures_of(scenario, "resonant").sick_share_after);
}

// The shipped scenarios, shortened, with the policy that they are about.
TEST(Simulation, ResonantMeetsTheExpectationsOfShortenedScenarios) {
  const char* source = std::getenv("DAO_SOURCE_DIR");
  ASSERT_NE(source, nullptr) << "set DAO_SOURCE_DIR to the source tree (ctest does)";
  for (const char* name : {"degraded", "identical", "fast-fail", "fast-fail-some", "cold-start"}) {
    auto scenario = load_scenario(std::string(source) + "/configs/scenarios/" + name + ".toml");
    ASSERT_TRUE(scenario) << name;
    scenario->seconds = 30;
    std::vector<simulate::Run> runs;
    for (const char* policy : {"round-robin", "least-connections", "resonant"}) {
      runs.push_back(*simulate(*scenario, policy));
    }
    for (const Verdict& verdict : check(*scenario, runs)) {
      EXPECT_NE(verdict.outcome, Verdict::Outcome::failed)
          << name << ": " << verdict.expectation->figure << " of " << verdict.policy << ": " << verdict.value << " ("
          << verdict.reference << " " << verdict.reference_value << ")";
    }
  }
}

}  // namespace
}  // namespace dao::simulate

#include <utility>

#include "dao/simulate/report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace dao::simulate {
namespace {

Run run_of(std::string policy, double p99_ms) {
  Run run{.policy = std::move(policy), .figures = {}};
  run.figures.p99_ms = p99_ms;
  run.figures.shares = {1};
  run.simulated = 1000;
  run.wall_seconds = 1;
  return run;
}

Scenario expecting(Expectation expectation) {
  Scenario scenario;
  scenario.name = "test";
  scenario.arrivals.rate = 10;
  scenario.backends.resize(1);
  scenario.backends[0].name = "only";
  scenario.expectations = {std::move(expectation)};
  return scenario;
}

const std::vector<Run> kRuns = {run_of("round-robin", 100), run_of("least-connections", 20), run_of("resonant", 10),
                                run_of("optimize-for-latency", 5)};

Verdict::Outcome outcome(Expectation expectation) {
  const Scenario scenario = expecting(std::move(expectation));
  return check(scenario, kRuns).front().outcome;
}

Expectation of_resonant(std::optional<double> at_most, std::string relative_to = {}) {
  const Relative relative = relative_to.empty()               ? Relative::no
                            : relative_to == "best-of-others" ? Relative::best_of_others
                                                              : Relative::policy;
  return {.policy = "resonant",
          .figure = "p99_ms",
          .at_most = at_most,
          .at_least = {},
          .relative = relative,
          .relative_to = std::move(relative_to)};
}

TEST(Check, ComparesWithANumber) {
  EXPECT_EQ(outcome(of_resonant(10)), Verdict::Outcome::met);
  EXPECT_EQ(outcome(of_resonant(9.9)), Verdict::Outcome::failed);
  Expectation least = of_resonant(std::nullopt);
  least.at_least = 10.1;
  EXPECT_EQ(outcome(least), Verdict::Outcome::failed);
}

TEST(Check, ComparesWithAnotherPolicy) {
  EXPECT_EQ(outcome(of_resonant(0.1, "round-robin")), Verdict::Outcome::met);
  EXPECT_EQ(outcome(of_resonant(0.09, "round-robin")), Verdict::Outcome::failed);
}

TEST(Check, TheBestOfTheOthersIsOfAnotherKind) {
  EXPECT_EQ(outcome(of_resonant(0.5, "best-of-others")), Verdict::Outcome::met)
      << "least-connections; optimize-for-latency is resonant with other weights";
  EXPECT_EQ(outcome(of_resonant(0.49, "best-of-others")), Verdict::Outcome::failed);
}

TEST(Check, WhatWasNotRunIsNotJudged) {
  EXPECT_EQ(outcome(of_resonant(1, "random")), Verdict::Outcome::not_run);
  Expectation other = of_resonant(1);
  other.policy = "random";
  EXPECT_EQ(outcome(other), Verdict::Outcome::not_run);
}

TEST(Check, AStarIsForEveryPolicy) {
  Expectation all = of_resonant(50);
  all.policy = "*";
  const Scenario scenario = expecting(all);
  const auto verdicts = check(scenario, kRuns);
  ASSERT_EQ(verdicts.size(), kRuns.size());
  EXPECT_EQ(verdicts[0].outcome, Verdict::Outcome::failed);
  EXPECT_EQ(verdicts[1].outcome, Verdict::Outcome::met);
}

TEST(Report, TheTableNamesWhatFailed) {
  const Scenario scenario = expecting(of_resonant(0.05, "round-robin"));
  const std::string table = render_table(scenario, kRuns, check(scenario, kRuns));
  EXPECT_NE(table.find("NO      resonant p99_ms at most 0.05 x round-robin: 10.00, round-robin 100.0, ratio 0.100"),
            std::string::npos)
      << table;
}

TEST(Report, TheJsonHasEveryFigureAndNoWallTime) {
  const Scenario scenario = expecting(of_resonant(0.05, "round-robin"));
  std::vector<simulate::Run> runs = kRuns;
  const std::string text = render_json(scenario, runs, check(scenario, runs));
  runs[0].wall_seconds = 99;
  EXPECT_EQ(text, render_json(scenario, runs, check(scenario, runs)));
  const auto json = nlohmann::json::parse(text);
  for (const FigureName& figure : kFigureNames) {
    EXPECT_TRUE(json["policies"][2].contains(figure.name)) << figure.name;
  }
  EXPECT_EQ(json["policies"][2]["p99_ms"], 10);
  EXPECT_EQ(json["policies"][2]["shares"]["only"], 1);
  EXPECT_EQ(json["expectations"][0]["outcome"], "failed");
  EXPECT_EQ(json["expectations"][0]["reference_value"], 100);
}

}  // namespace
}  // namespace dao::simulate

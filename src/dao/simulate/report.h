// What `dao simulate` prints: a table for people, JSON for programs, and whether the scenario's expectations are met.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dao/simulate/figures.h"
#include "dao/simulate/scenario.h"

namespace dao::simulate {

struct Verdict {
  enum class Outcome : std::uint8_t { met, failed, not_run };

  const Expectation* expectation = nullptr;
  std::string policy;  // never "*"
  Outcome outcome = Outcome::not_run;
  double value = 0;
  std::string reference{};  // whose figure it was compared with; empty: none
  double reference_value = 0;
};

// One for each expectation and policy that it is about. Not run: its policy, or the one to compare with, is not among
// the runs. The scenario outlives the verdicts.
[[nodiscard]] std::vector<Verdict> check(const Scenario& scenario, std::span<const Run> runs);

[[nodiscard]] std::string render_table(const Scenario& scenario, std::span<const Run> runs,
                                       std::span<const Verdict> verdicts);
// One object. The same every time for the same scenario, seed and policies: wall times are not in it.
[[nodiscard]] std::string render_json(const Scenario& scenario, std::span<const Run> runs,
                                      std::span<const Verdict> verdicts);

}  // namespace dao::simulate

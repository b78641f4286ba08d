// `dao simulate`: runs a scenario with several policies in virtual time and compares them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace dao {

struct SimulateOptions {
  std::vector<std::string> scenarios;  // files
  std::vector<std::string> policies;   // empty: those of the scenario
  std::optional<std::uint64_t> seed;
  std::optional<std::uint64_t> requests;
  std::string trace;  // a file that takes the place of the scenario's arrivals; empty: none
  bool json = false;
};

// The exit status: 0 = every expectation that was checked is met, 1 = one is not, 2 = what was asked for makes no
// sense.
int simulate_command(const SimulateOptions& options);

}  // namespace dao

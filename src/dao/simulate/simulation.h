// Runs a scenario with one policy in virtual time. The same scenario and seed give the same figures every time, and
// every policy meets the same requests, service times and faults. One thread; simulations share nothing.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "dao/simulate/figures.h"
#include "dao/simulate/scenario.h"

namespace dao::simulate {

// The error: the policy does not exist.
[[nodiscard]] std::expected<Run, std::string> simulate(const Scenario& scenario, std::string_view policy);

}  // namespace dao::simulate

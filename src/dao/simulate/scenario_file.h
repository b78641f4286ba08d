// From a TOML file to a Scenario, or to everything that is wrong with it; docs/simulate.md describes the keys.
#pragma once

#include <expected>
#include <filesystem>
#include <string_view>

#include "dao/config/load.h"
#include "dao/simulate/scenario.h"

namespace dao::simulate {

// Reads the scenario and, if it names one, its trace.
[[nodiscard]] std::expected<Scenario, config::Diagnostics> load_scenario(const std::filesystem::path& path);
// `name` stands for the file in diagnostics. A trace is not read.
[[nodiscard]] std::expected<Scenario, config::Diagnostics> parse_scenario(std::string_view text, std::string_view name);

// Numbers of requests, one for each step, separated by spaces or lines. The error says what is wrong with it.
[[nodiscard]] std::expected<std::vector<std::uint32_t>, std::string> read_trace(const std::filesystem::path& path);

}  // namespace dao::simulate

#include "simulate_command.h"

#include <algorithm>
#include <iostream>
#include <string_view>

#include "dao/base/log.h"
#include "dao/config/check_report.h"
#include "dao/simulate/node.h"
#include "dao/simulate/report.h"
#include "dao/simulate/scenario_file.h"
#include "dao/simulate/simulation.h"

namespace dao {

namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;

// Puts what the command line says into the scenario; false: it has said why not.
bool apply(const SimulateOptions& options, simulate::Scenario& scenario) {
  if (options.seed) scenario.seed = *options.seed;
  if (options.requests) {
    scenario.requests = options.requests;
    scenario.seconds.reset();
  }
  if (!options.trace.empty()) {
    auto trace = simulate::read_trace(options.trace);
    if (!trace) {
      std::cerr << "dao simulate: " << trace.error() << "\n";
      return false;
    }
    scenario.arrivals.kind = simulate::ArrivalKind::trace;
    scenario.arrivals.trace = std::move(*trace);
  }
  if (scenario.arrivals.kind == simulate::ArrivalKind::trace && scenario.arrivals.trace.empty()) {
    std::cerr << "dao simulate: " << scenario.name << ": its arrivals are a trace: give one with --trace FILE\n";
    return false;
  }
  if (!options.policies.empty()) scenario.policies = options.policies;
  if (scenario.policies.empty()) scenario.policies = simulate::all_policies();
  return true;
}

int run(const std::string& path, const SimulateOptions& options) {
  auto scenario = simulate::load_scenario(path);
  if (!scenario) {
    std::cerr << config::render_text(scenario.error());
    return kUsage;
  }
  if (!apply(options, *scenario)) return kUsage;
  std::vector<simulate::Run> runs;
  for (const std::string& policy : scenario->policies) {
    auto one = simulate::simulate(*scenario, policy);
    if (!one) {
      std::cerr << "dao simulate: policy \"" << policy << "\": " << one.error() << "\n";
      return kUsage;
    }
    runs.push_back(std::move(*one));
  }
  const std::vector<simulate::Verdict> verdicts = simulate::check(*scenario, runs);
  std::cout << (options.json ? simulate::render_json(*scenario, runs, verdicts)
                             : simulate::render_table(*scenario, runs, verdicts))
            << std::flush;
  // Who asks for some policies only does not want to hear that the others did not run.
  const bool failed = std::ranges::any_of(verdicts, [&](const simulate::Verdict& verdict) {
    return verdict.outcome == simulate::Verdict::Outcome::failed ||
           (verdict.outcome == simulate::Verdict::Outcome::not_run && options.policies.empty());
  });
  return failed ? kFailed : 0;
}

}  // namespace

int simulate_command(const SimulateOptions& options) {
  log::set_level(log::Level::error);  // what the simulated processes would log has no place in the report
  int worst = 0;
  for (const std::string& path : options.scenarios) {
    worst = std::max(worst, run(path, options));
    if (&path != &options.scenarios.back() && !options.json) std::cout << "\n";
  }
  return worst;
}

}  // namespace dao

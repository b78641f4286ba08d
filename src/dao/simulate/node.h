// A simulated DAO process: the real policies, signals, admission, shards and mind, one set for each of its workers as
// server/worker_state.h has it, in virtual time.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dao/align/policy.h"
#include "dao/align/slow_start.h"
#include "dao/base/random.h"
#include "dao/config/config.h"
#include "dao/liminal/mind.h"
#include "dao/sense/admission.h"
#include "dao/sense/in_flight.h"
#include "dao/sense/shard.h"
#include "dao/sense/signals.h"
#include "dao/simulate/scenario.h"
#include "dao/upstream/retry_budget.h"

namespace dao::simulate {

// The policies that `policy` of a rule may name.
[[nodiscard]] std::vector<std::string> all_policies();

// A configuration with the scenario's backends and one rule with this policy. The error: why there is none.
[[nodiscard]] std::expected<std::shared_ptr<const config::Config>, std::string> make_config(const Scenario& scenario,
                                                                                            std::string_view policy);

struct Worker {
  Worker(const config::Config& config, Instant now, std::uint64_t seed);

  std::unique_ptr<align::Policy> policy;
  align::SlowStart slow_start;
  std::vector<align::Candidate> candidates;
  std::vector<sense::UpstreamSignals> signals;
  sense::Shard shard;
  upstream::RetryBudget retry_budget;
  Random random;
};

struct Node {
  Node(const std::shared_ptr<const config::Config>& config, std::size_t worker_count, Instant now, std::uint64_t seed);

  sense::InFlight in_flight;
  sense::Admission admission;
  std::vector<std::unique_ptr<Worker>> workers;
  std::unique_ptr<liminal::Mind> mind;
  sense::ViewPtr view;
};

// As Candidates::next of server/process_request.cpp: the place of the next candidate that is not among the tried ones;
// nullopt when there is none.
std::optional<std::size_t> choose(Node& node, Worker& worker, std::span<const std::uint32_t> tried, std::uint64_t key,
                                  Instant now);

}  // namespace dao::simulate

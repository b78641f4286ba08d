// What one worker has made of a Generation: the state of its routes. It may be made by another thread, and belongs to
// the worker from then on. It lives until the last request that began with it has ended.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "dao/align/policy.h"
#include "dao/align/slow_start.h"
#include "dao/config/config.h"
#include "dao/flow/chain.h"
#include "dao/http/forwarding.h"
#include "dao/http/head.h"
#include "dao/server/generation.h"

namespace dao::server {

struct Route {
  std::uint32_t number = 0;  // of the rule
  std::unique_ptr<align::Policy> policy;
  std::vector<align::Candidate> candidates;
  std::unique_ptr<flow::Chain> filters;  // null: none
  align::SlowStart slow_start;
  bool prefers_near = false;  // some upstreams are in DAO's own zone, others are not
};

struct WorkerGeneration {
  explicit WorkerGeneration(std::shared_ptr<const Generation> the_generation);

  const std::shared_ptr<const Generation> generation;
  const config::Config& config;
  std::vector<Route> routes;  // by the rules' indexes
  const http::ForwardingRules forwarding;
  const http::HeadLimits response_limits;
  const bool asks_for_client_certificates;  // on some listener
  const std::uint32_t failures_that_close;  // in a row; 0: presence is off
  std::size_t requests = 0;                 // under way
};

[[nodiscard]] http::HeadLimits response_limits_of(const config::Config& config);

}  // namespace dao::server

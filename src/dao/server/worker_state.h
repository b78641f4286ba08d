// What a worker's requests share: configuration, pools, policies, counters. Belongs to one worker; one thread, except
// what is named otherwise. No sockets here, so the request path runs in virtual time in tests.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dao/align/policy.h"
#include "dao/align/slow_start.h"
#include "dao/align/stable_hash.h"
#include "dao/base/random.h"
#include "dao/config/config.h"
#include "dao/flow/chain.h"
#include "dao/flow/shared.h"
#include "dao/http/buffer.h"
#include "dao/http/forwarding.h"
#include "dao/http/head.h"
#include "dao/rt/loop.h"
#include "dao/sense/admission.h"
#include "dao/sense/in_flight.h"
#include "dao/sense/shard.h"
#include "dao/sense/signals.h"
#include "dao/sense/view.h"
#include "dao/server/route_table.h"
#include "dao/server/upstream_queue.h"
#include "dao/telemetry/access_log.h"
#include "dao/upstream/pool.h"
#include "dao/upstream/retry_budget.h"

namespace dao::server {

// The Date field's text, made once a second (RFC 9110 section 5.6.7).
class DateText {
 public:
  std::string_view at(WallTime now);

 private:
  std::int64_t second_ = -1;
  std::array<char, 32> text_{};
};

struct Route {
  std::unique_ptr<align::Policy> policy;
  std::vector<align::Candidate> candidates;
  std::unique_ptr<flow::Chain> filters;  // null: none
  align::SlowStart slow_start;
  bool prefers_near = false;  // some upstreams are in DAO's own zone, others are not
};

struct WorkerState {
  WorkerState(rt::Loop& the_loop, std::shared_ptr<const config::Config> the_config, upstream::Connector& connector,
              sense::Shard& the_shard, sense::InFlight& the_in_flight, sense::Admission& the_admission,
              telemetry::AccessLogLane* lane, std::uint64_t seed, std::shared_ptr<flow::Shared> filters_shared);

  rt::Loop& loop;
  std::shared_ptr<const config::Config> config;
  sense::Shard& shard;
  sense::InFlight& in_flight;
  sense::Admission& admission;
  UpstreamQueue queue;                          // requests that wait for room at an upstream
  const std::uint32_t failures_that_close;      // in a row; 0: presence is off
  std::vector<sense::UpstreamSignals> signals;  // by the upstreams' numbers
  sense::ViewPtr view;                          // the latest; never null
  telemetry::AccessLogLane* access_log;         // null: off
  std::shared_ptr<flow::Shared> filters_shared;

  http::BufferPool buffers;
  http::ForwardingRules forwarding;
  http::HeadLimits response_limits;
  RouteTable routes_by_match;
  std::vector<Route> routes;                            // by the rules' numbers
  std::vector<std::unique_ptr<upstream::Pool>> pools;   // by the upstreams' numbers
  std::vector<std::string> host_fields;                 // how each upstream is called in Host
  std::vector<std::optional<Error>> resolution_errors;  // why an upstream has no address
  upstream::RetryBudget retry_budget;
  Random random;
  DateText date;
  const bool asks_for_client_certificates;  // on some listener
  bool draining = false;
  rt::Cancel drain_websockets;  // requested some time after a drain has begun

  // For one attempt with that upstream.
  [[nodiscard]] sense::OutcomeReport report_for(std::uint32_t upstream) {
    return {shard.upstream(upstream).outcomes, admission, upstream, failures_that_close};
  }

  // Response heads keep their memory between requests.
  std::unique_ptr<http::ResponseHead> borrow_response_head();
  void return_response_head(std::unique_ptr<http::ResponseHead> head);

 private:
  std::vector<std::unique_ptr<http::ResponseHead>> spare_response_heads_;
};

}  // namespace dao::server

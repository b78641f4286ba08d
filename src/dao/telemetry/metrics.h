// The figures DAO exports, in Prometheus' text format 0.0.4. Every metric is declared once, in the table of
// metrics.cpp; docs/metrics.md is made from it and a test fails when they differ.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "dao/sense/in_flight.h"
#include "dao/sense/shard.h"
#include "dao/sense/view.h"
#include "dao/telemetry/process_figures.h"

namespace dao::telemetry {

inline constexpr std::string_view kMetricsContentType = "text/plain; version=0.0.4; charset=utf-8";
// The `route` of requests that matched no route.
inline constexpr std::string_view kNoRouteLabel = "(none)";

// What is shown under a name: the route or the upstream that has this number in the shards and the view.
struct Numbered {
  std::string_view name;
  std::uint32_t number = 0;
};

// The configuration in use, and what became of others.
struct ConfigFigures {
  std::uint64_t generation = 0;
  std::uint64_t reloads_applied = 0;
  std::uint64_t reloads_failed = 0;
  bool last_reload_successful = true;
  double last_success_seconds = 0;  // since 1970
  std::size_t pending_restart = 0;  // keys
  bool transition_under_way = false;
  double transition_progress = 0;  // 0..1; 0 without one
  bool transition_worse = false;
  std::uint64_t transitions_finished = 0;
  std::uint64_t transitions_rolled_back = 0;
  std::uint64_t transitions_aborted = 0;
};

// What is kept beyond the process.
struct StoreFigures {
  bool persistent = false;
  bool healthy = true;
  std::uint64_t pending = 0;
  std::uint64_t written = 0;
  std::uint64_t flushes = 0;
  std::uint64_t failures = 0;
  std::uint64_t lost = 0;
  std::uint64_t begun_anew = 0;
};

// Everything a scrape needs; borrowed for the call. All numbers are the shards'. Upstreams (or routes) of the same name
// are one series, summed; of what the view says, which has no sum, the busiest one is shown.
struct MetricsSnapshot {
  std::span<const sense::Shard* const> shards = {};  // one per worker
  std::span<const Numbered> routes = {};
  std::span<const Numbered> upstreams = {};
  const sense::InFlight* in_flight = nullptr;
  const sense::View* view = nullptr;  // the latest; null: none yet, and nothing of it is shown
  const sense::Histogram* mind_steps = nullptr;
  std::uint64_t access_log_dropped = 0;
  std::uint64_t log_dropped = 0;
  bool ready = false;
  std::string_view version = {};
  ConfigFigures config = {};
  StoreFigures store = {};
  ProcessFigures process = {};
};

// The text of /metrics. Any thread; allocates much and takes its time: not for a worker.
std::string render_metrics(const MetricsSnapshot& snapshot);

// docs/metrics.md
std::string render_metrics_reference();

}  // namespace dao::telemetry

// What the mind knows of the traffic, folded from all workers: immutable, made several times a second, read by workers
// without locks (each has the latest as a message) and by the admin API, the metrics and `daoctl`.
//
// Upstreams and routes are numbered as in the configuration. Durations in milliseconds, since these are figures for
// people and for scores. Windows: the last 60 seconds, or less after a start.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "dao/base/clock.h"
#include "dao/sense/presence.h"

namespace dao::sense {

// The awareness level (the seed's consciousness): how much of what DAO knows goes into a choice.
enum class Level : std::uint8_t { dormant, aware, vigilant, transcendent };

struct UpstreamView {
  Presence presence = Presence::unknown;
  Instant admitted_since{};  // when it was let in again, for slow start; Instant{}: always was
  double requests = 0;       // attempts that ended in the window
  double rps = 0;            // attempts per second, over the last seconds
  double error_rate = 0;     // 0..1: failed attempts and 5xx, of those in the window
  double p50_ms = 0;         // to the response head; 0 without requests
  double p95_ms = 0;
  double p99_ms = 0;
  double mean_ms = 0;
  double tempo_spikiness = 0;  // coefficient of variation of the requests per second
  double load_resonance = 0;   // 0..10, against what its routes have learned
};

struct RouteView {
  double requests = 0;  // that ended in the window
  double rps = 0;
  double error_rate = 0;  // 5xx and unanswered
  double p50_ms = 0;      // from the first byte of the request to the end of the answer
  double p95_ms = 0;
  double p99_ms = 0;
  double typical_ms = 0;  // what the route has learned: the usual time to the head of its attempts; 0 = not yet
};

struct View {
  std::uint64_t number = 0;  // counts views
  Instant folded_at{};
  Level level = Level::vigilant;
  std::vector<UpstreamView> upstreams;
  std::vector<RouteView> routes;
};
using ViewPtr = std::shared_ptr<const View>;

}  // namespace dao::sense

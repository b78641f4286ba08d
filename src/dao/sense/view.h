// What the mind knows of the traffic, folded from all workers: immutable, made several times a second, read by workers
// without locks (each has the latest as a message) and by the admin API, the metrics and `daoctl`.
//
// Upstreams and routes are numbered as in the configuration. Durations in milliseconds, since these are figures for
// people and for scores. Windows: the last 60 seconds, or less after a start (window.h); an empty one has zeros.
// Quantiles and means are off by less than 1 % (log_histogram.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "dao/base/clock.h"
#include "dao/sense/admission.h"
#include "dao/sense/presence.h"

namespace dao::sense {

// The awareness level (the seed's consciousness): how much of what DAO knows goes into a choice.
enum class Level : std::uint8_t { dormant, aware, vigilant, transcendent };

// What was heard of an upstream and what DAO does about it, for people and metrics.
struct PresenceFigures {
  static constexpr std::size_t kHistoryMax = 64;

  // Oldest first, '\0' ends it: '.' success, 'E' 5xx, 'T' timeout, 'X' transport, 'R' refused; a digit stands for many
  // outcomes at once: the tenths of them that were good.
  std::array<char, kHistoryMax + 1> history{};
  double score = 0;  // 0..1: the share of what is good in it, failures weighted by their kind
  std::uint64_t transitions = 0;
  std::array<std::uint64_t, kPresenceStates> entered{};  // how often it came to be so
  std::uint64_t probes_good = 0;
  std::uint64_t probes_failed = 0;
  std::uint64_t trials = 0;         // rounds of trial requests that were let through
  std::uint64_t trials_failed = 0;  // of these
  Instant next_probe = kNever;
};

struct UpstreamView {
  Presence presence = Presence::unknown;
  Instant presence_since{};
  std::string_view presence_reason;  // a static text
  Gate gate = Gate::open;
  Instant admitted_since{};  // when it came back from being absent or unasked; the epoch: it was never away
  PresenceFigures figures;
  double requests = 0;    // attempts that ended in the window
  double rps = 0;         // attempts ended per second, over the last five seconds
  double in_flight = 0;   // attempts under way, averaged over about a second
  double error_rate = 0;  // 0..1: failed attempts and 5xx, of those in the window
  double p50_ms = 0;      // to the response head; 0 without requests
  double p95_ms = 0;
  double p99_ms = 0;
  double mean_ms = 0;
  double tempo_spikiness = 0;  // coefficient of variation of the requests per second, beyond chance (window.h)
  double load_resonance = 0;   // 0..10, against what the busiest of its routes has learned (resonance.h)
};

struct RouteView {
  double requests = 0;  // that ended in the window
  double rps = 0;
  double error_rate = 0;  // 5xx and unanswered
  double p50_ms = 0;      // from the first byte of the request to the end of the answer
  double p95_ms = 0;
  double p99_ms = 0;
  double mean_ms = 0;
  double tempo_spikiness = 0;
  // What the route has learned of itself (typical.h), from all attempts with its upstreams:
  double typical_ms = 0;          // the usual time to the head; 0 = nothing yet
  double typical_in_flight = 0;   // the usual number under way at one upstream
  double typical_error_rate = 0;  // 0..1
  bool fails_open = false;        // none of its upstreams is admitted: requests go to the least bad one
};

struct View {
  std::uint64_t number = 0;  // counts views
  Instant folded_at{};
  Level level = Level::vigilant;
  std::uint64_t samples_lost = 0;  // durations that are in no window: the mind was too late for them; since the start
  std::vector<UpstreamView> upstreams;
  std::vector<RouteView> routes;
};
using ViewPtr = std::shared_ptr<const View>;

}  // namespace dao::sense

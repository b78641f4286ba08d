// How the figures of a transition are told to people.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "dao/base/log.h"
#include "dao/liminal/transition.h"

namespace dao::liminal {
namespace {

// With fewer, only what is much worse is found, and late (docs/metamorphic.md).
constexpr double kFewClients = 20;

double percent(double share) {
  return std::round(share * 10'000) / 100;
}

// A number that may be huge, so that nobody has to count digits.
std::string rounded(double evidence) {
  if (evidence >= 1e6) return "more than a million";
  return evidence >= 10 ? fmt::format("{:.0f}", evidence) : fmt::format("{:.2g}", evidence);
}

const SideFigures& of(const TransitionFigures& figures, Side side) {
  return figures.sides[static_cast<std::size_t>(side)];
}

}  // namespace

std::string_view name_of(TransitionState state) {
  switch (state) {
    case TransitionState::running:
      return "running";
    case TransitionState::paused:
      return "paused";
    case TransitionState::finished:
      return "finished";
    case TransitionState::rolled_back:
      return "rolled back";
    case TransitionState::aborted:
      return "aborted";
  }
  return {};
}

std::string_view name_of(Hold hold) {
  switch (hold) {
    case Hold::none:
      return "none";
    case Hold::evidence:
      return "evidence";
    case Hold::doubt:
      return "doubt";
  }
  return {};
}

std::string describe(const TransitionFigures& figures) {
  const SideFigures& before = of(figures, Side::old_config);
  const SideFigures& after = of(figures, Side::new_config);
  std::string text;
  switch (figures.worst) {
    case Metric::errors:
      text = fmt::format("{} % of {} requests failed, instead of {} % of {}", percent(after.error_rate), after.requests,
                         percent(before.error_rate), before.requests);
      break;
    case Metric::typical_latency:
      text = fmt::format("{} requests took {:.3g} ms in the middle, instead of {:.3g} ms of {}", after.requests,
                         after.p50_ms, before.p50_ms, before.requests);
      break;
    case Metric::tail_latency:
      text = fmt::format("the slowest 5 % of {} requests took {:.3g} ms or more, instead of {:.3g} ms of {}",
                         after.requests, after.p95_ms, before.p95_ms, before.requests);
      break;
  }
  return text + fmt::format(" (evidence {} of {} needed)", rounded(figures.evidence), rounded(figures.evidence_needed));
}

std::string describe_verdict(const TransitionFigures& figures) {
  if (figures.worse) return "worse: " + describe(figures);
  if (of(figures, Side::new_config).requests == 0) return "nothing is known: the new side has had no request";
  if (figures.evidence >= kDoubt) return "in doubt: " + describe(figures);
  std::string text =
      fmt::format("not worse, as far as {} requests can tell (evidence {} of {} needed)",
                  of(figures, Side::new_config).requests, rounded(figures.evidence), rounded(figures.evidence_needed));
  if (figures.effective_clients < kFewClients) {
    text += fmt::format("; the traffic is that of about {:.0f} clients, with which little can be told",
                        figures.effective_clients);
  }
  return text;
}

void log_transition(const TransitionFigures& figures) {
  const bool bad =
      figures.state == TransitionState::rolled_back || (figures.state == TransitionState::paused && figures.worse);
  const SideFigures& before = of(figures, Side::old_config);
  const SideFigures& after = of(figures, Side::new_config);
  log::write(bad ? log::Level::warning : log::Level::info, "configuration transition",
             {{"state", name_of(figures.state)},
              {"reason", figures.reason},
              {"progress_percent", percent(figures.worse ? figures.progress_at_verdict : figures.progress)},
              {"new_requests", after.requests},
              {"old_requests", before.requests},
              {"new_error_percent", percent(after.error_rate)},
              {"old_error_percent", percent(before.error_rate)},
              {"new_p50_ms", after.p50_ms},
              {"old_p50_ms", before.p50_ms},
              {"new_p95_ms", after.p95_ms},
              {"old_p95_ms", before.p95_ms},
              {"new_p99_ms", after.p99_ms},
              {"old_p99_ms", before.p99_ms},
              {"evidence_errors", figures.evidence_of[0]},
              {"evidence_typical_latency", figures.evidence_of[1]},
              {"evidence_tail_latency", figures.evidence_of[2]}});
}

}  // namespace dao::liminal

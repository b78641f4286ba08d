#include "dao/admin/transition_page.h"

#include <algorithm>
#include <string>

#include "dao/admin/times.h"
#include "dao/http/status.h"

namespace dao::admin {

namespace {

using nlohmann::json;
using server::TransitionOutcome;

double milliseconds_of(Nanoseconds time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

// JSON has no number for what is beyond all numbers.
double finite(double evidence) {
  constexpr double kMost = 1e300;
  return std::min(evidence, kMost);
}

// A word for programs.
std::string word_for(liminal::TransitionState state) {
  std::string word(liminal::name_of(state));
  std::ranges::replace(word, ' ', '_');
  return word;
}

json side_json(const liminal::SideFigures& side) {
  return {{"requests", side.requests}, {"failures", side.failures}, {"error_rate", side.error_rate},
          {"p50_ms", side.p50_ms},     {"p95_ms", side.p95_ms},     {"p99_ms", side.p99_ms}};
}

}  // namespace

json transition_json(const server::TransitionStatus& status) {
  const liminal::TransitionFigures& figures = status.figures;
  json evidence_of = json::object();
  for (std::size_t i = 0; i < liminal::kMetrics; ++i) {
    evidence_of[std::string(liminal::name_of(static_cast<liminal::Metric>(i)))] = finite(figures.evidence_of[i]);
  }
  json changes = json::array();
  for (const liminal::TransitionChange& change : figures.changes) {
    const auto after = std::chrono::duration_cast<WallTime::duration>(change.at - figures.changes.front().at);
    changes.push_back(
        {{"state", word_for(change.state)}, {"at", iso_time(status.began_at + after)}, {"reason", change.reason}});
  }
  const bool holds = figures.hold != liminal::Hold::none;
  return {{"number", status.number},
          {"generation", status.generation},
          {"snapshot", status.snapshot == 0 ? json(nullptr) : json(status.snapshot)},
          {"author", status.author},
          {"reason", status.reason},
          {"began_at", iso_time(status.began_at)},
          {"state", word_for(figures.state)},
          {"over", status.over},
          {"state_since", iso_time(status.since)},
          {"state_reason", figures.reason},
          {"progress", figures.progress},
          {"progress_at_verdict", figures.worse ? json(figures.progress_at_verdict) : json(nullptr)},
          {"waits_for", holds ? json(liminal::name_of(figures.hold)) : json(nullptr)},
          {"transition_ms", milliseconds_of(figures.over)},
          {"elapsed_ms", milliseconds_of(figures.elapsed)},
          {"waited_ms", milliseconds_of(figures.held)},
          {"old", side_json(figures.sides[static_cast<std::size_t>(liminal::Side::old_config)])},
          {"new", side_json(figures.sides[static_cast<std::size_t>(liminal::Side::new_config)])},
          {"error_increase", figures.error_increase},
          {"max_error_increase", figures.margins.errors},
          {"max_latency_increase", figures.margins.latency},
          {"evidence", finite(figures.evidence)},
          {"evidence_needed", figures.evidence_needed},
          {"evidence_of", std::move(evidence_of)},
          {"worse", figures.worse},
          {"effective_clients", figures.effective_clients},
          {"verdict", figures.verdict},
          {"changes", std::move(changes)}};
}

Answer transition_answer(const TransitionOutcome& outcome) {
  Answer answer;
  switch (outcome.result) {
    case TransitionOutcome::Result::obeyed:
      answer.status = http::status::kOk;
      break;
    case TransitionOutcome::Result::none:
      answer = refuse(http::status::kNotFound, "no_transition", outcome.error);
      break;
    case TransitionOutcome::Result::refused:
      answer = refuse(http::status::kConflict, "refused", outcome.error);
      break;
    case TransitionOutcome::Result::ending:
      answer = refuse(http::status::kUnavailable, "ending", outcome.error);
      break;
  }
  answer.body["transition"] = outcome.transition ? transition_json(*outcome.transition) : json(nullptr);
  return answer;
}

}  // namespace dao::admin

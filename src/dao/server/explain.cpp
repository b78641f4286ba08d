#include "dao/server/explain.h"

#include <fmt/format.h>

#include <algorithm>

namespace dao::server {

namespace {

// Names have no quotes (config/match_values.h), but may have what separates here.
std::string name_as_value(std::string_view name) {
  const bool plain = name.find_first_of(" ;=,") == std::string_view::npos;
  return plain ? std::string(name) : fmt::format("\"{}\"", name);
}

}  // namespace

ExplainAnswer explain_choice(WorkerState& worker, const ExplainQuestion& question) {
  if (question.coming && !worker.new_side) return {};
  WorkerGeneration& generation = question.coming ? *worker.new_side->generation : *worker.current;
  const auto rule = std::ranges::find(generation.config.rules, question.rule, &config::Rule::name);
  if (rule == generation.config.rules.end()) return {};
  Route& route = generation.routes[static_cast<std::size_t>(rule - generation.config.rules.begin())];
  align::Choosing choosing{.candidates = route.candidates,
                           .in_flight = worker.in_flight,
                           .admission = worker.admission,
                           .signals = worker.signals.all(),
                           .view = *worker.view,
                           .route = route.number,
                           .now = worker.loop.now(),
                           .random = worker.random,
                           .intent = question.intent,
                           .key = question.key,
                           .only_near = route.prefers_near,
                           .slow_start = route.slow_start.at(worker.loop.now(), *worker.view, route.candidates)};
  ExplainAnswer answer;
  const auto nobody = [&] { return std::ranges::none_of(answer.candidates, &align::Explained::chosen); };
  route.policy->explain(choosing, answer.candidates);
  if (choosing.only_near && nobody()) {
    choosing.only_near = false;
    route.policy->explain(choosing, answer.candidates);
  }
  answer.waits = nobody() && choosing.waits_for_room();
  if (nobody() && !answer.waits) {
    choosing.fail_open = answer.fail_open = true;
    route.policy->explain(choosing, answer.candidates);
    answer.waits = nobody() && choosing.waits_for_room();
  }
  for (const align::Candidate& candidate : route.candidates) {
    answer.names.push_back(worker.seats[candidate.upstream]->name);
    answer.weights.push_back(candidate.weight);
    answer.limits.push_back(candidate.max_in_flight);
  }
  return answer;
}

std::unique_ptr<ExplainHeader> ExplainHeader::asked_by(const config::Admin& admin, http::Exchange& exchange) {
  if (!admin.explain_header || !admin.explain_trusted.contain(exchange.peer().bytes())) return nullptr;
  bool asked = false;
  for (http::Field& field : exchange.request().fields) {
    if (field.dropped || !http::equals_ignoring_case(field.name, kName)) continue;
    asked = asked || field.value == "1";
    field.dropped = true;
  }
  return asked ? std::make_unique<ExplainHeader>() : nullptr;
}

void ExplainHeader::before(const align::Policy& policy, const align::Choosing& choosing) {
  fail_open_ = choosing.fail_open;
  policy.explain(choosing, terms_);
}

void ExplainHeader::chose(const WorkerState& worker, const config::Rule& rule, std::size_t index) {
  const auto name = [&](std::size_t i) { return name_as_value(worker.seats[terms_[i].upstream]->name); };
  text_ = fmt::format("chosen={} attempt={} route={} policy={}", name(index), ++attempts_, name_as_value(rule.name),
                      name_as_value(rule.policy.name));
  if (fail_open_) text_ += " fail_open=1";
  for (std::size_t i = 0; i < std::min(terms_.size(), kMostShown); ++i) {
    const align::Explained& one = terms_[i];
    text_ += fmt::format(
        "; upstream={} score={:.6g} load={:.6g} latency={:.6g} errors={:.6g} queue={:.6g} intent={:.6g} "
        "tempo={:.6g} w_load={:.6g} w_intent={:.6g} w_tempo={:.6g} usable={:d} best={:d}",
        name(i), one.score, one.load_resonance, one.latency, one.errors, one.queue, one.intent_gap, one.tempo_spikiness,
        one.w_load, one.w_intent, one.w_tempo, one.usable, one.chosen);
  }
  if (terms_.size() > kMostShown) text_ += fmt::format("; more={}", terms_.size() - kMostShown);
}

}  // namespace dao::server

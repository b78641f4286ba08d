#include "dao/liminal/mind.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "dao/base/log.h"

namespace dao::liminal {
namespace {

std::vector<std::vector<std::uint32_t>> upstreams_of_routes(const config::Config& config) {
  std::vector<std::vector<std::uint32_t>> routes;
  for (const config::Rule& rule : config.rules) {
    std::vector<std::uint32_t>& route = routes.emplace_back();
    for (const config::RuleUpstream& upstream : rule.upstreams) {
      route.push_back(static_cast<std::uint32_t>(upstream.index));
    }
  }
  return routes;
}

}  // namespace

Mind::Mind(std::shared_ptr<const config::Config> config, Senses senses)
    : config_(std::move(config)),
      senses_(std::move(senses)),
      fold_(senses_.shards, upstreams_of_routes(*config_), senses_.in_flight),
      outcomes_before_(config_->upstreams.size()) {}

// The clock is known from the first call on.
void Mind::begin(Instant now) {
  if (presences_.size() == config_->upstreams.size()) return;
  presences_.reserve(config_->upstreams.size());
  Random seeds(static_cast<std::uint64_t>(now.time_since_epoch().count()));
  for (const config::Upstream& upstream : config_->upstreams) {
    presences_.emplace_back(config_->liminal.presence, upstream.probe, now, seeds.next());
  }
}

sense::ViewPtr Mind::step(Instant now) {
  begin(now);
  auto view = std::make_shared<sense::View>();
  view->number = ++steps_;
  fold_.step(now, *view);
  step_presence(now);
  show_presence(*view);
  return view;
}

void Mind::step_presence(Instant now) {
  for (std::size_t i = 0; i < presences_.size(); ++i) {
    Heard heard;
    for (std::size_t kind = 0; kind < sense::kOutcomes; ++kind) {
      std::uint64_t count = 0;
      for (const sense::Shard* shard : senses_.shards) count += shard->upstreams()[i].outcomes[kind].value();
      heard.outcomes[kind] = count - std::exchange(outcomes_before_[i][kind], count);
    }
    // After the counts: what comes between is in those of the next step.
    heard.failures_in_a_row = senses_.admission.failures_in_a_row(i);
    heard.gate = senses_.admission.gate(i);
    heard.tokens = senses_.admission.tokens(i);
    const sense::Presence before = presences_[i].presence();
    presences_[i].step(heard, now);
    apply(i);
    tell(i, before);
  }
}

void Mind::apply(std::size_t upstream) {
  PresenceDetector& presence = presences_[upstream];
  if (!presence.takes_gate()) return;
  if (presence.forgives()) senses_.admission.succeeded(upstream);
  senses_.admission.set_gate(upstream, presence.gate(), presence.tokens());
}

void Mind::tell(std::size_t upstream, sense::Presence before) {
  const PresenceDetector& presence = presences_[upstream];
  if (presence.presence() == before) return;
  static log::RateLimit limit{20};
  const sense::PresenceFigures figures = presence.figures();
  const bool bad = presence.presence() == sense::Presence::absent || presence.presence() == sense::Presence::liminal;
  log::write(limit, bad ? log::Level::warning : log::Level::info, "presence changed",
             {{"upstream", config_->upstreams[upstream].name},
              {"from", sense::name_of(before)},
              {"to", sense::name_of(presence.presence())},
              {"reason", presence.reason()},
              {"history", std::string_view{figures.history.data()}},
              {"score", std::round(figures.score * 100) / 100},
              {"failures_in_a_row", senses_.admission.failures_in_a_row(upstream)},
              {"probes_failed", figures.probes_failed},
              {"trials", figures.trials}});
}

std::vector<std::uint32_t> Mind::take_due_probes(Instant now, std::size_t most) {
  std::vector<std::uint32_t> due;
  const std::size_t count = presences_.size();
  for (std::size_t i = 0; i < count && due.size() < most; ++i) {
    const std::size_t upstream = (next_to_probe_ + i) % count;
    if (!presences_[upstream].probe_due(now)) continue;
    presences_[upstream].begin_probe();
    due.push_back(static_cast<std::uint32_t>(upstream));
  }
  if (!due.empty()) next_to_probe_ = (due.back() + 1) % count;
  return due;
}

void Mind::probed(std::uint32_t upstream, ProbeOutcome outcome, Instant now) {
  const sense::Presence before = presences_[upstream].presence();
  presences_[upstream].probed(outcome, now);
  apply(upstream);
  tell(upstream, before);
}

void Mind::restore_presence(std::uint32_t upstream, const PresenceDetector::State& state, Nanoseconds age,
                            Instant now) {
  begin(now);
  presences_[upstream].restore(state, age, now);
  apply(upstream);
}

void Mind::show_presence(sense::View& view) const {
  for (std::size_t i = 0; i < presences_.size(); ++i) {
    sense::UpstreamView& upstream = view.upstreams[i];
    const PresenceDetector& presence = presences_[i];
    upstream.presence = presence.presence();
    upstream.presence_since = presence.since();
    upstream.presence_reason = presence.reason();
    upstream.gate = senses_.admission.gate(i);
    upstream.admitted_since = presence.admitted_since();
    upstream.figures = presence.figures();
  }
  for (std::size_t i = 0; i < config_->rules.size(); ++i) {
    view.routes[i].fails_open = std::ranges::none_of(
        config_->rules[i].upstreams,
        [this](const config::RuleUpstream& upstream) { return senses_.admission.admits(upstream.index); });
  }
}

}  // namespace dao::liminal

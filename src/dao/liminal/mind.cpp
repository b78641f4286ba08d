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
      outcomes_before_(config_->upstreams.size()),
      views_(std::make_shared<ViewPool>()) {}

// The clock is known from the first call on.
void Mind::begin(Instant now) {
  if (presences_.size() == config_->upstreams.size()) return;
  presences_.reserve(config_->upstreams.size());
  Random seeds(static_cast<std::uint64_t>(now.time_since_epoch().count()));
  for (const config::Upstream& upstream : config_->upstreams) {
    presences_.emplace_back(config_->liminal.presence, upstream.probe, now, seeds.next());
  }
  rests_.resize(presences_.size());
  probe_at_.resize(presences_.size());
  changed_.resize(presences_.size());
  for (std::size_t i = 0; i < presences_.size(); ++i) note(i, now);
}

void Mind::note(std::size_t upstream, Instant now) {
  rests_[upstream] = presences_[upstream].rests() ? 1 : 0;
  probe_at_[upstream] = presences_[upstream].next_probe();
  changed_[upstream] = now;
}

sense::ViewPtr Mind::step(Instant now) {
  begin(now);
  std::shared_ptr<sense::View> view = views_->take();
  const bool filled_before = view->upstreams.size() == presences_.size();
  const Instant since = filled_before ? view->folded_at : Instant::min();
  view->number = ++steps_;
  fold_.step(now, *view);
  step_presence(now);
  show_presence(*view, since);
  return view;
}

// Those of which something may have been heard, those to which time matters, and some others in turn.
void Mind::step_presence(Instant now) {
  constexpr std::size_t kInTurn = 500;  // so that 50 000 upstreams all have their turn within ten seconds
  for (const std::uint32_t upstream : fold_.heard_of()) rests_[upstream] = 0;
  for (std::size_t i = 0; i < presences_.size(); ++i) {
    const bool turn = i - next_to_look_at_ < kInTurn;
    if (rests_[i] != 0 && !turn && senses_.in_flight.count(i) == 0 && senses_.admission.failures_in_a_row(i) == 0 &&
        senses_.admission.gate(i) == sense::Gate::open) {
      continue;
    }
    step_presence(i, now);
  }
  next_to_look_at_ += kInTurn;
  if (next_to_look_at_ >= presences_.size()) next_to_look_at_ = 0;
}

void Mind::step_presence(std::size_t upstream, Instant now) {
  Heard heard;
  for (std::size_t kind = 0; kind < sense::kOutcomes; ++kind) {
    std::uint64_t count = 0;
    for (const sense::Shard* shard : senses_.shards) count += shard->upstreams()[upstream].outcomes[kind].value();
    heard.outcomes[kind] = count - std::exchange(outcomes_before_[upstream][kind], count);
  }
  // After the counts: what comes between is in those of the next step.
  heard.failures_in_a_row = senses_.admission.failures_in_a_row(upstream);
  heard.gate = senses_.admission.gate(upstream);
  heard.tokens = senses_.admission.tokens(upstream);
  const sense::Presence before = presences_[upstream].presence();
  presences_[upstream].step(heard, now);
  apply(upstream);
  tell(upstream, before);
  note(upstream, now);
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
    if (now < probe_at_[upstream]) continue;
    presences_[upstream].begin_probe();
    probe_at_[upstream] = kNever;
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
  note(upstream, now);
}

void Mind::restore_presence(std::uint32_t upstream, const PresenceDetector::State& state, Nanoseconds age,
                            Instant now) {
  begin(now);
  presences_[upstream].restore(state, age, now);
  apply(upstream);
  note(upstream, now);
}

void Mind::show_presence(sense::View& view, Instant since) const {
  bool any_shut = false;
  for (std::size_t i = 0; i < presences_.size(); ++i) {
    any_shut = any_shut || !senses_.admission.admits(i);
    if (changed_[i] < since) continue;
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
    const auto admitted = [this](const config::RuleUpstream& upstream) {
      return senses_.admission.admits(upstream.index);
    };
    const auto& upstreams = config_->rules[i].upstreams;
    view.routes[i].fails_open = any_shut ? std::ranges::none_of(upstreams, admitted) : std::ranges::empty(upstreams);
  }
}

}  // namespace dao::liminal

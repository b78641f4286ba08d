#include "dao/liminal/mind.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <utility>

#include "dao/base/log.h"

namespace dao::liminal {
namespace {

// The routes of all of them; one that several have is there with the upstreams that the newest gives it, and those of
// the others, which still get requests.
std::vector<sense::Fold::Members> members_of(const std::vector<std::shared_ptr<const config::Config>>& configs) {
  std::vector<sense::Fold::Members> members;
  std::unordered_map<std::uint32_t, std::size_t> places;
  for (const auto& config : configs) {
    for (const config::Rule& rule : config->rules) {
      const auto [place, is_new] = places.emplace(rule.number, members.size());
      if (is_new) members.push_back({.route = rule.number, .upstreams = {}});
      std::vector<std::uint32_t>& upstreams = members[place->second].upstreams;
      for (const config::RuleUpstream& upstream : rule.upstreams) {
        const std::uint32_t number = config->upstreams[upstream.index].number;
        if (is_new || std::ranges::find(upstreams, number) == upstreams.end()) upstreams.push_back(number);
      }
    }
  }
  return members;
}

}  // namespace

Mind::Mind(std::shared_ptr<const config::Config> config, Senses senses)
    : configs_{std::move(config)},
      senses_(std::move(senses)),
      fold_(senses_.shards, members_of(configs_), senses_.in_flight) {}

// The clock is known from the first call on.
void Mind::begin(Instant now) {
  if (begun_) return;
  seeds_ = Random(static_cast<std::uint64_t>(now.time_since_epoch().count()));
  watch_upstreams(now);
  begun_ = true;
}

void Mind::reconfigure(std::vector<std::shared_ptr<const config::Config>> configs, Instant now) {
  configs_ = std::move(configs);
  fold_.reconfigure(members_of(configs_));
  views_ = std::make_shared<ViewPool>();  // the old ones show upstreams that are no more
  if (begun_) watch_upstreams(now);
}

void Mind::watch_upstreams(Instant now) {
  std::vector<std::shared_ptr<const config::Upstream>> wanted(senses_.in_flight.size());
  for (const auto& config : configs_) {
    for (const config::Upstream& upstream : config->upstreams) {
      if (!wanted[upstream.number]) wanted[upstream.number] = {config, &upstream};
    }
  }
  watched_.resize(wanted.size());
  rests_.assign(wanted.size(), 0);
  probe_at_.resize(wanted.size(), kNever);
  changed_.resize(wanted.size());
  const config::Presence& settings = configs_.front()->liminal.presence;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (!wanted[i]) {
      watched_[i].reset();
    } else if (watched_[i]) {
      watched_[i]->presence.configure(settings, wanted[i]->probe, now);
      watched_[i]->settings = std::move(wanted[i]);
      apply(i);
    } else {
      PresenceDetector presence(settings, wanted[i]->probe, now, seeds_.next());
      if (begun_) presence.joined(now);
      watched_[i] = std::make_unique<Watched>(Watched{.settings = std::move(wanted[i]),
                                                      .whose = ++watches_,
                                                      .presence = std::move(presence),
                                                      .outcomes_before = begun_ ? outcomes_of(i) : Outcomes{}});
    }
    note(i, now);
  }
}

void Mind::note(std::size_t upstream, Instant now) {
  rests_[upstream] = 0;
  probe_at_[upstream] = watched_[upstream] ? watched_[upstream]->presence.next_probe() : kNever;
  changed_[upstream] = now;
}

sense::ViewPtr Mind::step(Instant now) {
  begin(now);
  std::shared_ptr<sense::View> view = views_->take();
  const bool filled_before = view->upstreams.size() == watched_.size();
  const Instant since = filled_before ? view->folded_at : Instant::min();
  view->number = ++steps_;
  fold_.step(now, *view);
  step_presence(now);
  show_presence(*view, since);
  return view;
}

Mind::Outcomes Mind::outcomes_of(std::size_t upstream) const {
  Outcomes outcomes{};
  for (const sense::Shard* shard : senses_.shards) {
    const sense::OutcomeCounters& counters = shard->upstreams()[upstream].outcomes;
    for (std::size_t kind = 0; kind < sense::kOutcomes; ++kind) outcomes[kind] += counters[kind].value();
  }
  return outcomes;
}

// Those of which something may have been heard, those to which time matters, and some others in turn.
void Mind::step_presence(Instant now) {
  constexpr std::size_t kInTurn = 500;  // so that 50 000 upstreams all have their turn within ten seconds
  for (const std::uint32_t upstream : fold_.heard_of()) rests_[upstream] = 0;
  for (std::size_t i = 0; i < watched_.size(); ++i) {
    const bool turn = i - next_to_look_at_ < kInTurn;
    if (rests_[i] != 0 && !turn && senses_.in_flight.count(i) == 0 && senses_.admission.failures_in_a_row(i) == 0 &&
        senses_.admission.gate(i) == sense::Gate::open) {
      continue;
    }
    if (watched_[i]) step_presence(i, now);
  }
  next_to_look_at_ += kInTurn;
  if (next_to_look_at_ >= watched_.size()) next_to_look_at_ = 0;
}

void Mind::step_presence(std::size_t upstream, Instant now) {
  Watched& watched = *watched_[upstream];
  const Outcomes outcomes = outcomes_of(upstream);
  Heard heard;
  for (std::size_t kind = 0; kind < sense::kOutcomes; ++kind) {
    heard.outcomes[kind] = outcomes[kind] - watched.outcomes_before[kind];
  }
  watched.outcomes_before = outcomes;
  // After the counts: what comes between is in those of the next step.
  heard.failures_in_a_row = senses_.admission.failures_in_a_row(upstream);
  heard.gate = senses_.admission.gate(upstream);
  heard.tokens = senses_.admission.tokens(upstream);
  const sense::Presence before = watched.presence.presence();
  watched.presence.step(heard, now);
  apply(upstream);
  tell(upstream, before);
  note(upstream, now);
  const bool calm = heard.failures_in_a_row == 0 && heard.gate == sense::Gate::open;
  rests_[upstream] = calm && watched.presence.rests() ? 1 : 0;
}

void Mind::apply(std::size_t upstream) {
  PresenceDetector& presence = watched_[upstream]->presence;
  if (!presence.takes_gate()) return;
  if (presence.forgives()) senses_.admission.succeeded(upstream);
  senses_.admission.set_gate(upstream, presence.gate(), presence.tokens());
}

void Mind::tell(std::size_t upstream, sense::Presence before) {
  const PresenceDetector& presence = watched_[upstream]->presence;
  if (presence.presence() == before) return;
  static log::RateLimit limit{20};
  const sense::PresenceFigures figures = presence.figures();
  const bool bad = presence.presence() == sense::Presence::absent || presence.presence() == sense::Presence::liminal;
  log::write(limit, bad ? log::Level::warning : log::Level::info, "presence changed",
             {{"upstream", watched_[upstream]->settings->name},
              {"from", sense::name_of(before)},
              {"to", sense::name_of(presence.presence())},
              {"reason", presence.reason()},
              {"history", std::string_view{figures.history.data()}},
              {"score", std::round(figures.score * 100) / 100},
              {"failures_in_a_row", senses_.admission.failures_in_a_row(upstream)},
              {"probes_failed", figures.probes_failed},
              {"trials", figures.trials}});
}

std::vector<DueProbe> Mind::take_due_probes(Instant now, std::size_t most) {
  std::vector<DueProbe> due;
  const std::size_t count = watched_.size();
  for (std::size_t i = 0; i < count && due.size() < most; ++i) {
    const std::size_t upstream = (next_to_probe_ + i) % count;
    if (now < probe_at_[upstream]) continue;
    Watched& watched = *watched_[upstream];
    watched.presence.begin_probe();
    probe_at_[upstream] = kNever;
    due.push_back({.upstream = static_cast<std::uint32_t>(upstream),
                   .whose = watched.whose,
                   .settings = watched.settings,
                   .type = watched.presence.probe_type()});
  }
  if (!due.empty()) next_to_probe_ = (due.back().upstream + 1) % count;
  return due;
}

void Mind::probed(const DueProbe& probe, ProbeOutcome outcome, Instant now) {
  Watched* watched = watched_[probe.upstream].get();
  if (watched == nullptr || watched->whose != probe.whose) return;  // it is no more
  const sense::Presence before = watched->presence.presence();
  watched->presence.probed(outcome, now);
  apply(probe.upstream);
  tell(probe.upstream, before);
  note(probe.upstream, now);
}

void Mind::restore_presence(std::uint32_t upstream, const PresenceDetector::State& state, Nanoseconds age,
                            Instant now) {
  begin(now);
  watched_[upstream]->presence.restore(state, age, now);
  apply(upstream);
  note(upstream, now);
}

void Mind::show_presence(sense::View& view, Instant since) const {
  bool any_shut = false;
  for (std::size_t i = 0; i < watched_.size(); ++i) {
    any_shut = any_shut || !senses_.admission.admits(i);
    if (changed_[i] < since || !watched_[i]) continue;
    sense::UpstreamView& upstream = view.upstreams[i];
    const PresenceDetector& presence = watched_[i]->presence;
    upstream.presence = presence.presence();
    upstream.presence_since = presence.since();
    upstream.presence_reason = presence.reason();
    upstream.gate = senses_.admission.gate(i);
    upstream.admitted_since = presence.admitted_since();
    upstream.figures = presence.figures();
  }
  const config::Config& config = *configs_.front();
  for (const config::Rule& rule : config.rules) {
    view.routes[rule.number].fails_open =
        (any_shut || rule.upstreams.empty()) &&
        std::ranges::none_of(rule.upstreams, [this, &config](const config::RuleUpstream& upstream) {
          return senses_.admission.admits(config.upstreams[upstream.index].number);
        });
  }
}

}  // namespace dao::liminal

#include "dao/memory/learned.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "dao/base/log.h"
#include "dao/memory/learned_text.h"

namespace dao::memory {
namespace {

using liminal::PresenceDetector;
using std::chrono_literals::operator""s;

constexpr std::string_view kUpstreams = "presence/";
constexpr std::string_view kRoutes = "route/";
constexpr Nanoseconds kLookInterval = 1s;
constexpr std::size_t kUpstreamRounds = 30;  // a look at all of them takes so many seconds
constexpr std::size_t kRouteRounds = 60;
constexpr Nanoseconds kAsOfInterval = 10s;

std::uint64_t mixed(std::uint64_t hash, std::uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15U;
  return hash ^ (hash >> 32U);
}

std::uint32_t condition_of(sense::Presence presence, PresenceDetector::Cause cause, bool away) {
  return static_cast<std::uint32_t>(presence) << 8U | static_cast<std::uint32_t>(cause) << 4U | (away ? 1U : 0U);
}

std::uint32_t condition_of(const PresenceDetector& presence) {
  return condition_of(presence.presence(), presence.cause(), presence.mode() != PresenceDetector::Mode::open);
}

// Ages go on by themselves, so they are no part of it. Never 0.
std::uint64_t fingerprint_of(const PresenceDetector::State& state) {
  std::uint64_t hash = condition_of(state.presence, state.cause, state.kept_away);
  for (std::size_t i = 0; i < state.entries; ++i) {
    const PresenceDetector::Entry& entry = state.history[i];
    hash = mixed(
        hash, std::uint64_t{std::bit_cast<std::uint32_t>(entry.good)} << 32U | std::bit_cast<std::uint32_t>(entry.bad));
    hash = mixed(hash, static_cast<std::uint8_t>(entry.sign));
  }
  return hash | 1U;
}

// When an entry was true for the last time.
WallTime true_until(const StateEntry& entry, WallTime as_of) {
  return is_gone(entry.value) ? entry.at : std::max(entry.at, as_of);
}

std::size_t part_of(std::size_t count, std::size_t rounds) {
  return (count + rounds - 1) / rounds;
}

// Those that were looked after before go on as they are, for the mind still has them; under a new number it has made
// new ones.
template <class Member>
std::vector<Member> members_of(const std::vector<Roster::Member>& roster, std::vector<Member> before) {
  std::unordered_map<std::string, Member> known;
  for (Member& member : before) known.emplace(member.key, member);
  std::vector<Member> members;
  members.reserve(roster.size());
  for (const Roster::Member& one : roster) {
    Member& member = members.emplace_back();
    member.key = one.key;
    member.number = one.number;
    const auto found = known.find(one.key);
    if (found != known.end() && found->second.number == one.number) member = found->second;
  }
  std::ranges::sort(members, {}, &Member::key);
  return members;
}

// Those who take turns go on after a reload where they were: reloads may come faster than all have had theirs.
template <class Member>
std::string key_at(const std::vector<Member>& members, std::size_t position) {
  return position < members.size() ? members[position].key : std::string();
}

template <class Member>
std::size_t position_of(const std::vector<Member>& members, const std::string& key) {
  return static_cast<std::size_t>(std::ranges::lower_bound(members, key, {}, &Member::key) - members.begin());
}

}  // namespace

std::string key_of(const config::Upstream& upstream) {
  return std::string(kUpstreams) + upstream.name + " " + upstream.url.text;
}

std::string key_of(const config::Rule& rule) {
  return std::string(kRoutes) + rule.name;
}

Roster Roster::of(const config::Config& config) {
  Roster roster;
  roster.add(config);
  return roster;
}

void Roster::add(const config::Config& config) {
  const auto add_new = [](std::vector<Member>& members, const auto& named) {
    std::unordered_set<std::string> known;
    for (const Member& member : members) known.insert(member.key);
    for (const auto& one : named) {
      std::string key = key_of(one);
      if (!known.contains(key)) members.push_back({std::move(key), one.number});
    }
  };
  add_new(upstreams, config.upstreams);
  add_new(routes, config.rules);
}

std::size_t Learned::adopt(const Roster& roster, liminal::Mind& mind, Instant now) {
  hand_over();
  const std::string upstream = key_at(upstreams_, next_upstream_);
  const std::string condition = key_at(upstreams_, next_condition_);
  const std::string route = key_at(routes_, next_route_);
  upstreams_ = members_of(roster.upstreams, std::move(upstreams_));
  routes_ = members_of(roster.routes, std::move(routes_));
  next_upstream_ = position_of(upstreams_, upstream);
  next_condition_ = position_of(upstreams_, condition);
  next_route_ = position_of(routes_, route);

  const auto stored_upstreams = store_.list(kUpstreams);
  const auto stored_routes = store_.list(kRoutes);
  const auto as_of_entry = store_.get(kAsOf);
  if (!stored_upstreams || !stored_routes || !as_of_entry) {
    log::warning("what was learned cannot be read from the store",
                 {{"error", !stored_upstreams ? stored_upstreams.error()
                            : !stored_routes  ? stored_routes.error()
                                              : as_of_entry.error()}});
    return 0;
  }
  const WallTime as_of = *as_of_entry ? (*as_of_entry)->at : WallTime{};
  std::size_t restored = 0;
  // Both in order of their keys.
  const auto match = [&](auto& members, const std::vector<StateEntry>& stored, const auto& restore_one) {
    auto member = members.begin();
    for (const StateEntry& entry : stored) {
      while (member != members.end() && member->key < entry.key) ++member;
      if (member == members.end() || member->key != entry.key) {
        mark_gone(entry, as_of);
      } else if (member->fresh) {
        restored += restore_one(*member, entry) ? 1 : 0;
      }
    }
    for (auto& one : members) one.fresh = false;
  };
  match(upstreams_, *stored_upstreams,
        [&](Upstream& upstream, const StateEntry& entry) { return restore(upstream, entry, as_of, mind, now); });
  match(routes_, *stored_routes,
        [&](Route& route, const StateEntry& entry) { return restore(route, entry, as_of, mind); });
  hand_over();
  return restored;
}

bool Learned::restore(Upstream& upstream, const StateEntry& entry, WallTime as_of, liminal::Mind& mind, Instant now) {
  upstream.stored = true;
  auto state = presence_of_text(entry.value);
  if (!state) return false;
  const WallTime until = true_until(entry, as_of);
  // It went on as it was from when it was saved until then. Of one that was well nothing says that it had no success.
  const Nanoseconds went_on = age_of(entry.at, until);
  state->in_this_state += went_on;
  if (state->kept_away || state->presence != sense::Presence::present) state->since_success += went_on;
  mind.restore_presence(upstream.number, *state, age_of(until, clock_.wall_now()), now);
  const PresenceDetector::State now_known = mind.save_presence(upstream.number, now);
  // An entry that says "gone" is written again.
  if (!is_gone(entry.value) && now_known.presence != sense::Presence::unknown) {
    upstream.fingerprint = fingerprint_of(now_known);
    upstream.condition = condition_of(mind.presence_of(upstream.number));
  }
  return now_known.presence != sense::Presence::unknown;
}

bool Learned::restore(Route& route, const StateEntry& entry, WallTime as_of, liminal::Mind& mind) {
  const auto learned = route_of_text(entry.value);
  if (!learned) return false;
  const Nanoseconds age = age_of(true_until(entry, as_of), clock_.wall_now());
  const double half_lives = std::chrono::duration<double>(age) / std::chrono::duration<double>(kHalfLife);
  mind.restore_route(route.number, *learned, std::exp2(-half_lives));
  const std::uint64_t told = mind.save_route(route.number).in_flight.told;
  if (!is_gone(entry.value)) route.told = told;
  return told > 0;
}

// It keeps the time at which it was true for the last time, whatever kAsOf says from now on.
void Learned::mark_gone(const StateEntry& entry, WallTime as_of) {
  const WallTime until = true_until(entry, as_of);
  if (age_of(until, clock_.wall_now()) >= kForgetAfter) {
    erased_.push_back(entry.key);
  } else if (!is_gone(entry.value)) {
    std::string text = marked_gone(entry.value);
    if (!text.empty()) changed_.push_back({.key = entry.key, .value = std::move(text), .at = until});
  }
}

void Learned::step(const liminal::Mind& mind, Instant now) {
  if (last_ && now - *last_ < kLookInterval) return;
  last_ = now;
  look_for_a_new_store();
  save_conditions(mind, now);
  for (std::size_t left = part_of(upstreams_.size(), kUpstreamRounds); left > 0; --left) {
    next_upstream_ = next_upstream_ < upstreams_.size() ? next_upstream_ : 0;
    save(upstreams_[next_upstream_++], mind, now);
  }
  for (std::size_t left = part_of(routes_.size(), kRouteRounds); left > 0; --left) {
    next_route_ = next_route_ < routes_.size() ? next_route_ : 0;
    save(routes_[next_route_++], mind);
  }
  if (!last_as_of_ || now - *last_as_of_ >= kAsOfInterval) {
    last_as_of_ = now;
    changed_.push_back({.key = std::string(kAsOf), .value = {}, .at = clock_.wall_now()});
  }
  hand_over();
}

void Learned::save_all(const liminal::Mind& mind, Instant now) {
  look_for_a_new_store();
  for (Upstream& upstream : upstreams_) save(upstream, mind, now);
  for (Route& route : routes_) save(route, mind);
  changed_.push_back({.key = std::string(kAsOf), .value = {}, .at = clock_.wall_now()});
  hand_over();
}

// An empty one, or one from elsewhere: nothing that was saved is known to be there.
void Learned::look_for_a_new_store() {
  if (const std::uint64_t begun = store_.status().begun_anew; std::exchange(stores_begun_, begun) == begun) return;
  for (Upstream& upstream : upstreams_) upstream.fingerprint = 0;
  for (Route& route : routes_) route.told = 0;
}

// Those that came to be absent, or are back, are saved before it is their turn.
void Learned::save_conditions(const liminal::Mind& mind, Instant now) {
  std::size_t saved = 0;
  for (std::size_t looked = 0; looked < upstreams_.size() && saved < kMostAtOnce; ++looked) {
    next_condition_ = next_condition_ < upstreams_.size() ? next_condition_ : 0;
    Upstream& upstream = upstreams_[next_condition_++];
    if (upstream.condition == condition_of(mind.presence_of(upstream.number))) continue;
    save(upstream, mind, now);
    ++saved;
  }
}

void Learned::save(Upstream& upstream, const liminal::Mind& mind, Instant now) {
  const PresenceDetector::State state = mind.save_presence(upstream.number, now);
  upstream.condition = condition_of(state.presence, state.cause, state.kept_away);
  // restore() begins such a one anew anyway.
  if (state.presence == sense::Presence::unknown) {
    if (std::exchange(upstream.stored, false)) erased_.push_back(upstream.key);
    upstream.fingerprint = 0;
    return;
  }
  const std::uint64_t fingerprint = fingerprint_of(state);
  if (std::exchange(upstream.fingerprint, fingerprint) == fingerprint) return;
  changed_.push_back({.key = upstream.key, .value = to_text(state), .at = clock_.wall_now()});
  upstream.stored = true;
}

void Learned::save(Route& route, const liminal::Mind& mind) {
  const sense::RouteLearned learned = mind.save_route(route.number);
  // All three are told together, but for seconds without an answer.
  if (std::exchange(route.told, learned.in_flight.told) == learned.in_flight.told) return;
  changed_.push_back({.key = route.key, .value = to_text(learned), .at = clock_.wall_now()});
}

void Learned::hand_over() {
  if (!changed_.empty()) store_.put(std::exchange(changed_, {}));
  if (!erased_.empty()) store_.erase(std::exchange(erased_, {}));
}

}  // namespace dao::memory

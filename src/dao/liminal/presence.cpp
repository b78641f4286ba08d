#include "dao/liminal/presence.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace dao::liminal {

using sense::Gate;
using sense::Outcome;
using sense::Presence;

namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""min;

// How much worse than a 5xx it is: an upstream that says 500 works, one that is silent or gone does not.
constexpr float weight_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::server_error:
      return 1;
    case Outcome::timeout:
      return 1.5F;
    case Outcome::transport:
      return 2;
    case Outcome::refused:
      return 3;
    case Outcome::success:
    case Outcome::cancelled:
      break;
  }
  return 0;
}
constexpr std::array<char, sense::kOutcomes> kSigns = {'.', 'E', 'T', 'X', 'R', ' '};
constexpr std::array kInOrder = {Outcome::refused, Outcome::transport, Outcome::timeout, Outcome::server_error,
                                 Outcome::success};

// Of one step. More are averaged, so that twenty entries are at least half a second of heavy traffic and not two
// milliseconds of it.
constexpr std::uint64_t kMostEntries = 4;
constexpr std::uint64_t kMeans = 2;
// With fewer entries than this, those that are missing count as good.
constexpr std::size_t kEnoughEntries = 8;
// Newest entries alike, good or bad, that would come less often than that by what the older ones say: it has changed,
// and the older ones say nothing of how it is now. A policy may send so little to one that fails that twenty outcomes
// are a long time.
constexpr double kNoChance = 2e-4;
// Without any success: so many are needed before an unknown upstream is judged.
constexpr std::size_t kFirstJudgement = 3;
// Without any success: so many are everything that it is asked.
constexpr std::size_t kAll = 12;
// In a row, whatever was before: an answer in the step in which they began would otherwise keep them from being all.
constexpr std::uint64_t kRow = 16;
// On the way back to present, so that an upstream at the boundary does not change every second.
constexpr double kMargin = 0.05;
// Failures in a row while others succeed are bad luck; so long without a success they are not.
constexpr Nanoseconds kNoLuck = 1s;
// Nor are as many as presence looks back on, unless all of that is one short moment.
constexpr Nanoseconds kNoMoment = 300ms;
constexpr Nanoseconds kFirstPatience = 1500ms;
constexpr Nanoseconds kLongestPatience = 30s;
// So long in good health, and the next trouble is a new one.
constexpr Nanoseconds kHealthy = 10s;
constexpr Nanoseconds kStale = 5min;
// Between the good probes that are needed while it is away.
constexpr Nanoseconds kQuick = 100ms;
// Failed requests ask for a probe before its time, but not all the time.
constexpr Nanoseconds kNoEarlierProbe = 1s;

std::uint64_t failures_of(const Heard& heard) {
  return heard.of(Outcome::server_error) + heard.of(Outcome::timeout) + heard.of(Outcome::transport) +
         heard.of(Outcome::refused);
}

}  // namespace

PresenceDetector::PresenceDetector(const config::Presence& settings, const config::Probe& probe, Instant now,
                                   std::uint64_t seed)
    : settings_(settings),
      probe_(probe),
      random_(seed),
      since_(now),
      last_success_(now),
      last_heard_(now),
      probe_backoff_(settings.probe_backoff),
      trial_backoff_(settings.trial_backoff),
      patience_(kFirstPatience) {
  // The first ones spread over the interval, so that a start with many upstreams is no burst.
  if (settings_.enabled && probe_.type != config::ProbeType::off) {
    next_probe_ =
        now + std::chrono::duration_cast<Nanoseconds>(std::min<Nanoseconds>(probe_.interval, 1s) * random_.unit());
  }
}

void PresenceDetector::configure(const config::Presence& settings, const config::Probe& probe, Instant now) {
  if (settings == settings_ && probe == probe_) return;
  const bool was_on = settings_.enabled;
  const bool other_probe = probe != probe_;
  const State known = save(now);
  settings_ = settings;
  probe_ = probe;
  entries_ = 0;
  next_entry_ = 0;
  for (std::size_t i = 0; i < known.entries; ++i) remember(known.history[i]);
  if (!settings_.enabled) {
    if (was_on && mode_ != Mode::open) let_in(Presence::unknown, "presence was switched off", now);
    next_probe_ = kNever;
    return;
  }
  const bool configured = probe_.type != config::ProbeType::off;
  if (cause_ == Cause::probes && !configured) cause_ = Cause::traffic;
  if (!other_probe && was_on) return;
  good_in_a_row_ = failed_in_a_row_ = 0;
  next_probe_ = configured || mode_ != Mode::open ? now : kNever;
}

void PresenceDetector::step(const Heard& heard, Instant now) {
  if (!settings_.enabled) return;
  remember(heard);
  const bool success = heard.of(Outcome::success) > 0;
  if (success) last_success_ = now;
  failed_since_success_ = success ? 0 : failed_since_success_ + failures_of(heard);
  requests_failed_in_a_row_ = heard.failures_in_a_row;
  if (std::ranges::any_of(heard.outcomes, [](std::uint64_t count) { return count > 0; })) last_heard_ = now;

  // A success that came after the failures, for the row is broken.
  const bool alive = success && heard.failures_in_a_row < settings_.failures;
  switch (mode_) {
    case Mode::open:
      if (heard.failures_in_a_row >= settings_.failures) {
        suspect(heard, now);
      } else if (heard.gate != Gate::open) {
        decide_gate();  // a worker closed it, and then a success came
        judge(now);
      } else {
        judge(now);
      }
      if (mode_ == Mode::open) probe_early(heard, now);
      break;
    case Mode::suspect:
    case Mode::shut:
      if (alive && cause_ != Cause::probes) {
        let_in(Presence::present, "a request was answered", now);
      } else if (ready_for_trial_ && cause_ != Cause::probes && now >= trial_after_) {
        begin_trial(now);
      }
      break;
    case Mode::trial:
      if (success) {
        if (taken_ == 0) ++figures_.trials;
        let_in(Presence::present, "a trial request was answered", now);
      } else {
        watch_trial(heard, now);
      }
      break;
  }
  if (mode_ != Mode::open && presence_ == Presence::liminal && now - last_success_ >= settings_.absent_after) {
    enter(Presence::absent, "no success for too long", now);
  }
  if (mode_ == Mode::open && presence_ != Presence::unknown && now - last_heard_ >= kStale) {
    entries_ = next_entry_ = 0;
    enter(Presence::unknown, "nothing was heard of it for too long", now);
  }
}

// Failures in a row.
void PresenceDetector::suspect(const Heard& heard, Instant now) {
  if (heard.of(Outcome::refused) > 0) {
    put_away(Presence::absent, Mode::shut, Cause::connect, "connections are refused", now);
  } else if (now - last_success_ >= kNoLuck) {
    put_away(Presence::absent, Mode::shut, Cause::traffic, "failures in a row", now);
  } else {
    put_away(Presence::liminal, Mode::suspect, Cause::traffic, "failures in a row, to be confirmed", now);
  }
}

// The failed request may be the last one for a while, since policies keep away from what fails.
void PresenceDetector::probe_early(const Heard& heard, Instant now) {
  if (probe_.type == config::ProbeType::off || now - probed_early_ < kNoEarlierProbe) return;
  if (heard.of(Outcome::timeout) + heard.of(Outcome::transport) == 0) return;
  probed_early_ = now;
  next_probe_ = std::min(next_probe_, now);
}

// While requests go there.
void PresenceDetector::judge(Instant now) {
  if (entries_ == 0) return;
  if (presence_ == Presence::unknown && nothing_good() && entries_ < kFirstJudgement) return;
  if (everything_fails(now)) {
    // It costs little to leave it to trials, and much to go on asking.
    const bool long_ago = now - last_success_ >= settings_.absent_after;
    put_away(long_ago ? Presence::absent : Presence::liminal, long_ago ? Mode::shut : Mode::suspect, Cause::traffic,
             long_ago ? "no success for too long" : "everything fails", now);
    return;
  }
  const double share = score();
  const double present = settings_.present_percent / 100.0;
  const double liminal = settings_.liminal_percent / 100.0;
  if (share < liminal && now - last_success_ >= settings_.absent_after) {
    put_away(Presence::absent, Mode::shut, Cause::traffic, "no success for too long", now);
  } else if (share >= std::min(1.0, present + (presence_ == Presence::liminal ? kMargin : 0))) {
    if (presence_ != Presence::present) enter(Presence::present, "answers are good", now);
  } else if (share < present && presence_ != Presence::liminal) {
    enter(Presence::liminal, "a part of what it is asked fails", now);
  }
}

void PresenceDetector::begin_trial(Instant now) {
  mode_ = Mode::trial;
  // Whoever is only under suspicion gets a fair chance: one failure more would prove nothing. Once, where it
  // answers with 5xx: for that the row before it was long.
  fair_ = presence_ == Presence::liminal && !had_fair_trial_;
  granted_ = static_cast<std::uint16_t>(fair_ ? std::max(settings_.failures, settings_.trial_requests)
                                              : settings_.trial_requests);
  granted_at_ = now;
  taken_ = 0;
  ready_for_trial_ = false;
  if (cause_ == Cause::connect && presence_ != Presence::unknown)
    enter(Presence::unknown, "it accepts connections again", now);
  decide_gate();
}

void PresenceDetector::watch_trial(const Heard& heard, Instant now) {
  // A worker that saw a failure has closed the gate: its tokens are gone, as good as taken.
  const std::uint64_t taken = heard.gate == Gate::trial ? granted_ - std::min(heard.tokens, granted_) : granted_;
  if (taken > 0 && taken_ == 0) {
    ++figures_.trials;
    granted_at_ = now;
  }
  taken_ = taken;
  const std::uint64_t failures = failures_of(heard);
  const bool goes_on = fair_ && heard.gate == Gate::trial && heard.tokens > 0;
  if (failures > 0 && !goes_on) {
    trial_failed(failures == heard.of(Outcome::server_error), now);
  } else if (taken_ > 0 && heard.of(Outcome::cancelled) > 0) {
    // Nothing was learned: once more.
    begin_trial(now);
  } else if (taken_ > 0 && now - granted_at_ >= patience_) {
    // Whoever was let through still waits. If an answer comes after all it counts.
    patience_ = std::min(patience_ * 2, kLongestPatience);
    begin_trial(now);
  }
}

// `answers`: with 5xx, but it does.
void PresenceDetector::trial_failed(bool answers, Instant now) {
  ++figures_.trials_failed;
  had_fair_trial_ = had_fair_trial_ || (fair_ && answers);
  if (taken_ == 0) ++figures_.trials;
  granted_ = 0;
  mode_ = presence_ == Presence::liminal ? Mode::suspect : Mode::shut;
  if (presence_ == Presence::unknown) {
    enter(Presence::absent, "the trial failed", now);
  } else if (presence_ == Presence::liminal && !answers && now - last_success_ >= kNoLuck) {
    mode_ = Mode::shut;
    enter(Presence::absent, "the trial failed", now);
  }
  trial_after_ = now + shortened(trial_backoff_);
  trial_backoff_ = std::min<Nanoseconds>(trial_backoff_ * 2, settings_.trial_backoff_max);
  good_in_a_row_ = 0;
  next_probe_ = trial_after_ - std::min<Nanoseconds>(kQuick, trial_after_ - now);
  decide_gate();
}

void PresenceDetector::probed(ProbeOutcome outcome, Instant now) {
  probing_ = false;
  if (!settings_.enabled) return;
  const bool configured = probe_.type != config::ProbeType::off;
  if (outcome == ProbeOutcome::not_done) {
    next_probe_ = now + shortened(settings_.probe_backoff_max);
    return;
  }
  last_heard_ = now;
  if (outcome == ProbeOutcome::good) {
    ++figures_.probes_good;
    ++good_in_a_row_;
    failed_in_a_row_ = 0;
    probe_backoff_ = settings_.probe_backoff;
    const bool enough = good_in_a_row_ >= (configured ? probe_.rise : 1);
    const bool proves_it =
        cause_ == Cause::probes || (cause_ == Cause::connect && probe_.type == config::ProbeType::http);
    if (mode_ == Mode::open) {
      next_probe_ = configured ? now + shortened(probe_.interval) : kNever;
      if (presence_ == Presence::unknown && configured && enough) enter(Presence::present, "probes are good", now);
    } else if (!enough) {
      next_probe_ = now + kQuick;
    } else if (proves_it) {
      let_in(Presence::present, "probes are good", now);
    } else {
      ready_for_trial_ = mode_ != Mode::trial;
      // While the trial goes on, or waits for traffic, it is still looked after.
      next_probe_ = now + shortened(settings_.probe_backoff_max);
      if (ready_for_trial_ && now >= trial_after_) begin_trial(now);
    }
    return;
  }
  ++figures_.probes_failed;
  ++failed_in_a_row_;
  good_in_a_row_ = 0;
  // Since it was due: one that waited for its timeout must not put off the next one.
  const Nanoseconds took = std::clamp<Nanoseconds>(now - next_probe_, Nanoseconds::zero(), probe_.timeout);
  if (mode_ == Mode::open) {
    next_probe_ =
        now + (requests_failed_in_a_row_ > 0 ? kQuick : shortened(std::min<Nanoseconds>(probe_.interval, 1s)));
    // A refused one says what a refused request does.
    const bool refused = outcome == ProbeOutcome::refused;
    if (configured && (refused || failed_in_a_row_ + requests_failed_in_a_row_ >= probe_.fall)) {
      put_away(Presence::absent, Mode::shut, refused ? Cause::connect : Cause::probes,
               refused ? "the probe was refused" : "probes fail", now);
      next_probe_ = now + shortened(probe_backoff_);
    } else if (!configured) {
      next_probe_ = kNever;
    }
    return;
  }
  ready_for_trial_ = false;
  next_probe_ = now + std::max(kQuick, shortened(probe_backoff_) - took);
  probe_backoff_ = std::min<Nanoseconds>(probe_backoff_ * 2, settings_.probe_backoff_max);
  if (mode_ == Mode::trial) {
    mode_ = Mode::shut;
    granted_ = 0;
    decide_gate();
  }
  if (cause_ != Cause::probes && (outcome == ProbeOutcome::refused || outcome == ProbeOutcome::timed_out)) {
    cause_ = Cause::connect;
  }
  if (presence_ != Presence::absent) {
    mode_ = Mode::shut;
    enter(Presence::absent, outcome == ProbeOutcome::refused ? "the probe was refused" : "the probe failed", now);
  }
}

void PresenceDetector::put_away(Presence presence, Mode mode, Cause cause, std::string_view reason, Instant now) {
  if (admitted_since_ == Instant{} || now - admitted_since_ >= kHealthy) {
    trial_backoff_ = settings_.trial_backoff;
    patience_ = kFirstPatience;
  }
  mode_ = mode;
  cause_ = cause;
  granted_ = 0;
  good_in_a_row_ = 0;
  failed_in_a_row_ = 0;
  ready_for_trial_ = false;
  had_fair_trial_ = false;
  probe_backoff_ = settings_.probe_backoff;
  trial_after_ = now;
  next_probe_ = now;
  if (presence != presence_) enter(presence, reason, now);
  reason_ = reason;
  decide_gate();
}

void PresenceDetector::let_in(Presence presence, std::string_view reason, Instant now) {
  mode_ = Mode::open;
  cause_ = Cause::none;
  granted_ = 0;
  entries_ = next_entry_ = 0;
  remember(Entry{.good = 1, .bad = 0, .sign = '.'});
  admitted_since_ = now;
  last_success_ = now;
  failed_since_success_ = 0;
  next_probe_ = probe_.type == config::ProbeType::off ? kNever : now + shortened(probe_.interval);
  if (presence != presence_) enter(presence, reason, now);
  reason_ = reason;
  decide_gate();
}

void PresenceDetector::enter(Presence presence, std::string_view reason, Instant now) {
  presence_ = presence;
  reason_ = reason;
  since_ = now;
  ++figures_.transitions;
  ++figures_.entered[static_cast<std::size_t>(presence)];
}

bool PresenceDetector::takes_gate() {
  return std::exchange(gate_changes_, false);
}

Gate PresenceDetector::gate() const {
  if (mode_ == Mode::open) return Gate::open;
  return mode_ == Mode::trial ? Gate::trial : Gate::closed;
}

void PresenceDetector::remember(const Heard& heard) {
  std::uint64_t all = 0;
  float bad = 0;
  for (const Outcome outcome : kInOrder) {
    all += heard.of(outcome);
    bad += weight_of(outcome) * static_cast<float>(heard.of(outcome));
  }
  if (all > kMostEntries) {
    const auto good = static_cast<float>(heard.of(Outcome::success));
    const auto count = static_cast<float>(all);
    char sign = static_cast<char>('0' + std::min(9, static_cast<int>(10 * good / count)));
    for (const Outcome outcome : kInOrder) {
      if (heard.of(outcome) == all) sign = kSigns[static_cast<std::size_t>(outcome)];
    }
    for (std::uint64_t i = 0; i < kMeans; ++i) remember({.good = good / count, .bad = bad / count, .sign = sign});
    return;
  }
  for (const Outcome outcome : kInOrder) {
    const Entry entry = entry_of(kSigns[static_cast<std::size_t>(outcome)]).value();
    for (std::uint64_t i = 0; i < heard.of(outcome); ++i) remember(entry);
  }
}

void PresenceDetector::remember(Entry entry) {
  const bool like_the_last = entries_ > 0 && (entry.good == 0 || entry.bad == 0) &&
                             (entry.good == 0) == (newest().good == 0) && (entry.bad == 0) == (newest().bad == 0);
  history_[next_entry_] = entry;
  next_entry_ = (next_entry_ + 1) % settings_.history;
  entries_ = std::min<std::size_t>(entries_ + 1, settings_.history);
  alike_ = like_the_last ? std::min(alike_ + 1, entries_) : 1;
  notice_change();
}

void PresenceDetector::notice_change() {
  const std::size_t older = entries_ - alike_;
  if (older == 0) return;
  double good = 1;  // as if there were one of each more
  for (std::size_t i = 0; i < older; ++i) good += static_cast<double>(entry(i).good);
  const double share = good / static_cast<double>(older + 2);
  const double each = newest().bad == 0 ? share : 1 - share;
  if (std::pow(each, static_cast<double>(alike_)) < kNoChance) entries_ = alike_;
}

const PresenceDetector::Entry& PresenceDetector::entry(std::size_t index) const {
  return history_[(next_entry_ + settings_.history - entries_ + index) % settings_.history];
}

double PresenceDetector::score() const {
  double good = entries_ < kEnoughEntries ? static_cast<double>(kEnoughEntries - entries_) : 0;
  double bad = 0;
  for (std::size_t i = 0; i < entries_; ++i) {
    good += static_cast<double>(entry(i).good);
    bad += static_cast<double>(entry(i).bad);
  }
  return good / (good + bad);
}

bool PresenceDetector::nothing_good() const {
  for (std::size_t i = 0; i < entries_; ++i) {
    if (entry(i).good > 0) return false;
  }
  return true;
}

bool PresenceDetector::everything_fails(Instant now) const {
  const Nanoseconds lasted = now - last_success_;
  if (failed_since_success_ >= kRow && lasted >= kNoLuck) return true;
  if (!nothing_good()) return false;
  return (entries_ >= std::min<std::size_t>(kAll, settings_.history) && lasted >= kNoLuck) ||
         (failed_since_success_ >= settings_.history && lasted >= kNoMoment);
}

Nanoseconds PresenceDetector::shortened(Nanoseconds wait) {
  return std::chrono::duration_cast<Nanoseconds>(wait * (1 - random_.unit() * probe_.jitter_percent / 100.0));
}

sense::PresenceFigures PresenceDetector::figures() const {
  sense::PresenceFigures figures = figures_;
  for (std::size_t i = 0; i < entries_; ++i) figures.history[i] = entry(i).sign;
  figures.score = entries_ == 0 ? 0 : score();
  figures.next_probe = next_probe_;
  return figures;
}

std::optional<PresenceDetector::Entry> PresenceDetector::entry_of(char sign) {
  for (const Outcome outcome : kInOrder) {
    if (kSigns[static_cast<std::size_t>(outcome)] != sign) continue;
    return Entry{.good = outcome == Outcome::success ? 1.0F : 0.0F, .bad = weight_of(outcome), .sign = sign};
  }
  return std::nullopt;
}

PresenceDetector::State PresenceDetector::save(Instant now) const {
  State state{.presence = presence_,
              .cause = cause_,
              .kept_away = mode_ != Mode::open,
              .in_this_state = now - since_,
              .since_success = now - last_success_};
  for (; state.entries < entries_; ++state.entries) state.history[state.entries] = entry(state.entries);
  return state;
}

void PresenceDetector::restore(const State& state, Nanoseconds age, Instant now) {
  if (!settings_.enabled || age >= kStale || state.presence == Presence::unknown) return;
  const std::size_t entries = std::min<std::size_t>(state.entries, state.history.size());
  for (std::size_t i = 0; i < entries; ++i) remember(state.history[i]);
  presence_ = state.presence;
  reason_ = "as it was before the configuration was loaded";
  since_ = now - state.in_this_state - age;
  last_success_ = now - state.since_success - age;
  last_heard_ = now - age;
  if (!state.kept_away) return;
  mode_ = state.presence == Presence::absent ? Mode::shut : Mode::suspect;
  cause_ = state.cause == Cause::probes && probe_.type == config::ProbeType::off ? Cause::traffic : state.cause;
  next_probe_ = now;
  decide_gate();
}

}  // namespace dao::liminal

#include "dao/liminal/transition.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "dao/liminal/evidence.h"

namespace dao::liminal {
namespace {

// More clients than `progress` see the new side only after it has had `requests`, or after waiting for `patience`, as a
// part of the transition's time.
struct ShareGate {
  double progress;
  double requests;
  double patience;
};
constexpr std::array kGates = {ShareGate{0.01, 10, 0.05}, ShareGate{0.05, 100, 0.10}, ShareGate{0.15, 1000, 0.15}};
// How long the share does not grow while the new side is in doubt.
constexpr double kDoubtPatience = 0.20;

// A mind that was away for longer goes on as if it had been away for so long.
constexpr Nanoseconds kLongestStep = std::chrono::seconds(1);
constexpr std::size_t kMostChanges = 64;

// A hundredth of the transition, within limits: long enough for a fair comparison, short enough to act soon.
Nanoseconds block_of(Nanoseconds over) {
  return std::clamp<Nanoseconds>(over / 100, std::chrono::milliseconds(200), std::chrono::seconds(2));
}

Nanoseconds part_of(Nanoseconds time, double part) {
  return Nanoseconds(static_cast<std::int64_t>(static_cast<double>(time.count()) * part));
}

}  // namespace

Transition::Transition(const config::Metamorphic& settings, Nanoseconds over, std::uint64_t seed, Instant now,
                       std::string_view by)
    : rolls_back_(settings.rollback),
      evidence_needed_(100 / settings.false_alarm_percent),
      over_(std::max<Nanoseconds>(over, std::chrono::milliseconds(1))),
      seed_(seed),
      began_(now),
      margins_{.errors = settings.max_error_increase_percent / 100,
               .latency = settings.max_latency_increase_percent / 100},
      comparison_(margins_, block_of(over_), now),
      stepped_(now) {
  enter(TransitionState::running, now, fmt::format("begun by {}", by));
}

void Transition::enter(TransitionState state, Instant now, std::string reason) {
  // What it is now and how it began are kept.
  if (changes_.size() == kMostChanges) changes_.erase(changes_.begin() + 1);
  changes_.push_back({.state = state, .at = now, .reason = std::move(reason)});
}

bool Transition::step(Instant now) {
  const TransitionView before = view();
  const Nanoseconds passed = std::clamp<Nanoseconds>(now - stepped_, Nanoseconds::zero(), kLongestStep);
  stepped_ = now;
  if (is_over(state())) return false;
  if (comparison_.step(now)) judge(now);
  if (state() == TransitionState::running) {
    move(passed);
    if (progress_ >= 1) enter(TransitionState::finished, now, "every client sees the new configuration");
  }
  return view() != before;
}

void Transition::judge(Instant now) {
  if (worse_ || comparison_.evidence() < evidence_needed_) return;
  worse_ = true;
  progress_at_verdict_ = progress_;
  hold_ = Hold::none;
  std::string reason = "the new configuration is worse: " + describe(figures(now));
  if (rolls_back_) {
    progress_ = 0;
    enter(TransitionState::rolled_back, now, std::move(reason));
  } else if (state() == TransitionState::running) {
    enter(TransitionState::paused, now, std::move(reason));
  }
}

void Transition::move(Nanoseconds passed) {
  const double wanted = progress_ + static_cast<double>(passed.count()) / static_cast<double>(over_.count());
  hold_ = Hold::none;
  if (!worse_ && comparison_.evidence() >= kDoubt && held_in_doubt_ < part_of(over_, kDoubtPatience)) {
    hold_ = Hold::doubt;
    held_in_doubt_ += passed;
    held_ += passed;
    return;
  }
  double allowed = 1;
  const auto requests = static_cast<double>(comparison_.requests(Side::new_config));
  for (std::size_t i = 0; i < kGates.size(); ++i) {
    const ShareGate& gate = kGates[i];
    if (wanted <= gate.progress || requests >= gate.requests) continue;
    if (held_at_gates_[i] >= part_of(over_, gate.patience)) continue;
    hold_ = Hold::evidence;
    held_at_gates_[i] += passed;
    held_ += passed;
    allowed = gate.progress;
    break;
  }
  progress_ = std::max(progress_, std::min(wanted, allowed));
}

Transition::Done Transition::pause(Instant now, std::string_view by) {
  if (state() != TransitionState::running) {
    return std::unexpected(fmt::format("the transition is not running, it is {}", name_of(state())));
  }
  enter(TransitionState::paused, now, fmt::format("paused by {}", by));
  return {};
}

Transition::Done Transition::resume(Instant now, std::string_view by) {
  if (state() != TransitionState::paused) {
    return std::unexpected(fmt::format("the transition is not paused, it is {}", name_of(state())));
  }
  stepped_ = now;
  enter(TransitionState::running, now, fmt::format("resumed by {}", by));
  return {};
}

Transition::Done Transition::abort(Instant now, std::string_view by) {
  if (is_over(state())) return std::unexpected(fmt::format("the transition is over: {}", name_of(state())));
  progress_ = 0;
  hold_ = Hold::none;
  enter(TransitionState::aborted, now, fmt::format("aborted by {}", by));
  return {};
}

Transition::Done Transition::finish(Instant now, std::string_view by) {
  if (is_over(state())) return std::unexpected(fmt::format("the transition is over: {}", name_of(state())));
  progress_ = 1;
  hold_ = Hold::none;
  enter(TransitionState::finished, now, fmt::format("finished by {}", by));
  return {};
}

TransitionView Transition::view() const {
  return {.seed = seed_, .threshold = threshold_of(progress_), .progress = progress_, .state = state()};
}

TransitionFigures Transition::figures(Instant now) const {
  TransitionFigures figures;
  figures.state = state();
  figures.since = changes_.back().at;
  figures.reason = changes_.back().reason;
  figures.progress = progress_;
  figures.progress_at_verdict = progress_at_verdict_;
  figures.hold = state() == TransitionState::running ? hold_ : Hold::none;
  figures.over = over_;
  figures.elapsed = (is_over(state()) ? figures.since : now) - began_;
  figures.held = held_;
  for (std::size_t side = 0; side < kSides; ++side) figures.sides[side] = comparison_.figures(static_cast<Side>(side));
  figures.error_increase = comparison_.error_increase();
  figures.margins = margins_;
  figures.evidence = comparison_.evidence();
  figures.evidence_needed = evidence_needed_;
  for (std::size_t i = 0; i < kMetrics; ++i) figures.evidence_of[i] = comparison_.evidence(static_cast<Metric>(i));
  figures.worst = comparison_.worst();
  figures.worse = worse_;
  figures.effective_clients = comparison_.effective_cells();
  figures.verdict = describe_verdict(figures);
  figures.changes = changes_;
  return figures;
}

}  // namespace dao::liminal

// How one upstream is: a state machine fed with outcomes of attempts and of probes, in any clock. docs/presence.md has
// the rules and the reasons. One thread; no allocation after construction.
//
//   open      requests go there; the verdict (present, liminal) follows the history
//   suspect   liminal and not asked: failures came in a row, and whether it is dead or unlucky is being found out
//   shut      absent, not asked
//   trial     a few requests are let through; their outcome decides
//
// Latency is no part of it: an upstream is never put away for being slow, only for not answering in time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "dao/base/clock.h"
#include "dao/base/random.h"
#include "dao/config/config.h"
#include "dao/sense/admission.h"
#include "dao/sense/outcomes.h"
#include "dao/sense/presence.h"
#include "dao/sense/view.h"

namespace dao::liminal {

// What a probe came to.
enum class ProbeOutcome : std::uint8_t {
  good,
  refused,     // nobody listens, or there is no address
  timed_out,   // not even a connection in time
  bad_answer,  // connected, but no answer, or not the one that is expected
  not_done,    // DAO could not probe: says nothing
};

// What was heard since the step before, and how the gate stands.
struct Heard {
  std::array<std::uint64_t, sense::kOutcomes> outcomes{};  // by sense::Outcome
  std::uint32_t failures_in_a_row = 0;                     // now
  sense::Gate gate = sense::Gate::open;
  std::uint16_t tokens = 0;

  [[nodiscard]] std::uint64_t of(sense::Outcome outcome) const { return outcomes[static_cast<std::size_t>(outcome)]; }
};

class PresenceDetector {
 public:
  enum class Mode : std::uint8_t { open, suspect, shut, trial };
  // Why it is kept away, which decides what brings it back.
  enum class Cause : std::uint8_t {
    none,
    connect,  // no connection can be made
    traffic,  // requests fail
    probes,   // the configured probe fails: only it brings the upstream back
  };

  // An outcome, or the mean of several.
  struct Entry {
    float good = 0;
    float bad = 0;
    char sign = '.';
  };

  // What one outcome adds to the history, by its sign; nothing for a sign that stands for the mean of several, or none.
  [[nodiscard]] static std::optional<Entry> entry_of(char sign);

  // All that is worth keeping over a reload or a restart. Times are ages, so that it can leave the process.
  struct State {
    sense::Presence presence = sense::Presence::unknown;
    Cause cause = Cause::none;
    bool kept_away = false;
    Nanoseconds in_this_state{};
    Nanoseconds since_success{};
    std::array<Entry, sense::PresenceFigures::kHistoryMax> history{};
    std::size_t entries = 0;
  };

  PresenceDetector(const config::Presence& settings, const config::Probe& probe, Instant now, std::uint64_t seed);

  // It was added while DAO runs: as new as one that comes back.
  void joined(Instant now) { admitted_since_ = now; }
  // Other settings from now on; what was heard stays.
  void configure(const config::Presence& settings, const config::Probe& probe, Instant now);

  // About ten times a second. Afterwards the gate should be what gate() says, if set_gate() says that it changes.
  void step(const Heard& heard, Instant now);
  // A probe that begin_probe() was called for has ended.
  void probed(ProbeOutcome outcome, Instant now);

  [[nodiscard]] bool probe_due(Instant now) const { return !probing_ && now >= next_probe_; }
  void begin_probe() { probing_ = true; }
  // When probe_due() becomes true; kNever while one is under way.
  [[nodiscard]] Instant next_probe() const { return probing_ ? kNever : next_probe_; }
  // Time alone changes nothing but that it is forgotten after minutes: step() may wait until something is heard, for
  // some seconds.
  [[nodiscard]] bool rests() const {
    return mode_ == Mode::open && (presence_ == sense::Presence::present || presence_ == sense::Presence::unknown);
  }
  // Configured, or the default one for upstreams that are away.
  [[nodiscard]] config::ProbeType probe_type() const {
    return probe_.type == config::ProbeType::off ? config::ProbeType::tcp : probe_.type;
  }

  [[nodiscard]] sense::Presence presence() const { return presence_; }
  [[nodiscard]] Instant since() const { return since_; }
  [[nodiscard]] std::string_view reason() const { return reason_; }
  [[nodiscard]] Mode mode() const { return mode_; }
  [[nodiscard]] Cause cause() const { return cause_; }
  // When it was let in again after being away; the epoch: it was never away.
  [[nodiscard]] Instant admitted_since() const { return admitted_since_; }
  [[nodiscard]] double score() const;
  [[nodiscard]] sense::PresenceFigures figures() const;

  // What the gate has to become, if anything: true once after each decision.
  [[nodiscard]] bool takes_gate();
  [[nodiscard]] sense::Gate gate() const;
  [[nodiscard]] std::uint16_t tokens() const { return granted_; }
  // With that, the failures that it had in a row are no longer held against it.
  [[nodiscard]] bool forgives() const { return mode_ == Mode::open || (mode_ == Mode::trial && fair_); }

  [[nodiscard]] State save(Instant now) const;
  // `age`: how long ago it was saved. What is too old is forgotten: the upstream is unknown.
  void restore(const State& state, Nanoseconds age, Instant now);

 private:
  void remember(const Heard& heard);
  void remember(Entry entry);
  // Begins the history anew where its newest entries are no chance by what the older ones were.
  void notice_change();
  // 0: the oldest.
  [[nodiscard]] const Entry& entry(std::size_t index) const;
  void judge(Instant now);
  void enter(sense::Presence presence, std::string_view reason, Instant now);
  void put_away(sense::Presence presence, Mode mode, Cause cause, std::string_view reason, Instant now);
  void let_in(sense::Presence presence, std::string_view reason, Instant now);
  void begin_trial(Instant now);
  void watch_trial(const Heard& heard, Instant now);
  void trial_failed(bool answers, Instant now);
  void suspect(const Heard& heard, Instant now);
  void probe_early(const Heard& heard, Instant now);
  void decide_gate() { gate_changes_ = true; }
  [[nodiscard]] Nanoseconds shortened(Nanoseconds wait);
  [[nodiscard]] const Entry& newest() const { return entry(entries_ - 1); }
  [[nodiscard]] bool nothing_good() const;
  [[nodiscard]] bool everything_fails(Instant now) const;

  config::Presence settings_;
  config::Probe probe_;
  Random random_;
  std::array<Entry, sense::PresenceFigures::kHistoryMax> history_{};
  std::size_t entries_ = 0;
  std::size_t next_entry_ = 0;
  std::size_t alike_ = 0;  // of the newest, how many are all good, or all bad

  sense::Presence presence_ = sense::Presence::unknown;
  Mode mode_ = Mode::open;
  Cause cause_ = Cause::none;
  std::string_view reason_ = "nothing was heard of it yet";
  Instant since_;
  Instant last_success_;  // or when the watch began
  std::uint64_t failed_since_success_ = 0;
  Instant last_heard_;
  Instant admitted_since_{};
  bool gate_changes_ = false;

  // probes
  Instant next_probe_ = kNever;
  bool probing_ = false;
  std::uint32_t good_in_a_row_ = 0;
  std::uint32_t failed_in_a_row_ = 0;
  std::uint32_t requests_failed_in_a_row_ = 0;
  Instant probed_early_{};
  Nanoseconds probe_backoff_;

  // trials
  bool ready_for_trial_ = false;  // a probe was good since it was put away, or since the last trial
  Instant trial_after_{};
  Nanoseconds trial_backoff_;
  Nanoseconds patience_;  // with a trial that is not answered
  Instant granted_at_{};
  std::uint16_t granted_ = 0;
  std::uint64_t taken_ = 0;
  bool fair_ = false;  // of several requests, one of which may fail
  bool had_fair_trial_ = false;

  sense::PresenceFigures figures_;
};

}  // namespace dao::liminal

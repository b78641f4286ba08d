// The mind of one gradual change from an old to a new configuration (docs/metamorphic.md). It moves the share of
// clients that see the new side from 0 to 1, watches both, and takes everybody back when the new side is clearly worse.
// It owns no configuration, no thread and no clock: whoever has it steps it about ten times a second with what was
// seen, and gives the view to the workers.
//
//   running ──► finished       everybody sees the new configuration
//     │  ▲ └──► rolled_back    it was worse
//     ▼  │ └──► aborted        the operator took it back
//   paused ───► (the same)     the share stays; both sides are still compared
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "dao/base/clock.h"
#include "dao/config/config.h"
#include "dao/liminal/comparison.h"
#include "dao/liminal/side_of.h"
#include "dao/liminal/side_sample.h"

namespace dao::liminal {

// With this much evidence that the new side is worse, it is in doubt: the share does not grow for a while.
inline constexpr double kDoubt = 8;

enum class TransitionState : std::uint8_t { running, paused, finished, rolled_back, aborted };
std::string_view name_of(TransitionState state);
constexpr bool is_over(TransitionState state) {
  return state != TransitionState::running && state != TransitionState::paused;
}

// What a worker needs to know. Small and never changed: a message like others. Requests that began on a side stay
// there.
struct TransitionView {
  std::uint64_t seed = 0;       // for point_of_address() and point_of_key(); the same for the whole transition
  std::uint64_t threshold = 0;  // for side_of()
  double progress = 0;          // 0..1, what the threshold is made of; for interpolate.h
  TransitionState state = TransitionState::running;

  friend bool operator==(const TransitionView&, const TransitionView&) = default;
};

// Why the share does not grow although the transition runs.
enum class Hold : std::uint8_t {
  none,
  evidence,  // the new side has not had enough requests for more
  doubt,     // it may be worse
};
std::string_view name_of(Hold hold);

struct TransitionChange {
  TransitionState state = TransitionState::running;
  Instant at{};
  std::string reason;
};

// All there is to know, for `daoctl config status` and the log.
struct TransitionFigures {
  TransitionState state = TransitionState::running;
  Instant since{};  // of this state
  std::string reason;
  double progress = 0;
  double progress_at_verdict = 0;  // where it was when it was found worse; 0: it was not
  Hold hold = Hold::none;
  Nanoseconds over{};                       // as planned
  Nanoseconds elapsed{};                    // since it began, until now or its end
  Nanoseconds held{};                       // of that, waited
  std::array<SideFigures, kSides> sides{};  // by Side
  double error_increase = 0;                // 0..1, in the same seconds; may be negative
  Margins margins;
  double evidence = 1;  // that it is worse
  double evidence_needed = 100;
  std::array<double, kMetrics> evidence_of{};  // by Metric; `evidence` is their mean
  Metric worst = Metric::errors;
  bool worse = false;                     // the evidence was enough
  double effective_clients = 0;           // how many clients of equal size would make this traffic; at most kCells
  std::string verdict;                    // in words
  std::vector<TransitionChange> changes;  // oldest first, the last of them is `state`
};

class Transition {
 public:
  // `over`: > 0. `seed`: random, not known to clients. `by`: who began it, for the record.
  Transition(const config::Metamorphic& settings, Nanoseconds over, std::uint64_t seed, Instant now,
             std::string_view by);

  // A request that has ended since the last step.
  void add(const SideSample& sample) {
    if (!is_over(state())) comparison_.add(sample);
  }
  // True: the view is another one.
  bool step(Instant now);

  // The operator's. The error says why not; nothing has changed then.
  using Done = std::expected<void, std::string>;
  Done pause(Instant now, std::string_view by);
  Done resume(Instant now, std::string_view by);
  Done abort(Instant now, std::string_view by);   // everybody sees the old side again
  Done finish(Instant now, std::string_view by);  // everybody sees the new side

  [[nodiscard]] TransitionState state() const { return changes_.back().state; }
  [[nodiscard]] TransitionView view() const;
  [[nodiscard]] TransitionFigures figures(Instant now) const;

 private:
  void enter(TransitionState state, Instant now, std::string reason);
  void judge(Instant now);
  void move(Nanoseconds passed);

  const bool rolls_back_;
  const double evidence_needed_;
  const Nanoseconds over_;
  const std::uint64_t seed_;
  const Instant began_;
  Margins margins_;
  Comparison comparison_;
  Instant stepped_;
  double progress_ = 0;
  Hold hold_ = Hold::none;
  Nanoseconds held_{};
  std::array<Nanoseconds, 3> held_at_gates_{};
  Nanoseconds held_in_doubt_{};
  bool worse_ = false;
  double progress_at_verdict_ = 0;
  std::vector<TransitionChange> changes_;
};

// "errors: 5.2 % of 1904 requests instead of 0.1 % of 21067, evidence 12345 of 100 needed".
std::string describe(const TransitionFigures& figures);
// The same for any state, with how sure DAO is.
std::string describe_verdict(const TransitionFigures& figures);
// A line of the log for the state that the transition has now: a warning if it was rolled back or stopped.
void log_transition(const TransitionFigures& figures);

}  // namespace dao::liminal

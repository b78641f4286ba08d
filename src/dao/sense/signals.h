// What one worker feels of one upstream right now, for its choices: plain numbers, one thread, a few instructions for
// each attempt. The View (view.h) has the long figures of all workers; these are the fresh ones.
//
// The time to answer is estimated with what is still unanswered taken into account: for exponential times, the most
// likely mean of n answered ones with sum S while others have waited A in all is (S + A) / n (Cox and Oakes, "Analysis
// of Survival Data", 1984, section 3.3: censored observations). So an upstream that hangs looks slow before anything
// ends.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "dao/base/clock.h"

namespace dao::sense {

class UpstreamSignals {
 public:
  static constexpr Nanoseconds kPeakDecay = std::chrono::seconds(10);

  // An attempt was sent and waits for its answer's head.
  void sent(Instant now) {
    ++waiting_;
    waiting_since_sum_ += seconds_at(now);
    last_sent_ = now;
  }
  // That one got its head. `failed`: a 5xx.
  void answered(Instant sent_at, Instant now, bool failed) {
    const auto crowd = static_cast<double>(waiting_);
    leave(sent_at);
    add(seconds_of(now - sent_at), now, failed, crowd);
  }
  // That one failed without an answer.
  void failed(Instant sent_at, Instant now) { answered(sent_at, now, true); }
  // That one was called off, by the client or by DAO: nothing was learned but that it would have taken longer.
  void cancelled(Instant sent_at, Instant now) {
    leave(sent_at);
    called_off_sum_ += seconds_of(now - sent_at);
  }

  // Attempts whose head has not come.
  [[nodiscard]] std::int64_t waiting() const { return waiting_; }
  // How many attempts the estimates rest on; old ones count less.
  [[nodiscard]] double weight(Instant now) const {
    return weight_ / (1 + seconds_of(now - last_added_) / kFadeSeconds);
  }
  // The estimated time to the head, in seconds; 0 while nothing is known.
  [[nodiscard]] double mean_seconds(Instant now) const {
    const double waited = waiting_ == 0 ? 0 : static_cast<double>(waiting_) * seconds_at(now) - waiting_since_sum_;
    const double sum = time_sum_ + called_off_sum_ + std::max(0.0, waited);
    return weight_ > 1 ? sum / weight_ : sum;
  }
  // Peak EWMA of the time to answer: jumps up to a slower answer at once and comes down to faster ones, or to 0 where
  // none come, with a time constant of kPeakDecay. 0 before the first answer.
  [[nodiscard]] double peak_seconds(Instant now) const { return peak_ * decay(now); }
  // Standard deviation over mean, of the answers; 1 (as of exponential times) while there are few.
  [[nodiscard]] double spread() const {
    if (weight_ < 4 || time_sum_ <= 0) return 1;
    const double mean = time_sum_ / weight_;
    return std::sqrt(std::max(0.0, square_sum_ / weight_ - mean * mean)) / mean;
  }
  // The same of those alone that have ended.
  [[nodiscard]] double ended_mean_seconds() const { return weight_ > 1 ? time_sum_ / weight_ : 0; }
  // When the last one ended.
  [[nodiscard]] Instant last_ended() const { return last_added_; }
  // How many answers would have been expected since the last one, by the usual times, from those that wait; of
  // exponential times the chance of this silence is e to the power of minus that. More than usually wait are no reason
  // to expect answers more often: they may stand in a line there. 0 while little is known.
  [[nodiscard]] double answers_missed(Instant now) const {
    const double mean = ended_mean_seconds();
    if (waiting_ == 0 || weight_ < 8 || mean <= 0) return 0;
    const double waiting = static_cast<double>(waiting_);
    const double waited = waiting * seconds_at(now) - waiting_since_sum_;
    const double served_at_once = std::min(1.0, std::max(1.0, crowd_sum_ / weight_) / waiting);
    return served_at_once * std::min(waited, waiting * seconds_of(now - last_added_)) / mean;
  }
  // It was away and is back: only its last answer, which let it in, says how it is now.
  void begin_anew() {
    const double left = weight_ > 0 && !last_failed_ ? 1 : 0;
    time_sum_ = left * last_seconds_;
    square_sum_ = time_sum_ * last_seconds_;
    crowd_sum_ = weight_ = attempts_ = left;
    called_off_sum_ = errors_ = 0;
    since_change_ = static_cast<std::uint64_t>(left);
    alike_ = left;
    alike_share_ = alike_chance_ = 1;
  }
  // It was found to answer nothing, and nothing has ended there since.
  void found_silent() { silent_ = true; }
  [[nodiscard]] bool silent() const { return silent_; }
  // Share of the attempts that failed, 0..1, cautious while there are few (as if two more had gone well). Where the
  // newest are all failures, or none is, and what was before makes that no chance, it is theirs alone: what fails at
  // once must not live on its good name, nor wait long for a new one.
  [[nodiscard]] double error_rate() const { return errors_ / (attempts_ + 2); }
  // How many attempts ended since that began anew.
  [[nodiscard]] std::uint64_t attempts_since_change() const { return since_change_; }
  [[nodiscard]] Instant last_sent() const { return last_sent_; }
  // How the last attempt ended.
  [[nodiscard]] double last_seconds() const { return last_seconds_; }
  [[nodiscard]] bool last_failed() const { return last_failed_; }

 private:
  // Estimates rest on the newest, about eighty; and what is older than some seconds fades, so that the first answers of
  // an upstream that was left alone soon count more than how it was then.
  static constexpr double kKeep = 1 - 1.0 / 80;
  static constexpr double kFadeSeconds = 5;
  // Small enough for workers that make a hundred thousand attempts a second; four failures of one that never failed.
  static constexpr double kNoChance = 1e-7;

  static double seconds_of(Nanoseconds time) {
    return static_cast<double>(std::max<std::int64_t>(0, time.count())) * 1e-9;
  }
  static double seconds_at(Instant at) { return static_cast<double>(at.time_since_epoch().count()) * 1e-9; }
  void leave(Instant sent_at) {
    --waiting_;
    waiting_since_sum_ = waiting_ == 0 ? 0 : waiting_since_sum_ - seconds_at(sent_at);
  }
  [[nodiscard]] double decay(Instant now) const {
    const double x = seconds_of(now - last_added_) / std::chrono::duration<double>(kPeakDecay).count();
    // The series of exp(-x) to x^4 is exact there, to the last digit of a double, and costs a fraction.
    constexpr double kSmall = 1e-3;
    if (x < kSmall) return 1 - x * (1 - x / 2 * (1 - x / 3 * (1 - x / 4)));
    return std::exp(-x);
  }
  void add(double took, Instant now, bool failed, double crowd) {
    silent_ = false;
    const double keep = kKeep / (1 + seconds_of(now - last_added_) / kFadeSeconds);
    note_result(failed, keep);
    last_seconds_ = took;
    last_failed_ = failed;
    // Failing fast is no merit.
    if (failed && weight_ > 0) took = std::max(took, time_sum_ / std::max(1.0, weight_));
    peak_ = took > peak_ ? took : took + (peak_ - took) * decay(now);
    last_added_ = now;
    time_sum_ = time_sum_ * keep + took;
    called_off_sum_ *= keep;
    square_sum_ = square_sum_ * keep + took * took;
    crowd_sum_ = crowd_sum_ * keep + crowd;
    weight_ = weight_ * keep + 1;
  }
  void note_result(bool failed, double keep) {
    if (failed != last_failed_ || alike_ == 0) {
      const double like = failed ? errors_ : attempts_ - errors_;
      alike_share_ = (like + 1) / (attempts_ + 2);
      alike_chance_ = 1;
      alike_ = 0;
    }
    alike_ += 1;
    ++since_change_;
    alike_chance_ *= alike_share_;
    attempts_ = attempts_ * keep + 1;
    errors_ = errors_ * keep + (failed ? 1 : 0);
    if (alike_chance_ >= kNoChance) return;
    attempts_ = alike_;
    errors_ = failed ? alike_ : 0;
    since_change_ = static_cast<std::uint64_t>(alike_);
    alike_share_ = alike_chance_ = 1;
  }

  std::int64_t waiting_ = 0;
  double waiting_since_sum_ = 0;  // of their instants, in seconds
  double peak_ = 0;
  double time_sum_ = 0;
  double called_off_sum_ = 0;
  double square_sum_ = 0;
  double crowd_sum_ = 0;  // how many waited when one of them was answered
  double weight_ = 0;
  double attempts_ = 0;
  double errors_ = 0;
  std::uint64_t since_change_ = 0;
  double alike_ = 0;         // the newest that ended alike, well or not
  double alike_share_ = 1;   // of those before them
  double alike_chance_ = 1;  // of them all, by that
  double last_seconds_ = 0;
  bool last_failed_ = false;
  bool silent_ = false;
  Instant last_sent_{};
  Instant last_added_{};
};

}  // namespace dao::sense

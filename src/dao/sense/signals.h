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
  void sent(Instant now, std::int64_t in_flight) {
    ++waiting_;
    waiting_since_sum_ += seconds(now);
    last_sent_ = now;
    in_flight_sum_ += static_cast<double>(in_flight);
    in_flight_weight_ += 1;
  }
  // That one got its head, `after` it was sent. `failed`: a 5xx.
  void answered(Instant sent_at, Instant now, bool failed) {
    leave(sent_at);
    add(seconds_of(now - sent_at), now, failed);
    last_answer_ = now;
  }
  // That one failed without an answer.
  void failed(Instant sent_at, Instant now) {
    leave(sent_at);
    add(seconds_of(now - sent_at), now, true);
  }
  // That one was called off, by the client or by DAO: nothing was learned but that it took at least so long.
  void cancelled(Instant sent_at, Instant now) {
    leave(sent_at);
    time_sum_ += seconds_of(now - sent_at);
  }

  // Attempts whose head has not come.
  [[nodiscard]] std::int64_t waiting() const { return waiting_; }
  // How many answers the estimate rests on; old ones count less.
  [[nodiscard]] double weight() const { return weight_; }
  // The estimated time to the head, in seconds; 0 while nothing is known.
  [[nodiscard]] double mean_seconds(Instant now) const {
    const double waited =
        waiting_ > 0 ? std::max(0.0, static_cast<double>(waiting_) * seconds(now) - waiting_since_sum_) : 0.0;
    if (weight_ <= 0) return waited;
    return (time_sum_ + waited) / weight_;
  }
  // Peak EWMA of the time to answer: jumps up to a slower answer at once and comes down to faster ones, or to 0 where
  // none come, with a time constant of kPeakDecay. 0 before the first answer.
  [[nodiscard]] double peak_seconds(Instant now) const { return peak_ * decay(now); }
  // Standard deviation over mean, of the answers.
  [[nodiscard]] double spread() const {
    if (weight_ < 2 || time_sum_ <= 0) return 1;
    const double mean = time_sum_ / weight_;
    return std::sqrt(std::max(0.0, square_sum_ / weight_ - mean * mean)) / mean;
  }
  // Share of the attempts that failed, 0..1.
  [[nodiscard]] double error_rate() const { return weight_ > 0 ? errors_ / weight_ : 0; }
  // How many were in flight there, on average, when attempts were sent.
  [[nodiscard]] double usual_in_flight() const {
    return in_flight_weight_ > 0 ? in_flight_sum_ / in_flight_weight_ : 0;
  }
  [[nodiscard]] Instant last_sent() const { return last_sent_; }
  [[nodiscard]] Instant last_answer() const { return last_answer_; }
  // Forgets everything but what is under way.
  void forget() { peak_ = time_sum_ = square_sum_ = weight_ = errors_ = in_flight_sum_ = in_flight_weight_ = 0; }

 private:
  static double seconds_of(Nanoseconds time) {
    return static_cast<double>(std::max<std::int64_t>(0, time.count())) * 1e-9;
  }
  static double seconds(Instant at) { return static_cast<double>(at.time_since_epoch().count()) * 1e-9; }
  void leave(Instant sent_at) {
    --waiting_;
    waiting_since_sum_ = waiting_ == 0 ? 0 : waiting_since_sum_ - seconds(sent_at);
  }
  [[nodiscard]] double decay(Instant now) const {
    return std::exp(-seconds_of(now - peak_at_) / std::chrono::duration<double>(kPeakDecay).count());
  }
  void add(double took, Instant now, bool failed) {
    // The newest about eighty answers rule.
    constexpr double kKeep = 1 - 1.0 / 80;
    // Failing fast is no merit.
    if (failed && weight_ > 0) took = std::max(took, time_sum_ / weight_);
    if (took > peak_) {
      peak_ = took;
    } else {
      peak_ = took + (peak_ - took) * decay(now);
    }
    peak_at_ = now;
    time_sum_ = time_sum_ * kKeep + took;
    square_sum_ = square_sum_ * kKeep + took * took;
    weight_ = weight_ * kKeep + 1;
    errors_ = errors_ * kKeep + (failed ? 1 : 0);
    in_flight_sum_ *= kKeep;
    in_flight_weight_ *= kKeep;
  }

  std::int64_t waiting_ = 0;
  double waiting_since_sum_ = 0;
  double peak_ = 0;
  Instant peak_at_{};
  double time_sum_ = 0;
  double square_sum_ = 0;
  double weight_ = 0;
  double errors_ = 0;
  double in_flight_sum_ = 0;
  double in_flight_weight_ = 0;
  Instant last_sent_{};
  Instant last_answer_{};
};

}  // namespace dao::sense

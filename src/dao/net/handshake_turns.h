// Handshakes cost much CPU. So that a flood of them leaves the other connections of a worker their share, the steps of
// handshakes take at most about kBudget of each batch of the loop, and at least one step is taken; those that do not
// get their turn wait in line, first come first served. One for each worker, one thread.
#pragma once

#include "dao/base/clock.h"
#include "dao/rt/event.h"
#include "dao/rt/loop.h"

namespace dao::net {

class HandshakeTurns {
 public:
  static constexpr Nanoseconds kBudget = std::chrono::microseconds(100);

  HandshakeTurns() = default;
  HandshakeTurns(const HandshakeTurns&) = delete;
  HandshakeTurns& operator=(const HandshakeTurns&) = delete;

  // There is time in this batch.
  [[nodiscard]] bool has_time(Instant batch) {
    if (batch != batch_) {
      batch_ = batch;
      spent_ = {};
    }
    return spent_ < kBudget;
  }
  [[nodiscard]] bool anybody_waits() const { return first_ != nullptr; }
  // What a step has cost.
  void spend(Nanoseconds time) { spent_ += time; }

  // A place in the line, from its making to its end. The first in line looks for time in each batch; the others sleep.
  class Place {
   public:
    explicit Place(HandshakeTurns& turns) : turns_(turns), before_(turns.last_) {
      (before_ != nullptr ? before_->behind_ : turns_.first_) = this;
      turns_.last_ = this;
    }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    ~Place() {
      (before_ != nullptr ? before_->behind_ : turns_.first_) = behind_;
      (behind_ != nullptr ? behind_->before_ : turns_.last_) = before_;
      if (before_ == nullptr && behind_ != nullptr) behind_->is_first_.set();
    }
    [[nodiscard]] bool first() const { return before_ == nullptr; }
    // co_await: until first().
    [[nodiscard]] auto wait(rt::Loop& loop, Instant deadline, rt::Cancel* cancel) {
      return is_first_.wait(loop, deadline, cancel);
    }

   private:
    HandshakeTurns& turns_;
    Place* before_;
    Place* behind_ = nullptr;
    rt::Event is_first_;
  };

 private:
  Instant batch_{};
  Nanoseconds spent_{};
  Place* first_ = nullptr;
  Place* last_ = nullptr;
};

}  // namespace dao::net

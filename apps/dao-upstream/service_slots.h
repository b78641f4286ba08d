// A server that can do only so much at once: N slots, and a queue in the order of arrival. One thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <deque>

#include "dao/rt/event.h"
#include "dao/rt/task.h"

namespace dao::fault {

class ServiceSlots {
 public:
  // 0: as many as come.
  explicit ServiceSlots(std::size_t slots) : slots_(slots) {}

  [[nodiscard]] bool limited() const { return slots_ != 0; }
  [[nodiscard]] std::size_t busy() const { return busy_; }
  [[nodiscard]] std::size_t queued() const { return queue_.size(); }
  [[nodiscard]] std::size_t queued_max() const { return queued_max_; }
  void reset_queued_max() { queued_max_ = queue_.size(); }

  // False: cancelled while waiting; the slot is not held.
  rt::Task<bool> acquire(rt::Loop& loop, rt::Cancel& cancel) {
    if (slots_ == 0 || (busy_ < slots_ && queue_.empty())) {
      ++busy_;
      co_return true;
    }
    Waiter waiter;
    queue_.push_back(&waiter);
    queued_max_ = std::max(queued_max_, queue_.size());
    const rt::Wake wake = co_await waiter.turn.wait(loop, kNever, &cancel);
    if (wake == rt::Wake::ready) co_return true;
    if (waiter.granted) {
      release();
    } else {
      std::erase(queue_, &waiter);
    }
    co_return false;
  }

  // The slot passes to the first in the queue.
  void release() {
    if (queue_.empty()) {
      --busy_;
      return;
    }
    Waiter* next = queue_.front();
    queue_.pop_front();
    next->granted = true;
    next->turn.set();
  }

 private:
  struct Waiter {
    rt::Event turn;
    bool granted = false;
  };
  std::size_t slots_;
  std::size_t busy_ = 0;
  std::size_t queued_max_ = 0;
  std::deque<Waiter*> queue_;
};

}  // namespace dao::fault

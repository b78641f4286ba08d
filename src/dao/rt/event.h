// Event: what a suspended coroutine waits for, together with a deadline and a Cancel. The leaf of every wait in DAO.
// One waiter at a time; one thread.
#pragma once

#include <cassert>
#include <coroutine>

#include "dao/rt/loop.h"

namespace dao::rt {

enum class Wake : std::uint8_t { ready, timed_out, cancelled };

class Event;

namespace detail {

// Lives in the frame of the suspended coroutine. Whichever cause comes first unlinks the other two.
class Waiter {
 public:
  Waiter(Event* event, Loop& loop, Instant deadline, Cancel* cancel)
      : event_(event), loop_(loop), deadline_(deadline), cancel_(cancel) {}
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  [[nodiscard]] bool await_ready();
  void await_suspend(std::coroutine_handle<> handle);
  [[nodiscard]] Wake await_resume() const { return wake_; }

  void wake(Wake why);

 private:
  struct DeadlineTimer : Timer {
    Waiter* waiter = nullptr;
  };
  struct CancelHook : Cancel::Hook {
    Waiter* waiter = nullptr;
  };
  Event* event_;  // null: a plain sleep
  Loop& loop_;
  Instant deadline_;
  Cancel* cancel_;
  std::coroutine_handle<> handle_;
  DeadlineTimer timer_;
  CancelHook hook_;
  Wake wake_ = Wake::ready;
};

}  // namespace detail

class Event {
 public:
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { assert(waiter_ == nullptr); }

  // Wakes the waiter; without one, the next wait returns at once (a signal is remembered, not counted).
  void set() {
    set_ = true;
    if (waiter_ != nullptr) waiter_->wake(Wake::ready);
  }
  [[nodiscard]] bool has_waiter() const { return waiter_ != nullptr; }

  // co_await event.wait(loop, deadline, cancel): consumes the signal.
  [[nodiscard]] detail::Waiter wait(Loop& loop, Instant deadline = kNever, Cancel* cancel = nullptr) {
    return detail::Waiter{this, loop, deadline, cancel};
  }

 private:
  friend class detail::Waiter;
  detail::Waiter* waiter_ = nullptr;
  bool set_ = false;
};

// co_await sleep_until(loop, when, cancel): timed_out when the time has come, cancelled otherwise.
[[nodiscard]] inline detail::Waiter sleep_until(Loop& loop, Instant when, Cancel* cancel = nullptr) {
  return detail::Waiter{nullptr, loop, when, cancel};
}

namespace detail {

inline bool Waiter::await_ready() {
  if (event_ != nullptr && event_->set_) {
    event_->set_ = false;
    return true;
  }
  if (cancel_ != nullptr && cancel_->requested()) {
    wake_ = Wake::cancelled;
    return true;
  }
  return false;
}

inline void Waiter::await_suspend(std::coroutine_handle<> handle) {
  handle_ = handle;
  if (event_ != nullptr) {
    assert(event_->waiter_ == nullptr);
    event_->waiter_ = this;
  }
  if (deadline_ != kNever) {
    timer_.waiter = this;
    timer_.fire = [](Timer& self) { static_cast<DeadlineTimer&>(self).waiter->wake(Wake::timed_out); };
    loop_.timers().schedule(timer_, deadline_);
  }
  if (cancel_ != nullptr) {
    hook_.waiter = this;
    hook_.cancelled = [](Cancel::Hook& self, ErrorKind) {
      static_cast<CancelHook&>(self).waiter->wake(Wake::cancelled);
    };
    cancel_->add(hook_);
  }
}

inline void Waiter::wake(Wake why) {
  wake_ = why;
  if (event_ != nullptr) {
    event_->waiter_ = nullptr;
    if (why == Wake::ready) event_->set_ = false;
  }
  loop_.timers().cancel(timer_);
  hook_.unlink();
  loop_.schedule(handle_);
}

}  // namespace detail

}  // namespace dao::rt

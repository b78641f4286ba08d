// The loop of one thread: ready coroutines, timers, file events, messages from other threads.
//
// Loop is the part that needs no kernel (ready queue, timers, tasks); EpollLoop adds sockets, and VirtualLoop (tests,
// simulations) adds a clock that jumps from timer to timer. Every call is for the loop's own thread, except where said.
#pragma once

#include <coroutine>
#include <cstddef>
#include <vector>

#include "dao/base/clock.h"
#include "dao/base/counter.h"
#include "dao/rt/cancel.h"
#include "dao/rt/task.h"
#include "dao/rt/timer_wheel.h"

namespace dao::rt {

class Loop {
 public:
  explicit Loop(const Clock& clock) : clock_(clock), now_(clock.now()), timers_(now_) { read_wall_clock(); }
  virtual ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  // The time at which the current batch of events began: free, at most one batch old.
  [[nodiscard]] Instant now() const { return now_; }
  // Calendar time to now(): free, may lag behind a step of the machine's clock by kWallRefresh.
  [[nodiscard]] WallTime wall_now() const { return WallTime(now_.time_since_epoch() + wall_offset_); }
  // The time now: one clock read.
  [[nodiscard]] Instant precise_now() const { return clock_.now(); }
  [[nodiscard]] const Clock& clock() const { return clock_; }
  [[nodiscard]] TimerWheel& timers() { return timers_; }

  // Resumes `ready` in this batch, after what is already queued. Never resumes it inside the call.
  void schedule(std::coroutine_handle<> ready) { ready_.push_back(ready); }

  // Resumes it in the next batch, after the events that have come by then; the loop does not sleep before.
  void schedule_next(std::coroutine_handle<> ready) { next_ready_.push_back(ready); }

  // Starts a task that nobody awaits; it is counted until it ends.
  void spawn(Task<> task);
  // Tasks spawned and not ended.
  [[nodiscard]] std::size_t live_tasks() const { return static_cast<std::size_t>(live_tasks_->value()); }
  // Counts them in `gauge` from now on, where other threads can read them. Before the first spawn(); it outlives the
  // loop.
  void count_tasks_in(Gauge& gauge) { live_tasks_ = &gauge; }

  // Runs until stop() was called, or (VirtualLoop) nothing is left to do.
  virtual void run() = 0;
  void stop() { stopping_ = true; }

 protected:
  void run_ready();
  void refresh_now() {
    now_ = clock_.now();
    if (now_ - wall_read_ >= kWallRefresh) read_wall_clock();
  }
  [[nodiscard]] bool has_ready() const { return !ready_.empty() || !next_ready_.empty(); }
  [[nodiscard]] bool stopping() const { return stopping_; }
  void stopped() { stopping_ = false; }  // run() may be called again

 private:
  static constexpr Nanoseconds kWallRefresh = std::chrono::milliseconds(100);
  void read_wall_clock() {
    wall_read_ = now_;
    wall_offset_ = clock_.wall_now().time_since_epoch() - now_.time_since_epoch();
  }

  const Clock& clock_;
  Instant now_;
  Instant wall_read_;
  Nanoseconds wall_offset_{};
  TimerWheel timers_;
  std::vector<std::coroutine_handle<>> ready_;
  std::vector<std::coroutine_handle<>> running_;
  std::vector<std::coroutine_handle<>> next_ready_;
  Gauge own_live_tasks_;
  Gauge* live_tasks_ = &own_live_tasks_;
  bool stopping_ = false;
};

// co_await next_batch(loop): lets everybody else have a turn first.
struct NextBatch {
  Loop& loop;
  [[nodiscard]] static bool await_ready() { return false; }
  void await_suspend(std::coroutine_handle<> handle) const { loop.schedule_next(handle); }
  static void await_resume() {}
};
[[nodiscard]] inline NextBatch next_batch(Loop& loop) {
  return {loop};
}

// co_await after_others(loop): goes on in this batch, once all that is ready now had its turn. Before a write this
// makes a batch read first and write then, which keeps each of the kernel's two paths in the caches, lets more frames
// share a write, and wakes the peers less often. Alone in its batch, nobody waits.
struct AfterOthers {
  Loop& loop;
  [[nodiscard]] static bool await_ready() { return false; }
  void await_suspend(std::coroutine_handle<> handle) const { loop.schedule(handle); }
  static void await_resume() {}
};
[[nodiscard]] inline AfterOthers after_others(Loop& loop) {
  return {loop};
}

// Runs tasks in virtual time: when nothing is ready, the clock jumps to the next timer. Deterministic.
class VirtualLoop final : public Loop {
 public:
  VirtualLoop() : VirtualLoop(new ManualClock) {}
  ~VirtualLoop() override;

  // Until nothing is ready and no timer is scheduled, or stop().
  void run() override;
  // Until `until` (virtual), or as run().
  void run_for(Nanoseconds duration);
  // Spawns the task and runs until it has ended; its result is returned. Ends the program if the task cannot end.
  template <class T>
  T run_task(Task<T> task);

 private:
  explicit VirtualLoop(ManualClock* clock) : Loop(*clock), manual_(clock) {}
  bool step(Instant limit);
  [[noreturn]] static void stuck();
  ManualClock* manual_;
};

template <class T>
T VirtualLoop::run_task(Task<T> task) {
  bool ended = false;
  Task<T>* inner = &task;
  struct Holder {
    alignas(T) std::byte storage[sizeof(T)];
  } holder{};
  T* value = nullptr;
  auto wrapper = [](Task<T>* awaited, Holder* into, T** out, bool* done) -> Task<> {
    T result = co_await std::move(*awaited);
    *out = new (static_cast<void*>(into->storage)) T(std::move(result));
    *done = true;
  };
  spawn(wrapper(inner, &holder, &value, &ended));
  while (!ended) {
    if (!step(kNever)) stuck();
  }
  T result = std::move(*value);
  value->~T();
  return result;
}
template <>
void VirtualLoop::run_task(Task<void> task);

}  // namespace dao::rt

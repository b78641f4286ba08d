#include "dao/rt/loop.h"

#include <cstdio>
#include <cstdlib>

namespace dao::rt {

namespace {

// A coroutine that owns itself: its frame goes away when it ends.
struct Detached {
  struct promise_type {
    static void* operator new(std::size_t size) { return FramePool::allocate(size); }
    static void operator delete(void* frame, std::size_t size) noexcept { FramePool::release(frame, size); }
    Detached get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
    [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
    [[nodiscard]] std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
  };
  std::coroutine_handle<promise_type> handle;
};

Detached run_detached(Task<> task, Gauge& live_tasks) {
  co_await std::move(task);
  live_tasks.subtract();
}

}  // namespace

Loop::~Loop() = default;

void Loop::spawn(Task<> task) {
  live_tasks_->add();
  schedule(run_detached(std::move(task), *live_tasks_).handle);
}

void Loop::run_ready() {
  ready_.insert(ready_.end(), next_ready_.begin(), next_ready_.end());
  next_ready_.clear();
  while (!ready_.empty()) {
    running_.swap(ready_);
    for (const std::coroutine_handle<> handle : running_) handle.resume();
    running_.clear();
  }
}

VirtualLoop::~VirtualLoop() {
  delete manual_;
}

bool VirtualLoop::step(Instant limit) {
  if (has_ready()) {
    run_ready();
    return true;
  }
  const Instant next = timers().next_expiry();
  if (next > limit || next == kNever) return false;
  if (next > manual_->now()) manual_->advance(next - manual_->now());
  refresh_now();
  timers().advance(now());
  return true;
}

void VirtualLoop::run() {
  while (!stopping() && step(kNever)) {
  }
}

void VirtualLoop::run_for(Nanoseconds duration) {
  const Instant until = now() + duration;
  while (!stopping() && step(until)) {
  }
  if (manual_->now() < until) manual_->advance(until - manual_->now());
  refresh_now();
  timers().advance(now());
  run_ready();
}

template <>
void VirtualLoop::run_task(Task<void> task) {
  bool ended = false;
  auto wrapper = [](Task<void>* awaited, bool* done) -> Task<> {
    co_await std::move(*awaited);
    *done = true;
  };
  spawn(wrapper(&task, &ended));
  while (!ended) {
    if (!step(kNever)) stuck();
  }
}

void VirtualLoop::stuck() {
  std::fputs("VirtualLoop: the task waits for something that nothing will do\n", stderr);
  std::abort();
}

}  // namespace dao::rt

// Running two tasks at once with both joined: neither frame outlives the caller's statement.
#pragma once

#include <tuple>
#include <utility>

#include "dao/rt/cancel.h"
#include "dao/rt/task.h"

namespace dao::rt {

namespace detail {

// Resumed once by each child; passes control to the parent after the last.
class JoinCounter {
 public:
  struct Child {
    struct promise_type {
      JoinCounter* counter = nullptr;
      static void* operator new(std::size_t size) { return FramePool::allocate(size); }
      static void operator delete(void* frame, std::size_t size) noexcept { FramePool::release(frame, size); }
      Child get_return_object() { return {std::coroutine_handle<promise_type>::from_promise(*this)}; }
      [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
      struct Final {
        [[nodiscard]] bool await_ready() const noexcept { return false; }
        std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> self) const noexcept {
          JoinCounter* joined = self.promise().counter;
          self.destroy();
          return --joined->remaining == 0 ? joined->parent : std::noop_coroutine();
        }
        void await_resume() const noexcept {}
      };
      [[nodiscard]] Final final_suspend() const noexcept { return {}; }
      void return_void() const noexcept {}
      [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
    };
    std::coroutine_handle<promise_type> handle;
  };

  std::coroutine_handle<> parent;
  int remaining = 0;
};

template <class T>
JoinCounter::Child join_child(Task<T>& task) {
  // The wrapper keeps Task's "resume my continuation" contract while several children share one parent.
  struct Start {
    Task<T>& task;
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> self) const noexcept { return task.prepare(self); }
    void await_resume() const noexcept {}
  };
  co_await Start{task};
}

}  // namespace detail

// auto [a, b] = co_await join(task_a, task_b): both started in order, resumes when both have ended.
template <class A, class B>
Task<std::pair<A, B>> join(Task<A> first, Task<B> second) {
  struct Both {
    Task<A>& first;
    Task<B>& second;
    detail::JoinCounter counter{};
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> parent) {
      counter.parent = parent;
      counter.remaining = 3;  // one is ours, so that no child resumes the parent while we are still starting them
      for (auto child : {detail::join_child(first).handle, detail::join_child(second).handle}) {
        child.promise().counter = &counter;
        child.resume();
      }
      return --counter.remaining == 0 ? parent : std::noop_coroutine();
    }
    void await_resume() const noexcept {}
  };
  Both both{first, second};
  co_await both;
  co_return std::pair<A, B>{first.take_result(), second.take_result()};
}

// Wraps a leg of a race: when it ends, the others' Cancel is requested. Use under join:
//   co_await join(racing(a, loser), racing(b, loser))
template <class T>
Task<T> racing(Task<T> leg, Cancel& others) {
  T result = co_await std::move(leg);
  others.request();
  co_return result;
}

}  // namespace dao::rt

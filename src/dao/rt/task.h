// Task<T>: a lazily started coroutine that is awaited exactly once, on the thread of its loop.
//
// Rules (docs/core-invariants.md):
//  - A suspended task is never destroyed: it is resumed with a cancellation and ends by itself. So every local of a
//    coroutine may be referred to by what it awaits.
//  - Nothing throws through a task: failures are values (Result<T>); an escaping exception terminates the process.
//  - `co_await` stands in a statement of its own: name the awaited thing first.
#pragma once

#include <coroutine>
#include <cstddef>
#include <exception>
#include <new>
#include <utility>

#include "dao/rt/frame_pool.h"

// In front of a coroutine: its frame is not made a part of its caller's. The compiler does so where it can, which saves
// an allocation and makes the caller's frame as large as both, for as long as the caller lives. For what is awaited now
// and then by a coroutine that lives long, such as that of an idle connection.
#define DAO_FRAME_OF_ITS_OWN [[gnu::noinline]]

namespace dao::rt {

namespace detail {

struct PromiseBase {
  std::coroutine_handle<> continuation;

  static void* operator new(std::size_t size) { return FramePool::allocate(size); }
  static void operator delete(void* frame, std::size_t size) noexcept { FramePool::release(frame, size); }

  struct FinalAwaiter {
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    template <class Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> finished) const noexcept {
      return finished.promise().continuation;
    }
    void await_resume() const noexcept {}
  };

  [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
  [[nodiscard]] FinalAwaiter final_suspend() const noexcept { return {}; }
  [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
};

template <class T>
struct Promise : PromiseBase {
  alignas(T) std::byte storage[sizeof(T)];
  bool has_value = false;

  template <class U>
  void return_value(U&& value) {
    new (static_cast<void*>(storage)) T(std::forward<U>(value));
    has_value = true;
  }
  T& value() { return *std::launder(reinterpret_cast<T*>(storage)); }
  ~Promise() {
    if (has_value) value().~T();
  }
};

template <>
struct Promise<void> : PromiseBase {
  void return_void() const noexcept {}
};

}  // namespace detail

template <class T = void>
class [[nodiscard]] Task {
 public:
  struct promise_type : detail::Promise<T> {
    Task get_return_object() noexcept { return Task{std::coroutine_handle<promise_type>::from_promise(*this)}; }
  };
  using Handle = std::coroutine_handle<promise_type>;

  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (handle_) handle_.destroy();
  }

  auto operator co_await() && noexcept {
    struct Awaiter {
      Handle handle;
      [[nodiscard]] bool await_ready() const noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) const noexcept {
        handle.promise().continuation = caller;
        return handle;
      }
      T await_resume() const {
        if constexpr (!std::is_void_v<T>) return std::move(handle.promise().value());
      }
    };
    return Awaiter{handle_};
  }

  // For the runtime (join, spawn): start this task with `continuation` to be resumed when it ends.
  [[nodiscard]] std::coroutine_handle<> prepare(std::coroutine_handle<> continuation) noexcept {
    handle_.promise().continuation = continuation;
    return handle_;
  }
  // For the runtime: the value of a task that has ended.
  T take_result() {
    if constexpr (!std::is_void_v<T>) return std::move(handle_.promise().value());
  }

 private:
  explicit Task(Handle handle) noexcept : handle_(handle) {}
  Handle handle_;
};

}  // namespace dao::rt

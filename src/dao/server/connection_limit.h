// How many client connections may be held at once: by the process, over all workers, and through one listener.
#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

namespace dao::server {

// Any thread.
class ConnectionLimit {
 public:
  static constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::max();

  explicit ConnectionLimit(std::int64_t most) : most_(most) {}

  // False: the limit is reached. True must be paid back with leave().
  bool enter() {
    if (count_.fetch_add(1, std::memory_order_relaxed) < most()) return true;
    count_.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  void leave() { count_.fetch_sub(1, std::memory_order_relaxed); }
  [[nodiscard]] std::int64_t most() const { return most_.load(std::memory_order_relaxed); }
  // From the next connection on; those that are there stay.
  void set_most(std::int64_t most) { most_.store(most, std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> most_;
  alignas(64) std::atomic<std::int64_t> count_{0};
};

}  // namespace dao::server

// How many client connections the process may hold at once, over all workers, and how many through each listener.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <limits>

namespace dao::server {

// Any thread.
class ConnectionLimit {
 public:
  explicit ConnectionLimit(std::int64_t most) : most_(most) {}

  // False: the limit is reached. True must be paid back with leave().
  bool enter() {
    if (count_.fetch_add(1, std::memory_order_relaxed) < most_) return true;
    count_.fetch_sub(1, std::memory_order_relaxed);
    return false;
  }
  void leave() { count_.fetch_sub(1, std::memory_order_relaxed); }
  [[nodiscard]] std::int64_t most() const { return most_; }

 private:
  std::int64_t most_;
  alignas(64) std::atomic<std::int64_t> count_{0};
};

struct ConnectionLimits {
  explicit ConnectionLimits(std::int64_t most) : process(most) {}

  // The next listener's; 0 = no limit of its own.
  void add_listener(std::int64_t most) {
    listeners.emplace_back(most > 0 ? most : std::numeric_limits<std::int64_t>::max());
  }

  ConnectionLimit process;
  std::deque<ConnectionLimit> listeners;  // by their numbers in Server::listeners
};

}  // namespace dao::server

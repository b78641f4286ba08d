// Words that one thread writes and any thread reads. The writer's step is a load, an addition and a store, all relaxed:
// plain moves on every machine, no locked instruction. A reader sees each word whole and perhaps a moment old; two
// words read one after the other need not belong together.
#pragma once

#include <atomic>
#include <cstdint>

namespace dao {

// Only ever grows, unless it begins anew for another use.
class Counter {
 public:
  void add(std::uint64_t amount = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
  void clear() { value_.store(0, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

// Goes up and down.
class Gauge {
 public:
  void add(std::int64_t amount = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + amount, std::memory_order_relaxed);
  }
  void subtract(std::int64_t amount = 1) { add(-amount); }
  void set(std::int64_t value) { value_.store(value, std::memory_order_relaxed); }
  void clear() { set(0); }
  [[nodiscard]] std::int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> value_{0};
};

}  // namespace dao

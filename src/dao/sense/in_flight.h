// Requests under way per upstream, over all workers: the only words of the request path that workers share. One cache
// line each. Relaxed: nothing else is published through them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "dao/sense/slots.h"

namespace dao::sense {

class InFlight {
 public:
  explicit InFlight(std::size_t upstreams) : slots_(upstreams) {}

  // One thread, as Slots::grow.
  void grow(std::size_t upstreams) { slots_.grow(upstreams); }
  void enter(std::size_t upstream) { slots_[upstream].count.fetch_add(1, std::memory_order_relaxed); }
  void leave(std::size_t upstream) { slots_[upstream].count.fetch_sub(1, std::memory_order_relaxed); }
  [[nodiscard]] std::int64_t count(std::size_t upstream) const {
    return slots_[upstream].count.load(std::memory_order_relaxed);
  }
  [[nodiscard]] std::size_t size() const { return slots_.size(); }

 private:
  struct alignas(64) Slot {
    std::atomic<std::int64_t> count{0};
  };
  Slots<Slot> slots_;
};

}  // namespace dao::sense

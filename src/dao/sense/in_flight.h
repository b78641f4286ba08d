// Requests under way per upstream, over all workers: the only words of the request path that workers share. One cache
// line each. Any thread.
//
// Counting is relaxed: nothing else is published through it. Where an upstream has a limit (`max_in_flight`), who finds
// no room says so in the word beside the count and looks again, and who frees a slot counts down and looks at that
// word: these four steps are sequentially consistent, so that at least one of the two sees the other.
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

  // enter(), unless there are `most` already.
  [[nodiscard]] bool try_enter(std::size_t upstream, std::uint32_t most) {
    std::atomic<std::int64_t>& count = slots_[upstream].count;
    std::int64_t now = count.load(std::memory_order_seq_cst);
    while (now < std::int64_t{most}) {
      if (count.compare_exchange_weak(now, now + 1, std::memory_order_seq_cst)) return true;
    }
    return false;
  }
  // leave(), where requests may wait for it.
  void free_slot(std::size_t upstream) { slots_[upstream].count.fetch_sub(1, std::memory_order_seq_cst); }

  // The workers where requests wait for room at that upstream, as bits; or did a moment ago.
  [[nodiscard]] std::uint64_t waiting(std::size_t upstream) const {
    return slots_[upstream].waiting.load(std::memory_order_seq_cst);
  }
  // True if that is news: whoever says it must look for room once more.
  bool announce(std::size_t upstream, std::uint64_t worker) {
    if ((waiting(upstream) & worker) != 0) return false;
    slots_[upstream].waiting.fetch_or(worker, std::memory_order_seq_cst);
    return true;
  }
  // False: it was not there, or somebody else has taken it.
  bool withdraw(std::size_t upstream, std::uint64_t worker) {
    return (slots_[upstream].waiting.fetch_and(~worker, std::memory_order_seq_cst) & worker) != 0;
  }

 private:
  struct alignas(64) Slot {
    std::atomic<std::int64_t> count{0};
    std::atomic<std::uint64_t> waiting{0};
  };
  Slots<Slot> slots_;
};

}  // namespace dao::sense

// One worker's way into the access log: a ring of bytes with one producer (the worker) and one consumer (the writer).
// Positions count bytes since the start and never wrap; a line lies in one piece, so the end of the ring may stay
// unused for a lap.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "dao/base/counter.h"
#include "dao/telemetry/access_log_format.h"

namespace dao::telemetry {

// Wakes the writer. Between arm() and the first ring the writer may sleep; later rings cost one load.
class AccessLogBell {
 public:
  // Producer: may miss an arm() of the same moment, which costs the writer's timeout at most or the time to the next
  // ring.
  void ring();
  // Anybody: misses nothing.
  void ring_always();
  // Writer: to be followed by a look at the lanes, then wait().
  void arm() { rung_.exchange(0, std::memory_order_acq_rel); }
  // Writer: returns when rung since arm(), or after the timeout.
  void wait(std::chrono::milliseconds timeout);

 private:
  std::atomic<std::uint32_t> rung_{0};
};

class AccessLogLane {
 public:
  AccessLogLane(AccessLogFormat format, std::size_t buffer_bytes, AccessLogBell& bell);

  // Producer: appends the record's line, or drops it and returns false if the ring has no room for the longest line the
  // record could make.
  bool write(const RequestRecord& record);

  // Consumer: the next bytes in one piece; empty if there are none.
  [[nodiscard]] std::span<const char> readable();
  // Consumer: `bytes` from the front of readable() are done with.
  void consume(std::size_t bytes);

  // Any thread.
  [[nodiscard]] std::uint64_t dropped() const { return dropped_.value(); }
  [[nodiscard]] std::uint64_t produced() const { return head_.load(std::memory_order_acquire); }
  [[nodiscard]] std::uint64_t consumed() const { return tail_.load(std::memory_order_acquire); }

 private:
  const std::size_t size_;  // a power of two
  const std::unique_ptr<char[]> bytes_;
  AccessLogBell& bell_;

  // The producer's line.
  alignas(64) std::atomic<std::uint64_t> head_{0};
  std::atomic<std::size_t> lap_end_{0};  // where the lap that ended last stopped being used
  std::uint64_t seen_tail_ = 0;
  Counter dropped_;
  AccessLogFormatter formatter_;

  // The consumer's.
  alignas(64) std::atomic<std::uint64_t> tail_{0};
};

}  // namespace dao::telemetry

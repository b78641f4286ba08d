// Timers with coarse ticks: a hierarchical wheel (Varghese and Lauck, 1987) of 6 levels of 64 slots, one tick = 1 ms.
// schedule and cancel are O(1) and make no system call; expiry is O(expired + cascades). One thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "dao/base/clock.h"

namespace dao::rt {

// An intrusive timer; the owner keeps it alive while it is scheduled and cancels it before it dies.
struct Timer {
  Timer* next = nullptr;
  Timer* prev = nullptr;
  std::uint64_t tick = 0;  // when it fires, in ticks since the wheel began
  void (*fire)(Timer& self) = nullptr;

  [[nodiscard]] bool scheduled() const { return next != nullptr; }
};

class TimerWheel {
 public:
  static constexpr Nanoseconds kTick = std::chrono::milliseconds(1);

  explicit TimerWheel(Instant start);
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  // Fires at the first tick at or after `when`, never early. Re-schedules a timer that is already scheduled.
  void schedule(Timer& timer, Instant when);
  void cancel(Timer& timer);

  // Fires everything due at `now`. A fired timer is unscheduled before its function runs, and may schedule itself anew.
  void advance(Instant now);

  // A time at or before the next expiry (exact within the lowest level), kNever when no timer is scheduled.
  [[nodiscard]] Instant next_expiry() const;
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  static constexpr unsigned kLevels = 6;
  static constexpr unsigned kBits = 6;
  static constexpr unsigned kSlots = 1U << kBits;
  static constexpr std::uint64_t kMaxTicks = (1ULL << (kBits * kLevels)) - 1;

  void place(Timer& timer);
  void unlink(Timer& timer);
  void cascade(unsigned level);
  [[nodiscard]] static std::size_t index_of(std::uint64_t tick, unsigned level) {
    return (tick >> (kBits * level)) & (kSlots - 1);
  }

  struct Level {
    std::uint64_t occupied = 0;
    std::array<Timer, kSlots> slots;  // list heads
  };
  Instant start_;
  std::uint64_t current_ = 0;  // the last tick that was processed
  std::size_t size_ = 0;
  std::array<Level, kLevels> levels_;
};

}  // namespace dao::rt

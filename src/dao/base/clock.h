// Time as an interface, so that everything that learns or waits runs in virtual time in tests and simulations.
#pragma once

#include <chrono>

namespace dao {

using Nanoseconds = std::chrono::nanoseconds;
using Milliseconds = std::chrono::milliseconds;

// Monotonic time since an arbitrary start; the only time used for durations and deadlines.
using Instant = std::chrono::time_point<std::chrono::steady_clock, Nanoseconds>;
// Calendar time, for logs, certificates and the hour of the week; never for durations.
using WallTime = std::chrono::time_point<std::chrono::system_clock, Nanoseconds>;

inline constexpr Instant kNever = Instant::max();

class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual Instant now() const = 0;
  [[nodiscard]] virtual WallTime wall_now() const = 0;
};

// The machine's clocks. Stateless, any thread.
class SystemClock final : public Clock {
 public:
  [[nodiscard]] Instant now() const override { return std::chrono::steady_clock::now(); }
  [[nodiscard]] WallTime wall_now() const override { return std::chrono::system_clock::now(); }
};

// A clock that moves only when told to. One thread.
class ManualClock final : public Clock {
 public:
  [[nodiscard]] Instant now() const override { return now_; }
  [[nodiscard]] WallTime wall_now() const override { return wall_; }
  void advance(Nanoseconds by) {
    now_ += by;
    wall_ += by;
  }
  void set_wall(WallTime to) { wall_ = to; }

 private:
  Instant now_{};
  WallTime wall_{};
};

}  // namespace dao

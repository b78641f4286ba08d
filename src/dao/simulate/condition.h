// What the faults of a scenario do to one backend, and until when. Its random numbers are its own, so that every policy
// meets the same episodes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "dao/base/random.h"
#include "dao/simulate/event_queue.h"
#include "dao/simulate/scenario.h"

namespace dao::simulate {

class Condition {
 public:
  // The scenario outlives it.
  Condition(const Scenario& scenario, std::size_t backend, std::uint64_t seed);

  // When something begins or ends next; kEndOfTime: never.
  [[nodiscard]] Time next_change() const { return next_change_; }
  // Applies what changes at `now`, which is next_change().
  void change(Time now);

  [[nodiscard]] double slowness(Time now) const;  // 1: as it should be
  [[nodiscard]] bool refuses() const { return refuses_; }
  [[nodiscard]] bool hangs() const { return hangs_; }
  // The fault that makes it answer some requests with 500 at once; null: none.
  [[nodiscard]] const Fault* failing() const { return failing_; }

 private:
  struct Track {
    const Fault* fault = nullptr;
    bool on = false;
    Time began = 0;
    Time changes = 0;
    Random random;
  };
  Time length(Track& track, Nanoseconds mean) const;
  void advance(Track& track, Time now);

  std::vector<Track> tracks_;
  Time next_change_ = kEndOfTime;
  bool slowed_ = false;
  bool refuses_ = false;
  bool hangs_ = false;
  const Fault* failing_ = nullptr;
};

}  // namespace dao::simulate

// When an upstream that answers nothing is taken for silent: of several requests none is answered, though by the usual
// times a dozen would have been. Slowness alone is never taken for silence: any answer, to whichever request, ends it.
// Whether others answer meanwhile is for the caller to see.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "dao/base/clock.h"
#include "dao/sense/signals.h"

namespace dao::sense {

inline constexpr Nanoseconds kSoonestLook = std::chrono::milliseconds(5);

// How long after a request was sent it is worth a look whether its upstream is silent; 0: it is not known.
inline Nanoseconds first_look(const UpstreamSignals& signals) {
  constexpr double kUsualTimes = 4;
  const double usual = signals.ended_mean_seconds();
  if (usual <= 0) return Nanoseconds::zero();
  const std::chrono::duration<double> patience(kUsualTimes * usual);
  return std::max(kSoonestLook, std::chrono::duration_cast<Nanoseconds>(patience));
}

// How long after a look the next one is due. Less and less often: a request that takes long by its nature is not worth
// many looks. `waited`: since it was sent.
inline Nanoseconds next_look(Nanoseconds waited) {
  return std::max(kSoonestLook, waited / 4);
}

inline bool is_silent(const UpstreamSignals& signals, Instant now) {
  // e^-12: once in 160 000 looks by chance, if times are exponential.
  constexpr double kMissed = 12;
  constexpr std::int64_t kWaiting = 4;
  // Of one that is known to be silent, the next request says enough.
  constexpr double kMissedAgain = 4;
  const double missed = signals.answers_missed(now);
  return signals.silent() ? missed >= kMissedAgain : signals.waiting() >= kWaiting && missed >= kMissed;
}

}  // namespace dao::sense

#include "dao/server/silence_watch.h"

#include <algorithm>

namespace dao::server {

namespace {

// e^-12: once in 160 000 looks by chance, if times are exponential.
constexpr double kMissed = 12;
constexpr std::int64_t kWaiting = 4;
// Of one that is known to be silent, the next request says enough.
constexpr double kMissedAgain = 4;
constexpr double kFirstLook = 4;  // usual times after it was sent
constexpr Nanoseconds kSoonest = std::chrono::milliseconds(5);

}  // namespace

SilenceWatch::SilenceWatch(WorkerState& worker, const http::Exchange& exchange, const Route& route,
                           std::uint32_t upstream, rt::Cancel& attempt)
    : worker_(worker), exchange_(exchange), route_(route), upstream_(upstream), attempt_(attempt) {
  fire = [](rt::Timer& self) { static_cast<SilenceWatch&>(self).look(); };
}

SilenceWatch::~SilenceWatch() {
  worker_.loop.timers().cancel(*this);
}

void SilenceWatch::watch() {
  const double usual = worker_.signals[upstream_].ended_mean_seconds();
  if (usual <= 0) return;
  began_ = worker_.loop.now();
  const auto patience = std::chrono::duration_cast<Nanoseconds>(std::chrono::duration<double>(kFirstLook * usual));
  worker_.loop.timers().schedule(*this, began_ + std::max(kSoonest, patience));
}

bool SilenceWatch::others_answer() const {
  const Instant silent_since = worker_.signals[upstream_].last_ended();
  return std::ranges::any_of(route_.candidates, [&](const align::Candidate& candidate) {
    return candidate.upstream != upstream_ && worker_.signals[candidate.upstream].last_ended() > silent_since;
  });
}

void SilenceWatch::look() {
  if (exchange_.head_sent()) return;
  const Instant now = worker_.loop.now();
  sense::UpstreamSignals& signals = worker_.signals[upstream_];
  const double missed = signals.answers_missed(now);
  const bool silent = signals.silent() ? missed >= kMissedAgain : signals.waiting() >= kWaiting && missed >= kMissed;
  if (silent && others_answer()) {
    signals.found_silent();
    attempt_.request(ErrorKind::silent);
    return;
  }
  // Less and less often: a request that takes long by its nature is not worth many looks.
  worker_.loop.timers().schedule(*this, now + std::max(kSoonest, (now - began_) / 4));
}

}  // namespace dao::server

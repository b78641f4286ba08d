#include "dao/server/silence_watch.h"

#include <algorithm>

#include "dao/sense/silence.h"

namespace dao::server {

SilenceWatch::SilenceWatch(WorkerState& worker, const http::Exchange& exchange, const Route& route,
                           std::uint32_t upstream, rt::Cancel& attempt)
    : worker_(worker), exchange_(exchange), route_(route), upstream_(upstream), attempt_(attempt) {
  fire = [](rt::Timer& self) { static_cast<SilenceWatch&>(self).look(); };
}

SilenceWatch::~SilenceWatch() {
  worker_.loop.timers().cancel(*this);
}

void SilenceWatch::watch() {
  const Nanoseconds patience = sense::first_look(worker_.signals[upstream_]);
  if (patience == Nanoseconds::zero()) return;
  began_ = worker_.loop.now();
  worker_.loop.timers().schedule(*this, began_ + patience);
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
  if (sense::is_silent(signals, now) && others_answer()) {
    signals.found_silent();
    attempt_.request(ErrorKind::silent);
    return;
  }
  worker_.loop.timers().schedule(*this, now + sense::next_look(now - began_));
}

}  // namespace dao::server

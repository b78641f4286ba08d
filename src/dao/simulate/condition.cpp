#include "dao/simulate/condition.h"

#include <algorithm>
#include <cmath>

namespace dao::simulate {

namespace {

bool in_episodes(const Fault& fault) {
  return fault.on + fault.off > Nanoseconds::zero();
}

}  // namespace

Condition::Condition(const Scenario& scenario, std::size_t backend, std::uint64_t seed) {
  for (std::size_t i = 0; i < scenario.faults.size(); ++i) {
    const Fault& fault = scenario.faults[i];
    if (std::ranges::find(fault.backends, backend) == fault.backends.end()) continue;
    Track track{.fault = &fault, .random = Random(seed + i * 1'000'003 + backend)};
    track.changes = to_time(fault.from);
    // Random episodes have been going on: whether this one is on is up to chance.
    const double share =
        in_episodes(fault) ? static_cast<double>(fault.on.count()) / static_cast<double>((fault.on + fault.off).count())
                           : 1;
    if (fault.random && track.random.unit() >= share) track.changes += length(track, fault.off);
    tracks_.push_back(track);
    next_change_ = std::min(next_change_, track.changes);
  }
}

Time Condition::length(Track& track, Nanoseconds mean) const {
  if (!track.fault->random) return to_time(mean);
  return static_cast<Time>(-std::log(1 - track.random.unit()) * static_cast<double>(mean.count())) + 1;
}

void Condition::advance(Track& track, Time now) {
  const Fault& fault = *track.fault;
  const Time end = fault.to ? to_time(*fault.to) : kEndOfTime;
  if (now >= end) {
    track.on = false;
    track.changes = kEndOfTime;
    return;
  }
  track.on = !track.on;
  if (track.on) track.began = now;
  if (!in_episodes(fault)) {
    track.changes = end;
  } else {
    track.changes = std::min(end, now + length(track, track.on ? fault.on : fault.off));
  }
}

void Condition::change(Time now) {
  next_change_ = kEndOfTime;
  slowed_ = refuses_ = hangs_ = false;
  failing_ = nullptr;
  for (Track& track : tracks_) {
    if (track.changes == now) advance(track, now);
    next_change_ = std::min(next_change_, track.changes);
    if (!track.on) continue;
    switch (track.fault->effect) {
      case Effect::slow:
      case Effect::cold:
        slowed_ = true;
        break;
      case Effect::fail:
        failing_ = track.fault;
        break;
      case Effect::refuse:
        refuses_ = true;
        break;
      case Effect::hang:
        hangs_ = true;
        break;
    }
  }
}

double Condition::slowness(Time now) const {
  if (!slowed_) return 1;
  double slowness = 1;
  for (const Track& track : tracks_) {
    if (!track.on) continue;
    if (track.fault->effect == Effect::slow) slowness *= track.fault->factor;
    if (track.fault->effect == Effect::cold) {
      const double left = static_cast<double>(track.changes - now) / static_cast<double>(track.changes - track.began);
      slowness *= 1 + (track.fault->factor - 1) * left;
    }
  }
  return slowness;
}

}  // namespace dao::simulate

// An upstream that comes back, or joins while DAO runs, gets its weight little by little. Each has a ramp of its own,
// from the moment it was let in: that others come or go changes nothing in it. Those that were there when DAO started
// have no ramp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "dao/align/policy.h"
#include "dao/base/clock.h"
#include "dao/sense/view.h"

namespace dao::align {

inline constexpr double kFirstShare = 0.1;

// Of its weight, kFirstShare..1, in a straight line. `since`: UpstreamView::admitted_since.
constexpr double share_since(Instant since, Instant now, Nanoseconds slow_start) {
  if (since == Instant{} || now - since >= slow_start) return 1;
  const double part =
      static_cast<double>(std::max(now - since, Nanoseconds::zero()).count()) / static_cast<double>(slow_start.count());
  return kFirstShare + (1 - kFirstShare) * part;
}

// For one route of one worker: looks at the upstreams once for each View, so that requests pay nothing while nobody is
// on a ramp.
class SlowStart {
 public:
  SlowStart() = default;
  explicit SlowStart(Nanoseconds over) : over_(over) {}

  // Choosing::slow_start.
  Nanoseconds at(Instant now, const sense::View& view, std::span<const Candidate> candidates) {
    if (view.number != seen_) look(view, candidates);
    return now < until_ ? over_ : Nanoseconds::zero();
  }

 private:
  void look(const sense::View& view, std::span<const Candidate> candidates) {
    seen_ = view.number;
    Instant last{};
    for (const Candidate& candidate : candidates) {
      if (candidate.upstream < view.upstreams.size()) {
        last = std::max(last, view.upstreams[candidate.upstream].admitted_since);
      }
    }
    until_ = last == Instant{} ? Instant{} : last + over_;
  }

  Nanoseconds over_{};
  std::uint64_t seen_ = 0;
  Instant until_{};
};

}  // namespace dao::align

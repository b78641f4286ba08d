// What the tests of policies choose from.
#pragma once

#include <cstddef>
#include <map>
#include <vector>

#include "dao/align/policy.h"

namespace dao::align {

// Everything a choice is made from, with upstreams of which nothing is known.
struct World {
  explicit World(std::size_t upstreams = 8) : in_flight(upstreams), admission(upstreams), signals(upstreams) {}

  sense::InFlight in_flight;
  sense::Admission admission;
  std::vector<sense::UpstreamSignals> signals;
  sense::View view;
  Instant now{std::chrono::seconds(1000)};
  Random random{1};

  Choosing choosing(const std::vector<Candidate>& candidates) {
    return {.candidates = candidates,
            .in_flight = in_flight,
            .admission = admission,
            .signals = signals,
            .view = view,
            .now = now,
            .random = random};
  }
};

inline std::map<std::size_t, int> choices(Policy& policy, const std::vector<Candidate>& candidates, int count) {
  World world;
  std::map<std::size_t, int> chosen;
  for (int i = 0; i < count; ++i) {
    const auto choice = policy.choose(world.choosing(candidates));
    if (choice) ++chosen[*choice];
  }
  return chosen;
}

}  // namespace dao::align

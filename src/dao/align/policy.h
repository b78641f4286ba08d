// Choosing the upstream for a request. One file each policy; make_policy is the registry. A policy belongs to one route
// of one worker: its state needs no lock. O(candidates) at most, no allocation.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "dao/base/random.h"
#include "dao/config/config.h"
#include "dao/sense/in_flight.h"

namespace dao::align {

struct Candidate {
  std::uint32_t upstream = 0;  // number in the configuration, and in InFlight
  std::uint32_t weight = 1;
  bool usable = true;  // false: not to be chosen for this request (already tried, no address)
};

class Policy {
 public:
  virtual ~Policy() = default;
  // Index into `candidates`, nullopt when none is usable. The list is the route's, in the same order every time.
  virtual std::optional<std::size_t> choose(std::span<const Candidate> candidates, const sense::InFlight& in_flight,
                                            Random& random) = 0;
};

std::unique_ptr<Policy> make_policy(config::Policy kind);

// The policies, each in its own file.
std::unique_ptr<Policy> make_round_robin();
std::unique_ptr<Policy> make_random();
std::unique_ptr<Policy> make_least_connections();

}  // namespace dao::align

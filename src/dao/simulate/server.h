// A simulated backend: slots that serve at once, a line before them, and what befalls it.
#pragma once

#include <cstdint>
#include <vector>

#include "dao/simulate/condition.h"
#include "dao/simulate/due_line.h"
#include "dao/simulate/scenario.h"

namespace dao::simulate {

// One attempt as a backend sees it: the request's place and the serial of the attempt.
struct Visitor {
  std::uint64_t serial = 0;
  std::uint32_t request = 0;
};

struct Slot {
  Visitor visitor;
  std::uint64_t use = 0;  // counts who had it; 0 in an event means nobody
  bool busy = false;
  bool held = false;  // would have been served, but the backend hangs
};

struct Server {
  Server(const Scenario& scenario, std::size_t index, std::uint64_t seed)
      : backend(&scenario.backends[index]),
        condition(scenario, index, seed),
        random(seed ^ (index + 1) * 0x9e3779b97f4a7c15U),
        slots(backend->slots) {
    for (std::uint32_t i = backend->slots; i > 0; --i) free_slots.push_back(i - 1);
  }

  const Backend* backend;
  Condition condition;
  Random random;  // which requests fail at once
  std::vector<Slot> slots;
  std::vector<std::uint32_t> free_slots;
  Line<Visitor> waiting;
};

}  // namespace dao::simulate

// A worker's part of a gradual transition to another configuration (docs/metamorphic.md): for as long as it lasts, some
// requests begin with the new configuration and the others with the old one. One thread, the worker's.
#pragma once

#include <cstdint>
#include <memory>

#include "dao/config/config.h"
#include "dao/http/exchange.h"
#include "dao/liminal/side_of.h"
#include "dao/liminal/side_sample.h"
#include "dao/liminal/transition.h"
#include "dao/sense/sample_ring.h"
#include "dao/server/worker_generation.h"

namespace dao::server {

struct NewSide {
  std::uint64_t number = 0;  // of the transition; from 1, never used again
  std::unique_ptr<WorkerGeneration> generation;
  liminal::TransitionView view;
  std::shared_ptr<sense::SampleRing> ring;  // where this worker tells how requests of both sides end
};

// On which side a request began.
struct SideTaken {
  std::uint64_t transition = 0;  // NewSide::number; 0: there was no transition
  liminal::Side side = liminal::Side::old_config;
  std::uint16_t cell = 0;  // liminal::cell_of() its client's point
};

// `exchange` has a usable request.
[[nodiscard]] SideTaken side_for(const NewSide& new_side, http::Exchange& exchange);

}  // namespace dao::server

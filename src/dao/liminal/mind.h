// The mind: what DAO makes of its traffic. It folds the workers' shards, runs the liminal systems, and gives out an
// immutable View. It owns no request, no thread and no socket: whoever has it steps it, in real or virtual time
// (server/mind_thread.h; tests; simulations).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "dao/base/clock.h"
#include "dao/config/config.h"
#include "dao/sense/admission.h"
#include "dao/sense/fold.h"
#include "dao/sense/in_flight.h"
#include "dao/sense/shard.h"
#include "dao/sense/view.h"

namespace dao::liminal {

// How often it is stepped.
inline constexpr Nanoseconds kStepInterval = std::chrono::milliseconds(100);

class Mind {
 public:
  // All outlive it.
  struct Senses {
    std::vector<const sense::Shard*> shards;
    const sense::InFlight& in_flight;
    sense::Admission& admission;
  };
  Mind(std::shared_ptr<const config::Config> config, Senses senses);

  // One thread, that of the owner. The View is for anybody.
  sense::ViewPtr step(Instant now);

 private:
  std::shared_ptr<const config::Config> config_;
  Senses senses_;
  sense::Fold fold_;
  std::uint64_t steps_ = 0;
};

}  // namespace dao::liminal

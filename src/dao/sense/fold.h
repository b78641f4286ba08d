// Folds the workers' shards into Views: what was counted since the last fold goes into windows of the last 60 seconds.
// One thread, any clock.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "dao/base/clock.h"
#include "dao/sense/shard.h"
#include "dao/sense/view.h"

namespace dao::sense {

class Fold {
 public:
  // The shards outlive it and are all made for so many routes and upstreams.
  Fold(std::vector<const Shard*> shards, std::size_t routes, std::size_t upstreams);

  // Reads all shards and fills `into`, but for what others decide (presence, level).
  void step(Instant now, View& into);

 private:
  std::vector<const Shard*> shards_;
  std::vector<std::uint64_t> attempts_before_;
  std::vector<std::uint64_t> requests_before_;
  Instant before_{};
  bool first_ = true;
};

}  // namespace dao::sense

// What the filters of all workers have in common: the counts of rate limits, and the secrets that were read from files.
// Made once, before the workers; any thread afterwards.
#pragma once

#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "dao/config/config.h"
#include "dao/flow/rate_limit.h"

namespace dao::flow {

struct Shared {
  // `seed`: secret. The text says why there is none: a file that cannot be read.
  static std::expected<std::shared_ptr<Shared>, std::string> make(const config::Config& config, std::uint64_t seed);

  std::vector<std::unique_ptr<RateLimiter>> rate_limiters;  // by the rules' numbers; null: no limit
  std::vector<std::string> sticky_secrets;                  // by the rules' numbers
};

}  // namespace dao::flow

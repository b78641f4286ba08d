// What the filters of all workers have in common: the counts of rate limits, and the secrets that were read from files.
// Made for each configuration; any thread.
#pragma once

#include <expected>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "dao/config/config.h"
#include "dao/flow/rate_limit.h"

namespace dao::flow {

struct Shared {
  // `seed`: secret. `before`: of the configuration that this one follows, or null: the limit of a rule that has the
  // same name and says the same of it goes on. The text says why there is none: a file that cannot be read.
  static std::expected<std::shared_ptr<Shared>, std::string> make(const config::Config& config, std::uint64_t seed,
                                                                  const Shared* before = nullptr);

  std::vector<std::shared_ptr<RateLimiter>> rate_limiters;  // by the rules' indexes; null: no limit
  std::vector<std::string> sticky_secrets;                  // by the rules' indexes

 private:
  std::unordered_map<std::string, std::shared_ptr<RateLimiter>> limiters_by_rule_;
};

}  // namespace dao::flow

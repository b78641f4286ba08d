#include "dao/flow/shared.h"

#include <utility>

#include "dao/flow/hash.h"
#include "dao/flow/sticky.h"

namespace dao::flow {

std::expected<std::shared_ptr<Shared>, std::string> Shared::make(const config::Config& config, std::uint64_t seed,
                                                                 const Shared* before) {
  auto shared = std::make_shared<Shared>();
  for (const config::Rule& rule : config.rules) {
    const config::RateLimit& limit = rule.filters.rate_limit;
    std::shared_ptr<RateLimiter> limiter;
    if (limit.on()) {
      if (before != nullptr) {
        const auto known = before->limiters_by_rule_.find(rule.name);
        const bool same =
            known != before->limiters_by_rule_.end() && known->second->is_for(limit, config.server.ipv6_client_prefix);
        if (same) limiter = known->second;
      }
      if (!limiter) {
        limiter = std::make_shared<RateLimiter>(limit, config.server.ipv6_client_prefix, hash(rule.name, seed));
      }
      shared->limiters_by_rule_.emplace(rule.name, limiter);
    }
    shared->rate_limiters.push_back(std::move(limiter));
    std::string secret;
    if (rule.sticky.on()) {
      auto read = sticky_secret(rule);
      if (!read) return std::unexpected(std::move(read.error()));
      secret = *std::move(read);
    }
    shared->sticky_secrets.push_back(std::move(secret));
  }
  return shared;
}

}  // namespace dao::flow

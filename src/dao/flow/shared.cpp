#include "dao/flow/shared.h"

#include "dao/flow/hash.h"
#include "dao/flow/sticky.h"

namespace dao::flow {

std::expected<std::shared_ptr<Shared>, std::string> Shared::make(const config::Config& config, std::uint64_t seed) {
  auto shared = std::make_shared<Shared>();
  for (const config::Rule& rule : config.rules) {
    const config::RateLimit& limit = rule.filters.rate_limit;
    shared->rate_limiters.push_back(
        limit.on() ? std::make_unique<RateLimiter>(limit, config.server.ipv6_client_prefix, hash(rule.name, seed))
                   : nullptr);
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

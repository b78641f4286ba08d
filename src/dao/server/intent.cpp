#include "dao/server/intent.h"

namespace dao::server {

std::uint64_t intent_of(const config::Config& config, std::uint32_t rule, const http::RequestHead& request,
                        bool from_trusted_proxy) {
  const std::uint64_t usual = config.rules[rule].intent;
  if (config.intent_header.empty() || !from_trusted_proxy) return usual;
  const http::Field* field = request.find(config.intent_header);
  if (field == nullptr) return usual;
  for (std::size_t i = 0; i < config.intents.size(); ++i) {
    if (http::equals_ignoring_case(field->value, config.intents[i])) return std::uint64_t{1} << i;
  }
  return usual;
}

}  // namespace dao::server

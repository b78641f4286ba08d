#include "dao/server/intent.h"

#include <bit>

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

std::string_view name_of_intent(const config::Config& config, std::uint64_t intent) {
  if (intent == 0) return {};
  return config.intents[static_cast<std::size_t>(std::countr_zero(intent))];
}

}  // namespace dao::server

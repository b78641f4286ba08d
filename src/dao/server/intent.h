// Which class of traffic a request belongs to.
#pragma once

#include <cstdint>

#include "dao/config/config.h"
#include "dao/http/head.h"

namespace dao::server {

// The bit of the class by its number in config.intents; 0: none. The rule's, unless a trusted proxy names another one
// in the header routes.intent_header; a name that the configuration does not know changes nothing.
[[nodiscard]] std::uint64_t intent_of(const config::Config& config, std::uint32_t rule,
                                      const http::RequestHead& request, bool from_trusted_proxy);

}  // namespace dao::server

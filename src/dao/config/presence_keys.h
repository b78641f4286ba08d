// The rows of the schema that are about presence.
#pragma once

#include "dao/config/schema.h"

namespace dao::config {

// [liminal.presence]
[[nodiscard]] Table presence_table();
// [routes.rule.upstreams.probe]
[[nodiscard]] Table probe_table();

}  // namespace dao::config

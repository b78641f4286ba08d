// allow and deny of [routes.rule.filters].
#pragma once

#include "dao/config/draft.h"
#include "dao/config/filter_check.h"
#include "dao/config/schema.h"

namespace dao::config {

[[nodiscard]] std::vector<Key> client_address_keys();

}  // namespace dao::config

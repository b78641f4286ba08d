// [routes.rule.sticky].
#pragma once

#include "dao/config/draft.h"
#include "dao/config/filter_check.h"
#include "dao/config/schema.h"

namespace dao::config {

[[nodiscard]] Table sticky_table();
void check_sticky(FilterCheck& check);

}  // namespace dao::config

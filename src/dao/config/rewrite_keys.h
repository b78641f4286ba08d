// [routes.rule.rewrite].
#pragma once

#include "dao/config/draft.h"
#include "dao/config/filter_check.h"
#include "dao/config/schema.h"

namespace dao::config {

[[nodiscard]] Table rewrite_table();
void check_rewrite(FilterCheck& check);
void complete_rewrite(Rule& rule);

}  // namespace dao::config

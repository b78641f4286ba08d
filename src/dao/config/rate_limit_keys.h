// [routes.rule.filters.rate_limit], and rate_limit_rps, its short form.
#pragma once

#include "dao/config/draft.h"
#include "dao/config/filter_check.h"
#include "dao/config/schema.h"

namespace dao::config {

[[nodiscard]] Table rate_limit_table();
[[nodiscard]] Key rate_limit_key();
void check_rate_limit(FilterCheck& check);
void complete_rate_limit(Rule& rule);

}  // namespace dao::config

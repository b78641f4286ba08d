// [[routes.rule.split]], and split_by of [[routes.rule]].
#pragma once

#include "dao/config/draft.h"
#include "dao/config/filter_check.h"
#include "dao/config/schema.h"

namespace dao::config {

[[nodiscard]] Table split_table();
[[nodiscard]] Key split_by_key();
void check_split(FilterCheck& check);
// The upstreams of the rule still have their names here.
void complete_split(RuleDraft& draft);

}  // namespace dao::config

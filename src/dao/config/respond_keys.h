// [routes.rule.respond].
#pragma once

#include "dao/config/draft.h"
#include "dao/config/filter_check.h"
#include "dao/config/schema.h"

namespace dao::config {

[[nodiscard]] Table respond_table();
void check_respond(FilterCheck& check);
void complete_respond(Rule& rule);

}  // namespace dao::config

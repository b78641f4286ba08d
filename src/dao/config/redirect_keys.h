// [routes.rule.redirect].
#pragma once

#include "dao/config/draft.h"
#include "dao/config/filter_check.h"
#include "dao/config/schema.h"

namespace dao::config {

[[nodiscard]] Table redirect_table();
void check_redirect(FilterCheck& check);

}  // namespace dao::config

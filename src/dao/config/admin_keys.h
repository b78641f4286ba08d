// The rows of the schema that are about the admin API.
#pragma once

#include "dao/config/schema.h"

namespace dao::config {

// [admin]
[[nodiscard]] Table admin_table();

}  // namespace dao::config

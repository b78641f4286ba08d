// The schema rows of [memory].
#pragma once

#include "dao/config/schema.h"

namespace dao::config {

[[nodiscard]] Table memory_table();

}  // namespace dao::config

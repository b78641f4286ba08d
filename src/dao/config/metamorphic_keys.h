// The rows of the schema that are about gradual transitions.
#pragma once

#include "dao/config/schema.h"

namespace dao::config {

// [liminal.metamorphic]
[[nodiscard]] Table metamorphic_table();

}  // namespace dao::config

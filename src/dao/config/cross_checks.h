// The checks that need more than one key, on a draft whose keys were all good or left out.
#pragma once

#include "dao/config/apply_schema.h"

namespace dao::config {

// Errors: equal names, an upstream with two URLs or zones, one upstream twice in a rule, two listeners in one place,
// TTL bounds that cross, policies that nobody knows or that weigh nothing, too many intents. Values that apply_schema
// refused are left out, so nothing is reported as a consequence of another error.
void check_consistency(const Applied& applied, Findings& findings);

}  // namespace dao::config

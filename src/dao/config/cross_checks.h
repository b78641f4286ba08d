// The checks that need more than one key, on a draft whose keys were all good or left out.
#pragma once

#include "dao/config/apply_schema.h"

namespace dao::config {

// Errors: equal names, an upstream with two URLs, one upstream twice in a rule, two listeners in one place, TTL bounds
// that cross, policies that nobody knows or that weigh nothing, too many intents. Values that apply_schema refused are
// left out, so nothing is reported as a consequence of another error.
void check_consistency(const Applied& applied, Findings& findings);

// Warnings: what is there for nothing. Policies that no rule uses; an intent header that nobody may send.
void check_use(const Applied& applied, Findings& findings);

// Warnings: rules that no request can reach, because an earlier rule takes everything they match. Stops after a bounded
// number of comparisons, which takes thousands of rules to reach.
void check_reachability(const Applied& applied, Findings& findings);

// Everything that `later` matches is matched by `earlier` too. May say no where a yes would take combining conditions.
[[nodiscard]] bool covers(const Match& earlier, const Match& later);

}  // namespace dao::config

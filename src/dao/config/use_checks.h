// Warnings: what is there for nothing.
#pragma once

#include "dao/config/apply_schema.h"

namespace dao::config {

// Policies that no rule uses; a hash key without the policy for it; a zone that no upstream is in; an intent header
// that nobody may send; intents of upstreams that no request has; the weight of an upstream that is the only one of its
// rule; a transition that is over before it shows anything. On a draft without errors.
void check_use(const Applied& applied, Findings& findings);

}  // namespace dao::config

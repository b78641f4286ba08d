// The rows of the schema that are about the filters of a rule, and the checks between them.
#pragma once

#include <vector>

#include "dao/config/apply_schema.h"
#include "dao/config/schema.h"

namespace dao::config {

// [routes.rule.filters], rewrite, redirect, respond, sticky, split: in the object of a RuleDraft.
[[nodiscard]] std::vector<Table> filter_tables();
// Those of [[routes.rule]] itself.
[[nodiscard]] std::vector<Key> filter_keys();

// Errors: filters that contradict each other, or lack what they need; rules without upstreams that need some.
void check_filters(const Applied& applied, Findings& findings);

// What follows from the keys of a rule whose checks passed. Its upstreams still have their names here.
void complete_filters(RuleDraft& rule);

}  // namespace dao::config

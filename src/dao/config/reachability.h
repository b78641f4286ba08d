// Which rules, and which hosts of rules, no request can reach, because earlier rules take everything that they match.
#pragma once

#include "dao/config/apply_schema.h"

namespace dao::config {

// Warnings, each of them true: whether a request reaches a rule depends on its host, path, headers and upgrade, and an
// earlier rule covers all of these. A rule is unreachable too if earlier ones cover its hosts between them; rules that
// cover one host only together (one "/a", another "/b") are not combined. Rules are found by host, path and a header,
// so that thousands take milliseconds; after a bounded amount of work, which only a config made for it needs, the rest
// is not looked at. On a draft without errors.
void check_reachability(const Applied& applied, Findings& findings);

// Everything that `later` matches is matched by `earlier` too. May say no where a yes would take combining conditions.
[[nodiscard]] bool covers(const Match& earlier, const Match& later);

}  // namespace dao::config

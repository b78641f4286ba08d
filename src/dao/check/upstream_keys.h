// Where upstreams are named in the text.
#pragma once

#include <string>
#include <vector>

#include "dao/config/config.h"

namespace dao::check {

// For each of Config::upstreams the key of the table that names it first: "routes.rule[0].upstreams[1]".
[[nodiscard]] std::vector<std::string> upstream_keys(const config::Config& config);

}  // namespace dao::check

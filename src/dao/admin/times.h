// How the admin API writes times.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "dao/base/clock.h"

namespace dao::admin {

// "2026-11-27T10:23:38.123Z"
[[nodiscard]] std::string iso_time(WallTime at);
// null for the epoch, which stands for "never".
[[nodiscard]] nlohmann::json time_or_null(WallTime at);

}  // namespace dao::admin

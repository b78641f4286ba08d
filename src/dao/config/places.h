// Where things stand, for the checks that look across several keys.
#pragma once

#include <string>
#include <string_view>

#include "dao/config/apply_schema.h"

namespace dao::config {

// {0, 0} for what is not in the file.
[[nodiscard]] Position place(const Places& places, std::string_view path);

// "line 12", or "line 12 of conf.d/api.toml" where there are several files.
[[nodiscard]] std::string line_of(const Applied& applied, std::string_view path);

// Of its table, [policies.NAME].
[[nodiscard]] std::string policy_path(const PolicyDraft& policy);

}  // namespace dao::config

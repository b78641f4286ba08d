// How every command ends: the answer on standard output, or why there is none on standard error.
#pragma once

#include <expected>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "client.h"

namespace dao {

// Says what is wrong; gives back `status`.
int tell(std::string_view problem, int status);
// Prints the answer, or says why there is none. The exit status.
int show(const std::expected<nlohmann::json, ApiFailure>& answer, bool as_json,
         const std::function<std::string(const nlohmann::json&)>& render);

}  // namespace dao

// Reading Cookie fields (RFC 6265 section 5.4), as leniently as servers do: pairs between semicolons, and what is no
// pair is passed over. Pure functions.
#pragma once

#include <optional>
#include <string_view>

#include "dao/http/head.h"

namespace dao::flow {

// The value of the first cookie of this name, without quotes around it. Names have a case.
std::optional<std::string_view> find_cookie(const http::RequestHead& request, std::string_view name);
// The same within the value of one field.
std::optional<std::string_view> find_cookie_in(std::string_view field, std::string_view name);

}  // namespace dao::flow

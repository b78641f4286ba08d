// Texts that become part of a URL.
#pragma once

#include <string_view>

#include "dao/http/head.h"

namespace dao::flow {

// `text` with what cannot stand in the path and query of a URL percent-encoded (RFC 3986): control characters, spaces,
// quotes, angle brackets, backslashes, '#', all beyond ASCII. Without copying, if there is nothing of the kind.
std::string_view url_safe(std::string_view text, http::Arena& arena);

}  // namespace dao::flow

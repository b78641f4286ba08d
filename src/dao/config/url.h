// The URL of an upstream. No name resolution.
#pragma once

#include <string_view>

#include "dao/config/config.h"
#include "dao/config/problem.h"

namespace dao::config {

// "http://host[:port][/base/path]", the same with https, with ws and wss (which say nothing else: a WebSocket begins
// with HTTP), with "h2c" (HTTP/2 without TLS), or "unix:/path"; see Url for what the result holds. Refused: other
// schemes, user information, query, fragment, dot segments and characters that RFC 3986 does not allow in a path.
[[nodiscard]] Parsed<Url> parse_url(std::string_view text);

}  // namespace dao::config

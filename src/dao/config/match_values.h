// The values of [routes.rule.match] and other short texts with a rule of their own.
#pragma once

#include <string_view>

#include "dao/config/config.h"
#include "dao/config/problem.h"

namespace dao::config {

// "example.org", "*.example.org", "192.0.2.1", "[::1]"; no port.
[[nodiscard]] Parsed<HostPattern> parse_host_pattern(std::string_view text);
// Starts with '/'; only characters that can occur in the path of a request target.
[[nodiscard]] Parsed<std::string> parse_path(std::string_view text);
[[nodiscard]] Parsed<HeaderMatch> parse_header_match(std::string_view name, std::string_view value);
// The name of a rule or upstream: 1..128 printable ASCII characters, no quotes, backslash or surrounding spaces, so
// that it needs no escaping in logs, metrics and response fields.
[[nodiscard]] Parsed<std::string> parse_name(std::string_view text);
[[nodiscard]] Parsed<std::string> parse_token(std::string_view text);
[[nodiscard]] Parsed<std::string> parse_file_path(std::string_view text);
// The name of a traffic class, in lower case: an HTTP token of at most 64 characters.
[[nodiscard]] Parsed<std::string> parse_intent(std::string_view text);
// "client", "header:NAME" or "cookie:NAME".
[[nodiscard]] Parsed<HashKey> parse_hash_key(std::string_view text);
// The name of a header in lower case, or empty.
[[nodiscard]] Parsed<std::string> parse_optional_header_name(std::string_view text);
// "", "-" or the path of a file.
[[nodiscard]] Parsed<std::string> parse_log_path(std::string_view text);

}  // namespace dao::config

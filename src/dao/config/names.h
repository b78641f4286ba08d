// Small predicates on names, shared by the parsers of values. ASCII only, no locale.
#pragma once

#include <string>
#include <string_view>

namespace dao::config {

[[nodiscard]] constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
[[nodiscard]] constexpr bool is_hex_digit(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}
[[nodiscard]] constexpr bool is_alnum(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
[[nodiscard]] std::string lower_case(std::string_view text);

[[nodiscard]] bool is_token(std::string_view text);  // RFC 9110 section 5.6.2
[[nodiscard]] bool is_ipv4(std::string_view text);   // four decimal numbers
[[nodiscard]] bool is_ipv6(std::string_view text);   // without brackets and zone
// A host name as DNS and container networks use them: labels of letters, digits, '-' and '_', at most 63 characters
// each and 253 together, the last one not a number (that would be a mistyped address).
[[nodiscard]] bool is_host_name(std::string_view text);

}  // namespace dao::config

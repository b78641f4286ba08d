// The field names that DAO itself acts on, recognised once by the parser so that nobody compares strings again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace dao::http {

enum class FieldId : std::uint8_t {
  other,
  accept,
  connection,
  content_length,
  content_type,
  date,
  expect,
  forwarded,
  host,
  http2_settings,
  keep_alive,
  max_forwards,
  proxy_connection,
  referer,
  te,
  traceparent,
  trailer,
  transfer_encoding,
  upgrade,
  user_agent,
  via,
  x_forwarded_for,
  x_forwarded_host,
  x_forwarded_proto,
};

// Case-insensitive. O(1).
FieldId identify_field(std::string_view name);
// In lower case; empty for `other`.
std::string_view name_of(FieldId id);

// Fields that belong to one connection (RFC 9110 section 7.6.1), whether or not Connection names them.
constexpr bool is_hop_by_hop(FieldId id) {
  switch (id) {
    case FieldId::connection:
    case FieldId::keep_alive:
    case FieldId::proxy_connection:
    case FieldId::te:
    case FieldId::transfer_encoding:
    case FieldId::upgrade:
    case FieldId::http2_settings:
      return true;
    default:
      return false;
  }
}

// ASCII only, as HTTP tokens are.
constexpr char to_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}
constexpr bool equals_ignoring_case(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (to_lower(a[i]) != to_lower(b[i])) return false;
  }
  return true;
}

}  // namespace dao::http

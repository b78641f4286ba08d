#include "dao/http/h2/priority.h"

#include "dao/http/h1/syntax.h"

namespace dao::http::h2 {

namespace {

// A member of the dictionary: the key and what stands behind it, parameters cut off (RFC 8941 section 3.2).
void read_member(std::string_view member, Priority& priority) {
  member = h1::trim(member.substr(0, member.find(';')));
  const std::size_t equals = member.find('=');
  const std::string_view key = member.substr(0, equals);
  const std::string_view value = equals == std::string_view::npos ? "?1" : member.substr(equals + 1);
  if (key == "u" && value.size() == 1 && value[0] >= '0' && value[0] < '0' + Priority::kLevels) {
    priority.urgency = static_cast<std::uint8_t>(value[0] - '0');
  } else if (key == "i" && (value == "?1" || value == "?0")) {
    priority.incremental = value == "?1";
  }
}

}  // namespace

Priority read_priority(std::string_view text, Priority fallback) {
  Priority priority = fallback;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    read_member(text.substr(0, comma), priority);
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  return priority;
}

}  // namespace dao::http::h2

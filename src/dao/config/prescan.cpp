#include "dao/config/prescan.h"

#include "dao/config/utf8.h"

namespace dao::config {

std::size_t end_of_string(std::string_view text, std::size_t at) {
  const char quote = text[at];
  const std::string_view triple = text.substr(at, 3);
  const bool multi_line = triple.size() == 3 && triple[1] == quote && triple[2] == quote;
  for (std::size_t i = at + (multi_line ? 3 : 1); i < text.size(); ++i) {
    if (text[i] == '\\' && quote == '"') {
      ++i;
    } else if (text[i] == quote && !multi_line) {
      return i + 1;
    } else if (multi_line && text.substr(i).starts_with(triple)) {
      i += 3;
      while (i < text.size() && text[i] == quote) ++i;  // up to two quotes may stand before the closing three
      return i;
    } else if (text[i] == '\n' && !multi_line) {
      return i;
    }
  }
  return text.size();
}

namespace {

bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

// Where a key should begin, and something else stands, in the header of a table whose first bracket is at `at`.
std::optional<std::size_t> find_missing_key(std::string_view text, std::size_t at) {
  ++at;
  if (at < text.size() && text[at] == '[') ++at;
  while (at < text.size() && is_blank(text[at])) ++at;
  if (at == text.size()) return std::nullopt;
  const char c = text[at];
  const bool key = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
                   c == '"' || c == '\'';
  const bool told_otherwise = c == ']' || static_cast<unsigned char>(c) >= 0x80;
  return key || told_otherwise ? std::nullopt : std::optional(at);
}

}  // namespace

std::optional<SyntaxError> prescan(std::string_view text, std::size_t max_depth) {
  const auto refuse = [&](std::size_t offset, const char* message) {
    return SyntaxError{position_at(text, offset), message};
  };
  if (const auto offset = find_invalid_utf8(text)) return refuse(*offset, "syntax: a byte that is not UTF-8");

  std::size_t brackets = 0;
  std::size_t parts = 1;
  bool begins_line = true;
  std::size_t i = text.starts_with("\xef\xbb\xbf") ? 3 : 0;  // a byte order mark
  while (i < text.size()) {
    switch (text[i]) {
      case '"':
      case '\'':
        i = end_of_string(text, i);
        begins_line = false;
        continue;
      case '#':
        while (i < text.size() && text[i] != '\n') ++i;
        continue;
      case '[':
        if (brackets == 0 && begins_line) {
          if (const auto key = find_missing_key(text, i))
            return refuse(*key, "syntax: a table header needs a key here");
        }
        [[fallthrough]];
      case '{':
        parts = 1;
        if (++brackets > max_depth) return refuse(i, "nested too deeply");
        break;
      case ']':
      case '}':
        parts = 1;
        if (brackets > 0) --brackets;
        break;
      case '.':
        if (++parts > max_depth) return refuse(i, "nested too deeply");
        break;
      case '=':
      case ',':
      case '\n':
        parts = 1;
        break;
      default:
        if (static_cast<unsigned char>(text[i]) >= 0x80) {
          return refuse(i, "syntax: a character outside ASCII needs a string around it");
        }
    }
    begins_line = text[i] == '\n' || (begins_line && is_blank(text[i]));
    ++i;
  }
  return std::nullopt;
}

}  // namespace dao::config

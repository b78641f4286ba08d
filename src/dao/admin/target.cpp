#include "dao/admin/target.h"

#include <algorithm>
#include <cstddef>

namespace dao::admin {

namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_control(char c) {
  constexpr unsigned char kDelete = 0x7f;
  const auto byte = static_cast<unsigned char>(c);
  return byte < ' ' || byte == kDelete;
}

std::optional<std::string> decoded(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = hex_value(text[i + 1]);
      const int low = hex_value(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    if (is_control(c)) return std::nullopt;
    result += c;
  }
  return result;
}

// Calls `each` with what stands between separators; false when that is.
template <class Each>
bool split(std::string_view text, char separator, const Each& each) {
  for (;;) {
    const std::size_t end = text.find(separator);
    if (!each(text.substr(0, end))) return false;
    if (end == std::string_view::npos) return true;
    text.remove_prefix(end + 1);
  }
}

}  // namespace

const std::string* Target::find(std::string_view name) const {
  const auto found = std::ranges::find(query, name, [](const auto& pair) { return std::string_view{pair.first}; });
  return found == query.end() ? nullptr : &found->second;
}

std::optional<Target> parse_target(std::string_view path) {
  Target target;
  if (!path.starts_with('/')) return std::nullopt;
  const std::size_t mark = path.find('?');
  const bool good_path =
      split(path.substr(1, mark == std::string_view::npos ? mark : mark - 1), '/', [&](std::string_view segment) {
        auto text = decoded(segment);
        if (text) target.path.push_back(*std::move(text));
        return text.has_value();
      });
  if (!good_path) return std::nullopt;
  if (mark == std::string_view::npos || mark + 1 == path.size()) return target;
  const bool good_query = split(path.substr(mark + 1), '&', [&](std::string_view pair) {
    const std::size_t equals = pair.find('=');
    auto name = decoded(pair.substr(0, equals));
    auto value = decoded(equals == std::string_view::npos ? std::string_view{} : pair.substr(equals + 1));
    if (!name || !value || name->empty() || target.find(*name) != nullptr) return false;
    target.query.emplace_back(*std::move(name), *std::move(value));
    return true;
  });
  if (!good_query) return std::nullopt;
  return target;
}

}  // namespace dao::admin

#include "dao/config/filter_rows.h"

#include <fmt/format.h>

namespace dao::config {

Parsed<std::pair<std::string, std::string>> parse_kind_and_name(std::string_view text,
                                                                std::span<const std::string_view> plain,
                                                                std::span<const std::string_view> named) {
  if (std::ranges::find(plain, text) != plain.end()) return std::pair{std::string(text), std::string()};
  for (const std::string_view kind : named) {
    if (!text.starts_with(kind) || !text.substr(kind.size()).starts_with(':')) continue;
    const std::string_view name = text.substr(kind.size() + 1);
    if (!is_token(name)) {
      return std::unexpected(
          Problem{fmt::format("{} is not the name of a {}", in_quotes(name), kind), "an HTTP token (RFC 9110)"});
    }
    return std::pair{std::string(kind), std::string(name)};
  }
  std::string list;
  for (const auto name : plain) list += fmt::format("{}\"{}\"", list.empty() ? "" : ", ", name);
  for (const auto name : named) list += fmt::format(", \"{}:NAME\"", name);
  return std::unexpected(Problem{in_quotes(text) + " is not a known value", "one of " + list});
}

}  // namespace dao::config

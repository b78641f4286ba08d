#include "dao/config/text_template.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "dao/config/names.h"
#include "dao/config/nearest.h"

namespace dao::config {
namespace {

constexpr VariableName kNames[] = {
    {"client_ip", Variable::client_ip},
    {"client_port", Variable::client_port},
    {"scheme", Variable::scheme},
    {"host", Variable::host},
    {"authority", Variable::authority},
    {"method", Variable::method},
    {"path", Variable::path},
    {"query", Variable::query},
    {"request_uri", Variable::request_uri},
    {"route", Variable::route},
    {"upstream", Variable::upstream},
    {"upstream_host", Variable::upstream_host},
    {"intent", Variable::intent},
    {"split", Variable::split},
    {"trace_id", Variable::trace_id},
    {"request_id", Variable::request_id},
    {"status", Variable::status},
};

constexpr std::string_view kForm = R"("$name" or "${name}"; "$$" is a dollar sign)";

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || c == '_' || is_digit(c);
}

Problem unknown(std::string_view name) {
  std::vector<std::string_view> names;
  for (const VariableName& known : kNames) names.push_back(known.name);
  Problem problem{fmt::format("there is no variable {}", in_quotes(fmt::format("${}", name))), {}, {}};
  if (const auto close = nearest(name, names)) problem.suggestion = fmt::format("${}", *close);
  std::string list;
  for (const auto known : names) list += fmt::format("{}${}", list.empty() ? "" : ", ", known);
  problem.expected = list + ", ${header:NAME} or ${cookie:NAME}";
  return problem;
}

Parsed<TextPiece> piece_of(std::string_view name, TemplateScope scope) {
  for (const auto& [prefix, variable] :
       {std::pair{std::string_view("header:"), Variable::header}, {std::string_view("cookie:"), Variable::cookie}}) {
    if (!name.starts_with(prefix)) continue;
    const std::string_view what = name.substr(prefix.size());
    if (!is_token(what)) {
      return std::unexpected(
          Problem{in_quotes(what) + " is not the name of a header or cookie", "an HTTP token (RFC 9110)"});
    }
    return TextPiece{variable, std::string(what)};
  }
  if (name.size() == 1 && is_digit(name.front())) {
    const int number = name.front() - '0';
    if (scope.captures < 0) {
      return std::unexpected(Problem{
          fmt::format("\"${}\" is a group of a regular expression, and there is none here", name), std::string(kForm)});
    }
    if (number > scope.captures) {
      return std::unexpected(Problem{
          fmt::format("the regular expression has {} groups, and \"${}\" is none of them", scope.captures, name),
          "\"$0\" for all that matched, \"$1\" for the first group"});
    }
    return TextPiece{Variable::capture, {}, static_cast<std::uint8_t>(number)};
  }
  const auto* found = std::ranges::find(kNames, name, &VariableName::name);
  if (found == std::end(kNames)) return std::unexpected(unknown(name));
  const bool of_upstream = found->variable == Variable::upstream || found->variable == Variable::upstream_host;
  if (of_upstream && !scope.upstream) {
    return std::unexpected(
        Problem{fmt::format("no upstream is chosen yet where \"${}\" stands", name), "another variable"});
  }
  if (found->variable == Variable::status && !scope.status) {
    return std::unexpected(Problem{"there is no status before there is a response", "another variable"});
  }
  return TextPiece{found->variable, {}};
}

}  // namespace

std::span<const VariableName> variable_names() {
  return kNames;
}

Parsed<TextTemplate> parse_template(std::string_view text, TemplateScope scope) {
  TextTemplate pieces;
  std::string literal;
  const auto end_literal = [&] {
    if (!literal.empty()) pieces.push_back({Variable::literal, literal});
    literal.clear();
  };
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] != '$') {
      literal += text[at++];
      continue;
    }
    if (at + 1 < text.size() && text[at + 1] == '$') {
      literal += '$';
      at += 2;
      continue;
    }
    std::string_view name;
    if (at + 1 < text.size() && text[at + 1] == '{') {
      const std::size_t end = text.find('}', at);
      if (end == std::string_view::npos) {
        return std::unexpected(Problem{"\"${\" without \"}\"", std::string(kForm)});
      }
      name = text.substr(at + 2, end - at - 2);
      at = end + 1;
    } else {
      std::size_t end = at + 1;
      if (end < text.size() && is_digit(text[end])) {
        ++end;  // "$10" is the first group and a zero
      } else {
        while (end < text.size() && is_name_character(text[end])) ++end;
      }
      name = text.substr(at + 1, end - at - 1);
      at = end;
    }
    if (name.empty())
      return std::unexpected(Problem{"a dollar sign without the name of a variable", std::string(kForm)});
    auto piece = piece_of(name, scope);
    if (!piece) return std::unexpected(std::move(piece.error()));
    end_literal();
    pieces.push_back(*std::move(piece));
  }
  end_literal();
  return pieces;
}

}  // namespace dao::config

#include "dao/flow/cookies.h"

#include "dao/http/h1/syntax.h"

namespace dao::flow {

std::optional<std::string_view> find_cookie_in(std::string_view field, std::string_view name) {
  while (!field.empty()) {
    const std::size_t end = field.find(';');
    const std::string_view pair = http::h1::trim(field.substr(0, end));
    field = end == std::string_view::npos ? std::string_view{} : field.substr(end + 1);
    const std::size_t equals = pair.find('=');
    if (equals == std::string_view::npos || http::h1::trim(pair.substr(0, equals)) != name) continue;
    std::string_view value = http::h1::trim(pair.substr(equals + 1));
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
    return value;
  }
  return std::nullopt;
}

std::optional<std::string_view> find_cookie(const http::RequestHead& request, std::string_view name) {
  for (const http::Field& field : request.fields) {
    if (field.dropped || !http::equals_ignoring_case(field.name, "cookie")) continue;
    if (const auto value = find_cookie_in(field.value, name)) return value;
  }
  return std::nullopt;
}

}  // namespace dao::flow

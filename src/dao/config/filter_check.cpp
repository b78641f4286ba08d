#include "dao/config/filter_check.h"

#include <fmt/format.h>

#include <utility>

namespace dao::config {

FilterCheck::FilterCheck(const Applied& applied, Findings& findings, std::size_t rule)
    : applied_(applied),
      findings_(findings),
      draft_(applied.draft.rules[rule]),
      path_(fmt::format("routes.rule[{}]", rule)) {}

bool FilterCheck::given(std::string_view key) const {
  return applied_.places.contains(at(key));
}

void FilterCheck::error(std::string_view key, std::string message, std::string expected) {
  findings_.error(place(at(key)), at(key), {.message = std::move(message), .expected = std::move(expected)});
}

void FilterCheck::warning(std::string_view key, std::string message, std::string expected) {
  findings_.warning(place(at(key)), at(key), {.message = std::move(message), .expected = std::move(expected)});
}

std::string FilterCheck::at(std::string_view key) const {
  return fmt::format("{}.{}", path_, key);
}

Position FilterCheck::place(const std::string& path) const {
  const auto found = applied_.places.find(path);
  if (found != applied_.places.end()) return found->second;
  const auto rule = applied_.places.find(path_);
  return rule == applied_.places.end() ? Position{} : rule->second;
}

}  // namespace dao::config

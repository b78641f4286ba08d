#include "dao/config/places.h"

#include <fmt/format.h>

#include "dao/config/problem.h"

namespace dao::config {

Position place(const Places& places, std::string_view path) {
  const auto found = places.find(path);
  return found == places.end() ? Position{} : found->second;
}

std::string line_of(const Applied& applied, std::string_view path) {
  const Position where = place(applied.places, path);
  if (applied.files.size() < 2) return fmt::format("line {}", where.line);
  return fmt::format("line {} of {}", where.line, applied.files[where.file]);
}

std::string policy_path(const PolicyDraft& policy) {
  const bool bare = policy.name.find('.') == std::string::npos;
  return bare ? "policies." + policy.name : "policies." + in_quotes(policy.name);
}

}  // namespace dao::config

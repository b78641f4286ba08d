// The target of an admin request, taken apart: the segments of its path and its query, percent-decoded. Pure, any
// thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dao::admin {

struct Target {
  std::vector<std::string> path;                           // "/v1/status" is {"v1", "status"}; "/" is {""}
  std::vector<std::pair<std::string, std::string>> query;  // in order, names all different

  // Null: not given.
  [[nodiscard]] const std::string* find(std::string_view name) const;
};

// `path`: origin form with its query. Nothing for what two readers could take differently: a broken percent-encoding,
// control characters, a name given twice. "+" is a plus: queries of the API are no forms.
[[nodiscard]] std::optional<Target> parse_target(std::string_view path);

}  // namespace dao::admin

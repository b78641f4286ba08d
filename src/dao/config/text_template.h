// Texts with variables: "$name" or "${name}", "$$" for a dollar sign.
#pragma once

#include <span>
#include <string_view>

#include "dao/config/filters.h"
#include "dao/config/problem.h"

namespace dao::config {

// What may stand in a text beside what is known of every request.
struct TemplateScope {
  bool upstream = false;  // it was chosen
  bool status = false;    // there is a response
  int captures = -1;      // the groups of a regular expression; -1 = there is none
};

[[nodiscard]] Parsed<TextTemplate> parse_template(std::string_view text, TemplateScope scope);

// Every variable with a name of its own, and what it stands for; docs/filters.md has them.
struct VariableName {
  std::string_view name;
  Variable variable;
};
[[nodiscard]] std::span<const VariableName> variable_names();

}  // namespace dao::config

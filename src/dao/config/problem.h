// What a parser of one value says when it refuses that value. Becomes a Diagnostic once its place in the file is known.
#pragma once

#include <expected>
#include <string>
#include <string_view>

namespace dao::config {

struct Problem {
  std::string message;
  std::string expected = {};
  std::string suggestion = {};
};

template <class T>
using Parsed = std::expected<T, Problem>;

// The text between double quotes, fit for a message: control characters escaped, long texts cut.
[[nodiscard]] std::string in_quotes(std::string_view text);

}  // namespace dao::config

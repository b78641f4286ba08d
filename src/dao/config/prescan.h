// A guard in front of the TOML parser: refuses, in one pass and without allocation, text that the library should not
// see.
//  - Bytes that are not UTF-8: the library would place the error only roughly.
//  - Deep nesting: it recurses into arrays and inline tables, and destroys its tree of tables recursively, which is as
//    deep as a dotted key is long.
//  - Characters outside ASCII that are neither in a string nor in a comment: never valid in TOML 1.0, and the library
//    says of them only that it expected something else.
//  - A header of a table, "[" or "[[", without a key behind it: toml++ 3.3 takes for granted that there is one
//    (parse_key), which ends a process with assertions, and is undefined behaviour without.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "dao/config/document.h"

namespace dao::config {

// The first such place. Knows TOML's comments and four kinds of string. `max_depth`: the most brackets open at once,
// and the most parts of one dotted key; on text that is not TOML the count is still an upper bound of what the parser
// would nest.
[[nodiscard]] std::optional<SyntaxError> prescan(std::string_view text, std::size_t max_depth);

// The offset behind the string whose first quote is at `at`. A string that does not end takes the rest of its line, or
// of the text when it is a multi-line one.
[[nodiscard]] std::size_t end_of_string(std::string_view text, std::size_t at);

}  // namespace dao::config

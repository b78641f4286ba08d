// What `include` of a configuration names: a file, or a pattern for the names of files (glob(7)).
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "dao/config/problem.h"

namespace dao::config {

struct Included {
  std::vector<std::string> files;  // in order of name; of a pattern regular files only, and no hidden ones
  std::string pattern;             // with the directory that it is relative to; empty if it is none
};

// The form of a value of `include`; nothing is looked up.
[[nodiscard]] Parsed<std::string> parse_include(std::string_view text);

// `text` is as parse_include() likes it, and relative to `base`. A pattern ("*", "?", "[...]") that matches nothing is
// no problem; a name without these is taken as it is, whether or not there is such a file.
[[nodiscard]] Parsed<Included> find_included(const std::filesystem::path& base, std::string_view text);

}  // namespace dao::config

// From texts to the one document that they make: parsing, finding what is included, merging.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "dao/config/apply_schema.h"
#include "dao/config/document.h"
#include "dao/config/sources.h"

namespace dao::config {

// Of `sources` the first file is there. Bundled: all others are there too. If not, they are read, relative to
// `directory`, and added, with their paths; without a directory nothing can be included. What is wrong goes into the
// findings, and then the result means nothing.
[[nodiscard]] Node read_documents(Sources& sources, const std::optional<std::filesystem::path>& directory, bool bundled,
                                  Findings& findings);

// By Position::file.
[[nodiscard]] std::vector<std::string> names_of(const Sources& sources);

// Nothing but white space.
[[nodiscard]] bool is_blank(std::string_view text);

}  // namespace dao::config

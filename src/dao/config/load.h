// From TOML text to a checked Config, or to everything that is wrong with it.
//
// Pure functions of their input (load_file also reads that one file, nothing else and no network); any thread. Every
// error that can be found is reported in one pass. Limits: kMaxFileBytes, kMaxDepth.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "dao/config/config.h"

namespace dao::config {

inline constexpr std::size_t kMaxFileBytes = 4U << 20U;  // a larger file is refused before it is parsed
inline constexpr std::size_t kMaxDepth = 32;             // nesting of arrays, inline tables and dotted keys

enum class Severity : std::uint8_t { error, warning };

struct Diagnostic {
  Severity severity = Severity::error;
  std::string file;
  std::uint32_t line = 0;    // from 1; 0 = the file as a whole
  std::uint32_t column = 0;  // from 1, in characters
  std::string key;           // "server.workers", "routes.rule[2].upstreams[0].url"; empty if none
  std::string message;       // what is wrong, one sentence without a full stop
  std::string expected;      // what would be right; may be empty
  std::string suggestion;    // the nearest known key or value; may be empty
  std::string source_line;   // the text of that line, for display; may be empty
};

using Diagnostics = std::vector<Diagnostic>;  // in order of position

struct Loaded {
  Config config;
  Diagnostics warnings;
};

// The error is never empty and holds warnings too, if there were any.
[[nodiscard]] std::expected<Loaded, Diagnostics> load_file(const std::filesystem::path& path);
// `name` stands for the file in diagnostics and in Config::source.
[[nodiscard]] std::expected<Loaded, Diagnostics> load_text(std::string_view text, std::string_view name);

// Fills in what only the text knows: `file` and `source_line`. The diagnostics are in order of position.
void add_source_lines(Diagnostics& diagnostics, std::string_view text, std::string_view file);

}  // namespace dao::config

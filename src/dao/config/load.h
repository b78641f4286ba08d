// From TOML text to a checked Config, or to everything that is wrong with it.
//
// Pure functions of their input (but for reading the file, and those it includes); any thread; no network. Every error
// that can be found is reported in one pass; what is wrong with included files, or with the syntax of any, comes alone.
// Limits: those of sources.h, kMaxDepth.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dao/config/config.h"
#include "dao/config/sources.h"

namespace dao::config {

inline constexpr std::size_t kMaxDepth = 32;  // nesting of arrays, inline tables and dotted keys

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
using LoadResult = std::expected<Loaded, Diagnostics>;

[[nodiscard]] LoadResult load_file(const std::filesystem::path& path);

// `name` stands for the file in diagnostics and in Config::source. `directory`: what `include` is relative to; without
// one there is nothing to include. Of a bundle (sources.h) each part is loaded under its own name, and no file is read.
[[nodiscard]] LoadResult load_text(std::string_view text, std::string_view name,
                                   const std::optional<std::filesystem::path>& directory = std::nullopt);

struct Node;  // document.h

// What a load has read, also when it failed: for snapshots, and for whoever watches the files.
struct LoadAttempt {
  LoadResult result;
  Sources sources;
  std::shared_ptr<const Node> document{};  // what the texts say, for a diff; null if it failed
};
[[nodiscard]] LoadAttempt attempt_file(const std::filesystem::path& path);
[[nodiscard]] LoadAttempt attempt_text(std::string_view text, std::string_view name,
                                       const std::optional<std::filesystem::path>& directory = std::nullopt);

// Fills in what only the text knows: `file` and `source_line`. The diagnostics are in order of position.
void add_source_lines(Diagnostics& diagnostics, std::string_view text, std::string_view file);
// The same for diagnostics of several files, which have their `file` already.
void add_source_lines(Diagnostics& diagnostics, const Sources& sources);

}  // namespace dao::config

// The texts that a configuration is made of: a file and the files it includes; and all of them as one text, which a
// snapshot keeps. Reads files, and no network; any thread.
#pragma once

#include <cstddef>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dao/config/problem.h"

namespace dao::config {

// Three times what 10,000 routes with 50,000 upstreams need: enough for any configuration that people or their tools
// make, and little enough that a device or a disk image given by mistake is refused before it fills the memory.
inline constexpr std::size_t kMaxFileBytes = std::size_t{32} << 20U;
inline constexpr std::size_t kMaxTotalBytes = std::size_t{64} << 20U;  // of a file with all it includes
inline constexpr std::size_t kMaxFiles = 20'000;                       // the including one among them

struct SourceFile {
  std::string name;  // its path, as it was reached: "/etc/dao/conf.d/api.toml"
  std::string text;
};

struct Sources {
  std::vector<SourceFile>
      files;  // the including file first, then the included ones in their order; names all different
  // For whoever wants to know when the configuration changes: all files that were looked for, found or not, and the
  // patterns (glob(7), with the directory that they are relative to) of those that are included.
  std::vector<std::string> paths;
  std::vector<std::string> patterns;
};

// The whole of a file; at most kMaxFileBytes + 1 bytes of it. The error is why not, without the name.
[[nodiscard]] std::expected<std::string, std::string> read_text_file(const std::string& path);

// One text that holds all files, with a line "#:dao-file NAME" before each; a single file is its own text, unchanged.
// unbundle() gives exactly the files back.
[[nodiscard]] std::string bundle(const Sources& sources);
// nullopt: the text is not such a bundle, but one file. The problem: it begins as one and is none.
[[nodiscard]] Parsed<std::optional<Sources>> unbundle(std::string_view text);

}  // namespace dao::config

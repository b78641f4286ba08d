#include "dao/config/include.h"

#include <fmt/format.h>
#include <glob.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <iterator>
#include <utility>

namespace dao::config {
namespace {

constexpr std::string_view kWild = "*?[";

bool is_pattern(std::string_view text) {
  return text.find_first_of(kWild) != std::string_view::npos;
}

// What a pattern has to say for these very characters.
std::string escaped(std::string_view literal) {
  std::string out;
  for (const char c : literal) {
    if (c == '\\' || kWild.find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

bool is_regular(const std::string& path) {
  struct stat status{};
  return stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

// The first directory that glob() could not look into. It has no argument of the caller's.
thread_local std::string unreadable;

int note_unreadable(const char* path, int error) {
  if (error == ENOENT || error == ENOTDIR) return 0;
  unreadable = fmt::format("cannot look into the directory {}: {}", path, std::strerror(error));
  return 1;
}

Parsed<std::vector<std::string>> matches(const std::string& pattern) {
  unreadable.clear();
  glob_t found{};
  const int status = glob(pattern.c_str(), GLOB_NOSORT, note_unreadable, &found);
  std::vector<std::string> names;
  if (status == 0) names.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  globfree(&found);
  if (status == GLOB_ABORTED)
    return std::unexpected(Problem{.message = unreadable, .expected = "a readable directory"});
  if (status == GLOB_NOSPACE) return std::unexpected(Problem{.message = "not enough memory for the pattern"});
  std::ranges::sort(names);
  return names;
}

}  // namespace

Parsed<std::string> parse_include(std::string_view text) {
  constexpr std::size_t kPathMax = 4095;
  if (text.empty() || text.size() > kPathMax || text.ends_with('/') ||
      std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; })) {
    return std::unexpected(
        Problem{in_quotes(text) + " cannot be the path of a file", R"(a path such as "conf.d/*.toml")"});
  }
  if (text.find("**") != std::string_view::npos) {
    return std::unexpected(Problem{R"("**" is no pattern: "*" stands for a part of one name)",
                                   R"(a path for each depth, such as "conf.d/*.toml" and "conf.d/*/*.toml")"});
  }
  return std::string(text);
}

Parsed<Included> find_included(const std::filesystem::path& base, std::string_view text) {
  Included included;
  const bool absolute = text.starts_with('/');
  if (!is_pattern(text)) {
    included.files.push_back(absolute ? std::string(text) : (base / text).string());
    return included;
  }
  const std::string around = absolute || base.empty() ? "" : escaped((base / "").string());
  included.pattern = around + std::string(text);
  auto files = matches(included.pattern);
  if (!files) return std::unexpected(std::move(files.error()));
  std::ranges::copy_if(*files, std::back_inserter(included.files), is_regular);
  return included;
}

}  // namespace dao::config

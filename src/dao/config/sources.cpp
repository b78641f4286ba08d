#include "dao/config/sources.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <unordered_set>
#include <utility>

namespace dao::config {
namespace {

constexpr std::string_view kMarker = "#:dao-file ";
constexpr std::string_view kUnended = " (no newline at its end)";

std::string_view take_line(std::string_view& rest) {
  const std::size_t end = rest.find('\n');
  const std::string_view line = rest.substr(0, end == std::string_view::npos ? rest.size() : end + 1);
  rest.remove_prefix(line.size());
  return line;
}

// A line of a file that looks like a marker gets one more '>' in a bundle, so that nothing in a file can end it.
bool looks_like_marker(std::string_view line) {
  line.remove_prefix(std::min(line.find_first_not_of('>'), line.size()));
  return line.starts_with(kMarker);
}

void append_file(std::string& out, const SourceFile& file) {
  const bool ended = file.text.empty() || file.text.ends_with('\n');
  out += fmt::format("{}{}{}\n", kMarker, file.name, ended ? "" : kUnended);
  std::string_view rest = file.text;
  while (!rest.empty()) {
    const std::string_view line = take_line(rest);
    if (looks_like_marker(line)) out += '>';
    out += line;
  }
  if (!ended) out += '\n';
}

// Names go into a line of their own.
bool fits_marker(const SourceFile& file) {
  return !file.name.empty() && file.name.find_first_of("\r\n") == std::string::npos && !file.name.ends_with(kUnended);
}

}  // namespace

std::expected<std::string, std::string> read_text_file(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::unexpected(fmt::format("cannot open: {}", std::strerror(errno)));
  std::string text;
  std::expected<std::string, std::string> result;
  struct stat status{};
  if (fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) {
    result = std::unexpected("is a directory");
  } else {
    std::array<char, 65536> chunk{};
    while (true) {
      const ssize_t count = read(fd, chunk.data(), chunk.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) {
        result = std::unexpected(fmt::format("cannot read: {}", std::strerror(errno)));
        break;
      }
      text.append(chunk.data(), static_cast<std::size_t>(count));
      if (count == 0 || text.size() > kMaxFileBytes) {
        if (text.size() > kMaxFileBytes) text.resize(kMaxFileBytes + 1);
        result = std::move(text);
        break;
      }
    }
  }
  close(fd);
  return result;
}

std::string bundle(const Sources& sources) {
  if (sources.files.empty()) return {};
  // A pattern that matches nothing includes nothing now: the marker says so when the text is loaded again elsewhere.
  const bool alone = sources.files.size() == 1 && sources.patterns.empty();
  if (alone && !sources.files.front().text.starts_with(kMarker)) return sources.files.front().text;
  std::string out;
  for (const SourceFile& file : sources.files) {
    // A name that no line can hold is replaced by its place in the order; the text matters, and is kept.
    if (fits_marker(file)) {
      append_file(out, file);
    } else {
      append_file(out, {.name = fmt::format("file {}", &file - sources.files.data()), .text = file.text});
    }
  }
  return out;
}

Parsed<std::optional<Sources>> unbundle(std::string_view text) {
  if (!text.starts_with(kMarker)) return std::nullopt;
  Sources sources;
  bool ended = true;
  const auto end_file = [&] {
    if (ended) return;
    std::string& file = sources.files.back().text;
    if (file.ends_with('\n')) file.pop_back();
  };
  while (!text.empty()) {
    std::string_view line = take_line(text);
    if (line.starts_with(kMarker)) {
      end_file();
      line.remove_prefix(kMarker.size());
      if (line.ends_with('\n')) line.remove_suffix(1);
      if (line.ends_with('\r')) line.remove_suffix(1);
      ended = !line.ends_with(kUnended);
      if (!ended) line.remove_suffix(kUnended.size());
      if (sources.files.size() == kMaxFiles) {
        return std::unexpected(Problem{.message = "too many files", .expected = fmt::format("at most {}", kMaxFiles)});
      }
      sources.files.push_back({.name = std::string(line), .text = {}});
      continue;
    }
    if (looks_like_marker(line)) line.remove_prefix(1);
    sources.files.back().text += line;
  }
  end_file();
  std::unordered_set<std::string_view> names;
  for (const SourceFile& file : sources.files) {
    if (names.insert(file.name).second && !file.name.empty()) continue;
    return std::unexpected(Problem{.message = fmt::format("two parts have the name {}", in_quotes(file.name)),
                                   .expected = "a name of its own behind each \"#:dao-file\""});
  }
  for (const SourceFile& file : sources.files) sources.paths.push_back(file.name);
  return sources;
}

}  // namespace dao::config

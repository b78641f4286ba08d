#include "dao/memory/path_trail.h"

#include <dirent.h>
#include <fnmatch.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

namespace dao::memory {

namespace {

constexpr int kMostLinks = 40;  // as the kernel has it

std::deque<std::string> parts_of(std::string_view path) {
  std::deque<std::string> parts;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (!part.empty() && part != ".") parts.emplace_back(part);
    path = slash == std::string_view::npos ? std::string_view{} : path.substr(slash + 1);
  }
  return parts;
}

std::string inside(const std::string& directory, const std::string& name) {
  return directory == "/" ? directory + name : directory + "/" + name;
}

std::string above(const std::string& directory) {
  const std::size_t slash = directory.rfind('/');
  return slash == 0 ? "/" : directory.substr(0, slash);
}

std::optional<std::string> link_target(const std::string& path) {
  std::array<char, PATH_MAX> target{};
  const ssize_t size = readlink(path.c_str(), target.data(), target.size());
  if (size <= 0) return std::nullopt;
  return std::string(target.data(), static_cast<std::size_t>(size));
}

bool is_pattern(const std::string& part) {
  return part.find_first_of("*?[\\") != std::string::npos;
}

std::vector<std::string> names_in(const std::string& directory) {
  struct Close {
    void operator()(DIR* open) const { closedir(open); }
  };
  std::vector<std::string> names;
  const std::unique_ptr<DIR, Close> open(opendir(directory.c_str()));
  if (!open) return names;
  while (const dirent* entry = readdir(open.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  std::ranges::sort(names);
  return names;
}

bool fits(const std::string& pattern, const std::string& name) {
  return fnmatch(pattern.c_str(), name.c_str(), FNM_PERIOD) == 0;
}

// Where a walk along a path has come to.
struct Walk {
  std::string directory = "/";    // without links
  std::string spelled;            // the same, as the path spells it; empty for the root
  std::deque<std::string> parts;  // still to go
  std::size_t own_parts = 0;      // how many of these, the last ones, are of the path itself and not of a link
  int links = 0;
  bool pattern = false;
  bool matched = false;  // some part was matched: what is not there was never meant
};

void walk(Walk at, PathTrail& trail) {
  while (!at.parts.empty()) {
    const std::string part = std::move(at.parts.front());
    at.parts.pop_front();
    const bool own = at.own_parts > at.parts.size();
    if (own) --at.own_parts;
    const bool last = at.parts.empty();
    if (part == "..") {
      if (own) at.spelled += "/..";
      at.directory = above(at.directory);
      continue;
    }
    PathTrail::Entries& entries = trail.directories[at.directory];
    entries.holds_files = entries.holds_files || last;
    if (own && at.pattern && is_pattern(part)) {
      entries.patterns.insert(part);
      for (const std::string& name : names_in(at.directory)) {
        if (!fits(part, name)) continue;
        Walk branch = at;
        branch.pattern = at.pattern;
        branch.matched = true;
        branch.parts.push_front(name);
        // A name is no pattern, whatever its characters: it is walked as if it came from a link, but spelled.
        branch.spelled += "/" + name;
        walk(std::move(branch), trail);
      }
      return;
    }
    if (own) at.spelled += "/" + part;
    entries.names.insert(part);
    const std::string path = inside(at.directory, part);
    struct stat status{};
    const bool there = lstat(path.c_str(), &status) == 0;
    if (there && S_ISLNK(status.st_mode)) {
      const auto target = link_target(path);
      if (!target || ++at.links > kMostLinks) break;
      if (target->starts_with('/')) at.directory = "/";
      std::deque<std::string> through = parts_of(*target);
      at.parts.insert(at.parts.begin(), through.begin(), through.end());
      continue;
    }
    if (there && S_ISDIR(status.st_mode)) {
      at.directory = path;
      continue;
    }
    if (there && last) {
      trail.real_files.push_back(path);
      trail.files.push_back(at.spelled);
      return;
    }
    break;  // nothing is there, or something that leads no further
  }
  if (at.matched) return;
  while (at.own_parts > 0) {  // the rest of its spelling
    at.spelled += "/" + at.parts[at.parts.size() - at.own_parts];
    --at.own_parts;
  }
  if (!at.pattern) trail.files.push_back(at.spelled);
}

}  // namespace

bool PathTrail::Entries::concerns(const std::string& name) const {
  return names.contains(name) ||
         std::ranges::any_of(patterns, [&name](const std::string& pattern) { return fits(pattern, name); });
}

std::string absolute_path(std::string_view path) {
  std::string absolute;
  if (!path.starts_with('/')) {
    std::array<char, PATH_MAX> here{};
    if (getcwd(here.data(), here.size()) != nullptr && here.front() == '/') {
      for (const std::string& part : parts_of(here.data())) absolute += "/" + part;
    }
  }
  for (const std::string& part : parts_of(path)) absolute += "/" + part;
  return absolute.empty() ? "/" : absolute;
}

void follow_path(std::string_view path, bool pattern, PathTrail& trail) {
  Walk start;
  start.parts = parts_of(absolute_path(path));
  start.own_parts = start.parts.size();
  start.pattern = pattern;
  walk(std::move(start), trail);
}

}  // namespace dao::memory

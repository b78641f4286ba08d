// All that decides which file a path leads to: every directory on the way, of every symbolic link too. Any thread;
// reads the file system.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace dao::memory {

struct PathTrail {
  // What the path depends on in one directory.
  struct Entries {
    std::set<std::string> names;
    std::set<std::string> patterns;  // of glob(7); a new name that fits one is part of the trail
    bool holds_files = false;        // some of them are, or may become, the files themselves

    // Whether the trail leads over this name.
    [[nodiscard]] bool concerns(const std::string& name) const;
    friend bool operator==(const Entries&, const Entries&) = default;
  };

  // By their paths without links. A directory that is not there is not among them: what is missing is a name in the
  // last one that is.
  std::map<std::string, Entries> directories;
  std::vector<std::string> files;       // as the path spells them, but absolute; whether or not they are there
  std::vector<std::string> real_files;  // without links; those that are there

  friend bool operator==(const PathTrail&, const PathTrail&) = default;
};

// The path made absolute, without "//" and "/./"; ".." stays, for it may follow a link.
[[nodiscard]] std::string absolute_path(std::string_view path);

// Adds the trail of a path to `trail`. If `pattern`, each part of it may have the wildcards of glob(7), and only what
// is there is among the files; hidden names are matched by patterns that begin with a dot only.
void follow_path(std::string_view path, bool pattern, PathTrail& trail);

}  // namespace dao::memory

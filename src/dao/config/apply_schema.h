// Walks a document along the schema: reports what does not belong there, and stores what does.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dao/config/document.h"
#include "dao/config/draft.h"
#include "dao/config/load.h"
#include "dao/config/position_table.h"
#include "dao/config/problem.h"

namespace dao::config {

// The diagnostics of one load, without `file` and `source_line`. Keeps at most kMaxDiagnostics.
class Findings {
 public:
  static constexpr std::size_t kMaxDiagnostics = 100;

  void error(Position where, std::string key, Problem problem) {
    add(Severity::error, where, std::move(key), std::move(problem));
  }
  void warning(Position where, std::string key, Problem problem) {
    add(Severity::warning, where, std::move(key), std::move(problem));
  }
  // What is added from now on is only counted.
  [[nodiscard]] bool full() const { return found_.size() == kMaxDiagnostics; }
  [[nodiscard]] bool failed() const { return failed_; }
  // Ends the collection: in order of position, the last one saying how many more there were, if any. `files`: the names
  // of the texts, by Position::file.
  [[nodiscard]] Diagnostics take(std::span<const std::string> files = {});

 private:
  struct Found {
    std::uint16_t file;
    Diagnostic diagnostic;
  };
  void add(Severity severity, Position where, std::string key, Problem problem);

  std::vector<Found> found_;
  std::size_t dropped_ = 0;
  bool failed_ = false;
};

// Where each key and table stands: by its path, "routes.rule[0].upstreams[1].url", "server.bind[0]" for the items of a
// list. Only what is in the file.
using Places = PositionTable;

struct Applied {
  Draft draft;
  Places places;
  std::vector<std::string> files;  // the names of the texts, by Position::file
};

// "server" and "bind" -> "server.bind"; a name that TOML wants in quotes has them.
[[nodiscard]] std::string join_key(const std::string& path, std::string_view name);

// Everything that one key at a time can tell; defaults are filled in. The draft is complete only if nothing was found.
[[nodiscard]] Applied apply_schema(const Node& root, Findings& findings);

}  // namespace dao::config

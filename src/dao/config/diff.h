// What is different between two configurations, by keys and values: the order of keys, comments, blank space and the
// files things stand in do not count. Rules, upstreams, listeners and groups of a split are told apart by their names;
// other arrays are compared as a whole. The order counts where DAO goes by it: that of rules and of groups.
//
// What the texts say is compared, not what follows from it: a key that is set to its default is an added key, and the
// change says that it is the default.
//
// Secrets are never in the result (redact.h): they are shown as "(redacted)", and a changed one is still a change.
// Pure functions; any thread. O(n log n).
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "dao/config/load.h"

namespace dao::config {

struct Change {
  enum class Kind : std::uint8_t { added, removed, changed, moved };

  Kind kind = Kind::changed;
  std::string path;      // "routes.rule[api].upstreams[a].weight"
  std::string before;    // JSON: a value, or an object for a whole rule, upstream, ...; empty if it was added
  std::string after;     // the same; empty if it was removed
  std::string fallback;  // JSON: the default of the key; empty if it has none
  // Of a rule or group that was added (where it is now), removed (where it was) or moved, counted from 1; else 0.
  std::size_t place_before = 0;
  std::size_t place_after = 0;

  friend bool operator==(const Change&, const Change&) = default;
};
using Changes = std::vector<Change>;

// Both are texts as snapshots have them (sources.h: bundle), which need not be valid but for their syntax. The error is
// what is wrong with that.
[[nodiscard]] std::expected<Changes, Diagnostics> diff(std::string_view before, std::string_view after);
// The same of what was read of them (LoadAttempt::document): half of the work is parsing, and more.
[[nodiscard]] Changes diff(const Node& before, const Node& after);

// For people: lines that begin with '+', '-' or '~'. Fit for a terminal. Empty if there are no changes.
[[nodiscard]] std::string render_text(const Changes& changes);
// A JSON array of objects {kind, path, before, after, default, place_before, place_after}, without what is empty or 0.
[[nodiscard]] std::string render_json(const Changes& changes);

}  // namespace dao::config

// What operators can ask for about the configuration, and what they are told. Plain values.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dao/base/clock.h"
#include "dao/config/load.h"
#include "dao/liminal/transition.h"

namespace dao::server {

// A configuration that is to be used instead of the present one.
struct ConfigOrder {
  enum class From : std::uint8_t {
    file,      // the file that the process was started with, read again
    text,      // `text`, which may include files relative to that file's directory
    snapshot,  // `snapshot` of the store
  };
  From from = From::file;
  std::string text{};          // one file, or a bundle (config/sources.h)
  std::uint64_t snapshot = 0;  // its number
  std::string author{};        // who wants it: "SIGHUP", "file", "api: ada (127.0.0.1)"
  std::string reason{};        // in their words; may be empty
  std::string if_match{};      // only if this is the ETag of the one in use; empty: whatever is in use
  bool dry_run = false;        // all is prepared and told, nothing is changed
  // How long the transition to it takes; zero: at once. Nothing: as the new configuration says; a snapshot is there at
  // once, for whoever goes back wants to be back.
  std::optional<Milliseconds> over{};
};

// For the transition that is under way.
struct TransitionOrder {
  enum class What : std::uint8_t { pause, resume, abort, finish };
  What what = What::pause;
  std::string author{};
  std::string reason{};
};

// A gradual transition, under way or over (docs/metamorphic.md).
struct TransitionStatus {
  std::uint64_t number = 0;      // from 1, of this process
  std::uint64_t generation = 0;  // the new one
  std::uint64_t snapshot = 0;    // of the new one; 0: none
  std::string author{};
  std::string reason{};
  WallTime began_at{};
  WallTime since{};  // when it got into its state
  bool over = true;  // what was decided is in force
  liminal::TransitionFigures figures{};
};

struct ConfigOutcome {
  enum class Result : std::uint8_t {
    applied,
    begun,      // a gradual transition to it
    unchanged,  // it is the one in use, or the one that a transition leads to
    valid,      // dry_run: it could be applied
    invalid,    // `diagnostics` say why
    failed,     // it is valid, but what it needs cannot be had: `error`
    conflict,   // another one than `if_match` is in use
    not_found,  // no such snapshot
    ending,     // the process drains
  };
  Result result = Result::failed;
  std::string error{};                           // a sentence; empty if it was applied, or could be
  config::Diagnostics diagnostics{};             // with warnings, also of a configuration that was applied
  std::string changes{};                         // from the one in use before: JSON (config/diff.h); empty: not known
  std::uint64_t generation = 0;                  // in use now
  std::uint64_t snapshot = 0;                    // its number; 0: it has none
  std::string etag{};                            // of the one in use now, without quotes
  std::vector<std::string> pending_restart{};    // keys whose new values need a restart
  std::optional<TransitionStatus> transition{};  // begun: that one
};

struct TransitionOutcome {
  enum class Result : std::uint8_t {
    obeyed,
    none,     // no transition is under way
    refused,  // `error` says why
    ending,   // the process drains
  };
  Result result = Result::none;
  std::string error{};
  std::optional<TransitionStatus> transition{};  // as it stands now; also one that is over. Nothing: there was none
};

// The configuration in use, and what became of others.
struct ConfigStatus {
  std::uint64_t generation = 0;  // from 1
  std::uint64_t snapshot = 0;    // 0: none
  std::string etag{};
  std::string source{};  // the path of the file
  std::string author{};  // of the one in use
  std::string reason{};
  WallTime applied_at{};  // when it came into use
  bool from_file = true;  // false: it was given by the API or is a snapshot, and the file says something else
  std::uint64_t reloads_applied = 0;   // since the start
  std::uint64_t reloads_failed = 0;    // of those, orders that changed nothing for what was wrong with them
  bool last_reload_successful = true;  // also if there was none
  WallTime last_reload_at{};           // the epoch: there was none
  std::string last_error{};            // of the last reload; empty if it succeeded
  std::vector<std::string> pending_restart{};
  std::optional<TransitionStatus> transition{};      // the last one; it may be under way
  std::array<std::uint64_t, 3> transitions_ended{};  // finished, rolled back, aborted
};

}  // namespace dao::server

// Which store DAO works with: the one that [memory] names, or one in memory when that cannot be had.
#pragma once

#include <memory>
#include <string>

#include "dao/base/clock.h"
#include "dao/config/config.h"
#include "dao/memory/store.h"

namespace dao::memory {

// Where the default path may be, in this order. Empty ones are passed over.
struct StateDirectories {
  std::string given;                   // $STATE_DIRECTORY, which systemd sets (StateDirectory=); the first of several
  std::string system{"/var/lib/dao"};  // if it can be written, or made
  std::string user;                    // $XDG_STATE_HOME/dao, else $HOME/.local/state/dao

  static StateDirectories of_process();
};

// Of the database when the configuration names none; empty: there is no place for one. May make the system's directory.
[[nodiscard]] std::string default_path(const StateDirectories& directories);

// Never null. When the store cannot be had, that is said once in the log, and the one in memory is the result.
// `beside_predecessor`: this process was started by the one that it replaces. `clock` outlives the store.
std::unique_ptr<Store> open_store(const config::Memory& settings, const Clock& clock, bool beside_predecessor,
                                  const StateDirectories& directories = StateDirectories::of_process());

}  // namespace dao::memory

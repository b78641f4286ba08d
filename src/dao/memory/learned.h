// Keeps in a store what a mind has learned, and gives it back to the next one: the presence of each upstream, known by
// its name and URL, and the usual figures of each route, known by its name (docs/memory.md).
//
// Everything here is on the mind's thread, and the mind is passed to each call. A restart begins where the last process
// stopped: what was saved is restored with its age. Presence older than five minutes is forgotten (PresenceDetector);
// the usual figures of a route count for half as much each hour (kHalfLife), as a start that is overruled by what is
// seen. A clock that was set back makes ages 0.
//
// A save costs what has changed: each second a thirtieth of the upstreams and a sixtieth of the routes are compared
// with what was saved, and upstreams whose state changed at once, at most kMostAtOnce. What did not change is not
// written again; instead one entry (kAsOf) says until when all of them were true.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dao/base/clock.h"
#include "dao/config/config.h"
#include "dao/liminal/mind.h"
#include "dao/memory/store.h"

namespace dao::memory {

[[nodiscard]] std::string key_of(const config::Upstream& upstream);
[[nodiscard]] std::string key_of(const config::Rule& rule);

// What the configurations in use have, by its keys, and the numbers by which the mind knows it.
struct Roster {
  struct Member {
    std::string key;
    std::uint32_t number = 0;
  };
  std::vector<Member> upstreams;
  std::vector<Member> routes;

  static Roster of(const config::Config& config);
  // What is new in another one. A key that is there already stays whose it is.
  void add(const config::Config& config);
};

class Learned {
 public:
  static constexpr Nanoseconds kHalfLife = std::chrono::hours(1);
  static constexpr std::string_view kAsOf = "learned/as-of";
  // What was removed from the configuration is forgotten after that time.
  static constexpr Nanoseconds kForgetAfter = std::chrono::hours(24 * 7);
  static constexpr std::size_t kMostAtOnce = 5000;

  // Both outlive it.
  Learned(Store& store, const Clock& clock) : store_(store), clock_(clock) {}

  // Before the mind's first step, and after each reload: from now on these are looked after. Those that are new get
  // what the store has of them; those that are no longer there are marked so. Reads all of the learned state from the
  // store. How many were restored.
  std::size_t adopt(const Roster& roster, liminal::Mind& mind, Instant now);

  // After each step of the mind. Does something once in a second.
  void step(const liminal::Mind& mind, Instant now);

  // All that has changed; at the end.
  void save_all(const liminal::Mind& mind, Instant now);

 private:
  // As it was saved.
  struct Upstream {
    std::string key;
    std::uint32_t number = 0;
    std::uint64_t fingerprint = 0;  // 0: to be saved
    std::uint32_t condition = 0;    // its state without the history
    bool stored = false;
    bool fresh = true;  // the mind has just made it
  };
  struct Route {
    std::string key;
    std::uint32_t number = 0;
    std::uint64_t told = 0;  // 0: nothing was saved
    bool fresh = true;
  };

  bool restore(Upstream& upstream, const StateEntry& entry, WallTime as_of, liminal::Mind& mind, Instant now);
  bool restore(Route& route, const StateEntry& entry, WallTime as_of, liminal::Mind& mind);
  void mark_gone(const StateEntry& entry, WallTime as_of);
  void save(Upstream& upstream, const liminal::Mind& mind, Instant now);
  void save(Route& route, const liminal::Mind& mind);
  void save_conditions(const liminal::Mind& mind, Instant now);
  void hand_over();
  void look_for_a_new_store();

  Store& store_;
  const Clock& clock_;
  std::vector<Upstream> upstreams_;  // in order of their keys
  std::vector<Route> routes_;        // likewise
  std::vector<StateEntry> changed_;
  std::vector<std::string> erased_;
  std::optional<Instant> last_;
  std::optional<Instant> last_as_of_;
  std::size_t next_upstream_ = 0;
  std::size_t next_route_ = 0;
  std::size_t next_condition_ = 0;
  std::uint64_t stores_begun_ = 0;
};

}  // namespace dao::memory

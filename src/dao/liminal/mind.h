// The mind: what DAO makes of its traffic. It folds the workers' shards, runs the liminal systems, and gives out an
// immutable View. It owns no request, no thread and no socket: whoever has it steps it, in real or virtual time
// (server/mind_thread.h; tests; simulations).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "dao/base/clock.h"
#include "dao/base/random.h"
#include "dao/config/config.h"
#include "dao/liminal/presence.h"
#include "dao/liminal/view_pool.h"
#include "dao/sense/admission.h"
#include "dao/sense/fold.h"
#include "dao/sense/in_flight.h"
#include "dao/sense/shard.h"
#include "dao/sense/view.h"

namespace dao::liminal {

// How often it is stepped.
inline constexpr Nanoseconds kStepInterval = std::chrono::milliseconds(100);

// A probe that is to be made.
struct DueProbe {
  std::uint32_t upstream = 0;  // its number
  std::uint64_t whose = 0;     // tells it from others that have the number later
  std::shared_ptr<const config::Upstream> settings;
  config::ProbeType type = config::ProbeType::off;  // never off
};

class Mind {
 public:
  // All outlive it.
  struct Senses {
    std::vector<const sense::Shard*> shards;
    const sense::InFlight& in_flight;
    sense::Admission& admission;
  };
  Mind(std::shared_ptr<const config::Config> config, Senses senses);

  // One thread, that of the owner; so is all below. The View is for anybody.
  sense::ViewPtr step(Instant now);

  // These configurations are in use from now on; settings are those of the first one that has them. What is known of
  // their routes and upstreams stays, of others it is forgotten. The senses know all numbers already.
  void reconfigure(std::vector<std::shared_ptr<const config::Config>> configs, Instant now);

  // What to probe now, at most `most`; probed() must follow for each. Those that waited longest for their turn come
  // first.
  std::vector<DueProbe> take_due_probes(Instant now, std::size_t most);
  void probed(const DueProbe& probe, ProbeOutcome outcome, Instant now);

  // What is known of the upstreams, by their numbers, to be kept over a restart. Before the first step that is what was
  // restored, and restore_presence() comes before it.
  [[nodiscard]] PresenceDetector::State save_presence(std::uint32_t upstream, Instant now) const {
    if (upstream >= watched_.size() || watched_[upstream] == nullptr) return {};
    return watched_[upstream]->presence.save(now);
  }
  void restore_presence(std::uint32_t upstream, const PresenceDetector::State& state, Nanoseconds age, Instant now);
  // After the first step, or after a restore_presence().
  [[nodiscard]] const PresenceDetector& presence_of(std::uint32_t upstream) const {
    return watched_[upstream]->presence;
  }

  // The same of routes. `weight`, 0..1: how far it is to be believed; nothing is restored into a route that has learned
  // something.
  [[nodiscard]] sense::RouteLearned save_route(std::uint32_t route) const { return fold_.save_learned(route); }
  void restore_route(std::uint32_t route, const sense::RouteLearned& learned, double weight) {
    fold_.restore_learned(route, learned, weight);
  }

 private:
  using Outcomes = std::array<std::uint64_t, sense::kOutcomes>;
  struct Watched {
    std::shared_ptr<const config::Upstream> settings;
    std::uint64_t whose;
    PresenceDetector presence;
    Outcomes outcomes_before;
  };

  void begin(Instant now);
  void watch_upstreams(Instant now);
  [[nodiscard]] Outcomes outcomes_of(std::size_t upstream) const;
  void step_presence(Instant now);
  void step_presence(std::size_t upstream, Instant now);
  // After each change of what is known of it.
  void note(std::size_t upstream, Instant now);
  void apply(std::size_t upstream);
  void tell(std::size_t upstream, sense::Presence before);
  // What has changed since the view was filled before.
  void show_presence(sense::View& view, Instant since) const;

  std::vector<std::shared_ptr<const config::Config>> configs_;  // never empty
  Senses senses_;
  sense::Fold fold_;
  std::uint64_t steps_ = 0;
  bool begun_ = false;
  std::vector<std::unique_ptr<Watched>> watched_;  // by the upstreams' numbers; null: nobody has that one
  std::uint64_t watches_ = 0;                      // begun since the start
  // By the upstreams' numbers, side by side, for they are looked at in every step.
  std::vector<std::uint8_t> rests_;  // there is no need to look at it until something is heard
  std::vector<Instant> probe_at_;
  std::vector<Instant> changed_;  // what the View shows of its presence
  std::size_t next_to_look_at_ = 0;
  std::shared_ptr<ViewPool> views_ = std::make_shared<ViewPool>();
  Random seeds_{0};
  std::size_t next_to_probe_ = 0;
};

}  // namespace dao::liminal

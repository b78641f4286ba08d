// The mind: what DAO makes of its traffic. It folds the workers' shards, runs the liminal systems, and gives out an
// immutable View. It owns no request, no thread and no socket: whoever has it steps it, in real or virtual time
// (server/mind_thread.h; tests; simulations).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "dao/base/clock.h"
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

  // The upstreams to probe now, at most `most`; probed() must follow for each of them. Those that waited longest for
  // their turn come first.
  std::vector<std::uint32_t> take_due_probes(Instant now, std::size_t most);
  void probed(std::uint32_t upstream, ProbeOutcome outcome, Instant now);
  [[nodiscard]] config::ProbeType probe_type(std::uint32_t upstream) const { return presences_[upstream].probe_type(); }

  // What is known of the upstreams, by their numbers, to be kept over a reload or a restart. restore_presence() comes
  // before the first step.
  [[nodiscard]] PresenceDetector::State save_presence(std::uint32_t upstream, Instant now) const {
    return presences_[upstream].save(now);
  }
  void restore_presence(std::uint32_t upstream, const PresenceDetector::State& state, Nanoseconds age, Instant now);

 private:
  void begin(Instant now);
  void step_presence(Instant now);
  void step_presence(std::size_t upstream, Instant now);
  // After each change of what is known of it.
  void note(std::size_t upstream, Instant now);
  void apply(std::size_t upstream);
  void tell(std::size_t upstream, sense::Presence before);
  // What has changed since the view was filled before.
  void show_presence(sense::View& view, Instant since) const;

  std::shared_ptr<const config::Config> config_;
  Senses senses_;
  sense::Fold fold_;
  std::uint64_t steps_ = 0;
  std::vector<PresenceDetector> presences_;  // by the upstreams' numbers
  std::vector<std::array<std::uint64_t, sense::kOutcomes>> outcomes_before_;
  // By upstream, side by side, for they are looked at in every step.
  std::vector<std::uint8_t> rests_;
  std::vector<Instant> probe_at_;
  std::vector<Instant> changed_;  // what the View shows of its presence
  std::size_t next_to_look_at_ = 0;
  std::shared_ptr<ViewPool> views_;
  std::size_t next_to_probe_ = 0;
};

}  // namespace dao::liminal

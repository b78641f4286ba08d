// One gradual transition as the process makes it: both generations, what the workers told of their requests, and what
// liminal::Transition decides from that (docs/metamorphic.md). Any thread, under a mutex that no worker takes.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "dao/base/clock.h"
#include "dao/liminal/side_rings.h"
#include "dao/liminal/transition.h"
#include "dao/sense/sample_ring.h"
#include "dao/server/config_order.h"
#include "dao/server/generation.h"
#include "dao/server/interim_limits.h"

namespace dao::server {

class ConfigTransition {
 public:
  // Who wants it, and what.
  struct Intended {
    std::string author;
    std::string reason;
    std::string text;  // of the new configuration
    std::shared_ptr<const config::Node> document;
    std::uint64_t snapshot = 0;  // its number
    std::vector<std::string> pending_restart;
  };
  struct Times {
    Nanoseconds over{};  // > 0
    Instant now{};
    WallTime wall_now{};
  };
  // `number`: counts the transitions of the process, from 1. `seed`: random, not known to clients.
  ConfigTransition(std::uint64_t number, std::shared_ptr<const Generation> before,
                   std::shared_ptr<const Generation> after, Intended intended, Times times, std::uint64_t seed,
                   std::size_t workers);

  const std::uint64_t number;
  const std::shared_ptr<const Generation> before;
  const std::shared_ptr<const Generation> after;
  const Intended intended;

  [[nodiscard]] std::shared_ptr<sense::SampleRing> ring(std::size_t worker) const { return rings_.of(worker); }
  [[nodiscard]] liminal::TransitionView view() const;
  // Ten times a second: takes in what the workers told. The view, if it is another one now.
  std::optional<liminal::TransitionView> step(Instant now);
  // The error says why not; nothing has changed then.
  std::expected<liminal::TransitionView, std::string> obey(const TransitionOrder& order, Instant now);
  // It is over whatever was decided: the new configuration cannot be used after all.
  void fail(std::string reason);
  [[nodiscard]] TransitionStatus status(Instant now) const;
  // No request begins any more with the side that has lost: limits are what their configurations say.
  void end_limits();

 private:
  const WallTime began_at_;
  const Instant began_;
  mutable std::mutex mutex_;  // guards what follows
  liminal::Transition transition_;
  liminal::SideRings rings_;
  InterimLimits limits_;
  std::string failure_;
};

}  // namespace dao::server

#include "dao/server/config_transition.h"

#include <utility>

namespace dao::server {

ConfigTransition::ConfigTransition(std::uint64_t the_number, std::shared_ptr<const Generation> the_old,
                                   std::shared_ptr<const Generation> the_new, Intended the_intended, Times times,
                                   std::uint64_t seed, std::size_t workers)
    : number(the_number),
      before(std::move(the_old)),
      after(std::move(the_new)),
      intended(std::move(the_intended)),
      began_at_(times.wall_now),
      began_(times.now),
      transition_(after->config->liminal.metamorphic, times.over, seed, times.now, intended.author),
      rings_(workers),
      limits_(before, after) {
  limits_.set(0);
  liminal::log_transition(transition_.figures(times.now));
}

liminal::TransitionView ConfigTransition::view() const {
  const std::lock_guard lock(mutex_);
  return transition_.view();
}

std::optional<liminal::TransitionView> ConfigTransition::step(Instant now) {
  const std::lock_guard lock(mutex_);
  rings_.read_into(transition_);
  const liminal::TransitionState state = transition_.state();
  if (!transition_.step(now)) return std::nullopt;
  if (transition_.state() != state) liminal::log_transition(transition_.figures(now));
  limits_.set(transition_.view().progress);
  return transition_.view();
}

std::expected<liminal::TransitionView, std::string> ConfigTransition::obey(const TransitionOrder& order, Instant now) {
  const std::lock_guard lock(mutex_);
  const std::string by = order.reason.empty() ? order.author : order.author + ": " + order.reason;
  liminal::Transition::Done done;
  switch (order.what) {
    case TransitionOrder::What::pause:
      done = transition_.pause(now, by);
      break;
    case TransitionOrder::What::resume:
      done = transition_.resume(now, by);
      break;
    case TransitionOrder::What::abort:
      done = transition_.abort(now, by);
      break;
    case TransitionOrder::What::finish:
      done = transition_.finish(now, by);
      break;
  }
  if (!done) return std::unexpected(std::move(done.error()));
  liminal::log_transition(transition_.figures(now));
  limits_.set(transition_.view().progress);
  return transition_.view();
}

void ConfigTransition::fail(std::string reason) {
  const std::lock_guard lock(mutex_);
  failure_ = std::move(reason);
}

void ConfigTransition::end_limits() {
  const std::lock_guard lock(mutex_);
  limits_.end();
}

TransitionStatus ConfigTransition::status(Instant now) const {
  const std::lock_guard lock(mutex_);
  TransitionStatus status{.number = number,
                          .generation = after->number,
                          .snapshot = intended.snapshot,
                          .author = intended.author,
                          .reason = intended.reason,
                          .began_at = began_at_,
                          .figures = transition_.figures(now)};
  if (!failure_.empty()) {
    status.figures.state = liminal::TransitionState::aborted;
    status.figures.progress = 0;
    status.figures.reason = failure_;
  }
  status.since = began_at_ + std::chrono::duration_cast<WallTime::duration>(status.figures.since - began_);
  return status;
}

}  // namespace dao::server

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <random>
#include <semaphore>
#include <utility>

#include "dao/base/log.h"
#include "dao/liminal/interpolate.h"
#include "dao/server/process.h"

namespace dao::server {

void Process::tell_workers(const std::function<void(Worker&, std::function<void()> done)>& tell) {
  const auto obeyed = std::make_shared<std::counting_semaphore<>>(0);
  for (const auto& worker : workers_) tell(*worker, [obeyed] { obeyed->release(); });
  constexpr auto kPatience = std::chrono::seconds(10);
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (std::size_t i = 0; i < worker_count_; ++i) {
    if (obeyed->try_acquire_until(deadline)) continue;
    log::error("a worker has not taken the configuration yet", {{"seconds", kPatience.count()}});
    break;
  }
}

void Process::reconfigure_mind(std::vector<std::shared_ptr<const Generation>> generations, Roster::Leaving leaving) {
  mind_thread_->reconfigure(std::move(generations), [this, leaving = std::move(leaving)] {
    queue_->post([this, leaving] {
      roster_->release_upstreams(leaving.upstreams);
      roster_->release_rules(leaving.rules);
    });
  });
}

// Listeners, the side services and the access log are the old ones until the end. That those of the new configuration
// can be had was seen when it was prepared; what was opened for that closes here.
void Process::begin_transition(Prepared prepared, ConfigTransition::Intended intended, Nanoseconds over) {
  const std::shared_ptr<const Generation> before = generation();
  const std::shared_ptr<const Generation> after = prepared.generation;
  std::random_device entropy;
  const std::uint64_t seed = (std::uint64_t{entropy()} << 32U) | entropy();
  const auto transition = std::make_shared<ConfigTransition>(
      ++transitions_, before, after, std::move(intended),
      ConfigTransition::Times{.over = over, .now = clock_.now(), .wall_now = clock_.wall_now()}, seed, worker_count_);
  std::vector<Adoption> adoptions = seats_for(after);
  std::size_t next = 0;
  tell_workers([&](Worker& worker, std::function<void()> done) {
    const std::size_t index = next++;
    worker.begin_transition(
        std::move(adoptions[index]),
        {.number = transition->number, .generation = {}, .view = transition->view(), .ring = transition->ring(index)},
        std::move(done));
  });
  const std::array in_use = {before->config, after->config};
  reconfigure_mind({before, after}, roster_->keep(in_use));
  names_->tell_of(*after->config);
  const std::lock_guard lock(current_mutex_);
  transition_ = transition;
}

void Process::step_transition() {
  const std::shared_ptr<ConfigTransition> transition = this->transition();
  if (!transition) return;
  const std::optional<liminal::TransitionView> view = transition->step(clock_.now());
  if (!view) return;
  for (const auto& worker : workers_) worker->see(transition->number, *view);
  if (liminal::is_over(view->state)) {
    queue_->post([this] {
      end_transition();
      replace_side_services();
    });
  } else {
    queue_->post([this, progress = view->progress] { set_connection_limits(progress); });
  }
}

void Process::set_connection_limits(double progress) {
  const std::shared_ptr<ConfigTransition> transition = this->transition();
  if (!transition) return;
  const config::Config& before = *transition->before->config;
  const config::Config& after = *transition->after->config;
  const liminal::EffectiveLimits limits = liminal::effective_limits(before, after, progress);
  if (before.server.max_connections != after.server.max_connections && limits.max_connections != 0) {
    connections_.set_most(static_cast<std::int64_t>(limits.max_connections));
  }
  if (limits.max_connections_per_client != 0) {
    listeners_->clients()->set_most(static_cast<std::size_t>(limits.max_connections_per_client));
  }
}

void Process::end_transition() {
  const std::shared_ptr<ConfigTransition> transition = this->transition();
  if (ending_ || !transition || !liminal::is_over(transition->view().state)) return;
  transition->end_limits();
  bool finished = transition->view().state == liminal::TransitionState::finished;
  if (finished) {
    if (const auto completed = complete(*transition); !completed) {
      finished = false;
      transition->fail("the new configuration cannot come into use: " + completed.error());
      log::error("transition taken back", {{"reason", completed.error()}});
    }
  }
  if (!finished) {
    set_connection_limits(0);
    give_up_new_side();
  }
  TransitionStatus status = transition->status(clock_.now());
  const liminal::TransitionFigures& figures = status.figures;
  const ConfigTransition::Intended& intended = transition->intended;
  history_->decide(intended.snapshot, finished
                                          ? std::string(memory::kApplied)
                                          : fmt::format("{}: {}", liminal::name_of(figures.state), figures.reason));
  if (finished) document_ = intended.document;
  {
    const std::lock_guard lock(current_mutex_);
    constexpr auto kFirstEnd = static_cast<std::size_t>(liminal::TransitionState::finished);
    ++status_.transitions_ended[static_cast<std::size_t>(figures.state) - kFirstEnd];
    if (finished) {
      text_ = std::make_shared<const std::string>(intended.text);
      status_.etag = fingerprint(*text_);
      status_.author = intended.author;
      status_.reason = intended.reason;
      status_.snapshot = intended.snapshot;
      status_.pending_restart = intended.pending_restart;
      ++status_.reloads_applied;
    }
    status_.from_file = *text_ == file_text_;
    status_.transition = std::move(status);
    transition_.reset();
  }
  if (finished) log_reloaded(intended.author, true);
}

std::expected<void, std::string> Process::complete(const ConfigTransition& transition) {
  auto prepared = open_for(transition.after);
  if (!prepared) return std::unexpected(std::move(prepared.error()));
  adopt(*std::move(prepared));
  return {};
}

void Process::give_up_new_side() {
  tell_workers([](Worker& worker, std::function<void()> done) { worker.end_transition(std::move(done)); });
  const std::shared_ptr<const Generation> stays = generation();
  const std::array in_use = {stays->config};
  Roster::Leaving leaving = roster_->keep(in_use);
  names_->unwatch(leaving.upstreams);
  names_->watch(*stays->config);
  reconfigure_mind({stays}, std::move(leaving));
}

void Process::order(TransitionOrder order, std::function<void(const TransitionOutcome&)> tell) {
  queue_->post([this, order = std::move(order), tell = std::move(tell)] {
    if (ending_) return tell({.result = TransitionOutcome::Result::ending, .error = "the process ends"});
    tell(obey(order));
    replace_side_services();  // not before: one of them may have told of the order
  });
}

TransitionOutcome Process::obey(const TransitionOrder& order) {
  const std::shared_ptr<ConfigTransition> transition = this->transition();
  if (!transition) {
    return {.result = TransitionOutcome::Result::none,
            .error = "no transition is under way",
            .transition = config_status().transition};
  }
  const auto view = transition->obey(order, clock_.now());
  if (!view) {
    return {
        .result = TransitionOutcome::Result::refused, .error = view.error(), .transition = config_status().transition};
  }
  for (const auto& worker : workers_) worker->see(transition->number, *view);
  end_transition();
  TransitionOutcome outcome{
      .result = TransitionOutcome::Result::obeyed, .error = {}, .transition = config_status().transition};
  if (outcome.transition->figures.state != view->state) {
    outcome.result = TransitionOutcome::Result::refused;
    outcome.error = outcome.transition->figures.reason;
  }
  return outcome;
}

std::shared_ptr<ConfigTransition> Process::transition() const {
  const std::lock_guard lock(current_mutex_);
  return transition_;
}

std::shared_ptr<const config::Config> Process::coming() const {
  const std::shared_ptr<ConfigTransition> under_way = transition();
  return under_way ? under_way->after->config : nullptr;
}

}  // namespace dao::server

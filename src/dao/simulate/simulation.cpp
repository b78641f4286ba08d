#include "dao/simulate/simulation.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "dao/http/status.h"
#include "dao/sense/outcomes.h"
#include "dao/sense/silence.h"
#include "dao/simulate/arrivals.h"
#include "dao/simulate/collector.h"
#include "dao/simulate/due_line.h"
#include "dao/simulate/event_queue.h"
#include "dao/simulate/node.h"
#include "dao/simulate/server.h"

namespace dao::simulate {

namespace {

// DAO's clock does not begin at zero, which means "never" in the signals.
constexpr Nanoseconds kUptime = std::chrono::hours(1);

Instant instant(Time now) {
  return Instant{kUptime + Nanoseconds(static_cast<std::int64_t>(now))};
}

constexpr std::size_t kMostTries = 3;

struct Request {
  std::uint64_t serial = 0;   // of the request; 0: nobody is here
  std::uint64_t attempt = 0;  // serial of the attempt under way
  std::uint64_t work = 0;     // what its service times are drawn from
  std::uint64_t key = 0;
  Time arrived = 0;
  Time sent = 0;
  std::uint32_t node = 0;
  std::uint32_t worker = 0;
  std::array<std::uint32_t, kMostTries> tried{};
  std::uint32_t tries = 0;
  bool may_retry = false;
};

class Simulation {
 public:
  Simulation(const Scenario& scenario, const std::shared_ptr<const config::Config>& config);

  void run();
  [[nodiscard]] Figures figures() { return collector_.take(); }
  [[nodiscard]] std::uint64_t arrived() const { return arrived_; }
  [[nodiscard]] Time now() const { return now_; }

 private:
  void plan_arrival();
  void arrive();
  void dispatch(std::uint32_t index);
  void visit(std::uint32_t backend, Visitor visitor);
  void serve(std::uint32_t backend, std::uint32_t slot, Visitor visitor);
  void begin_service(std::uint32_t backend, std::uint32_t slot);
  void served(const Event& event);
  void leave_slot(std::uint32_t backend, std::uint32_t slot);
  void change_condition(std::uint32_t backend);
  void handle(const Event& event);
  void step_mind(std::uint32_t node);

  [[nodiscard]] bool is_current(std::uint32_t index, std::uint64_t attempt) const {
    return requests_[index].attempt == attempt;
  }
  void answer(std::uint32_t index, std::uint16_t status);
  void fail(std::uint32_t index, ErrorKind kind);
  void time_out(std::uint32_t index);
  void look_for_silence(std::uint32_t index);
  void give_up(std::uint32_t index);
  void end_attempt(Request& request, std::uint16_t status, ErrorKind error);
  void retry_or_finish(std::uint32_t index, bool retryable, sense::RetryReason reason, std::uint16_t status);
  void finish(std::uint32_t index, std::uint16_t status);

  [[nodiscard]] Worker& worker_of(const Request& request) { return *nodes_[request.node]->workers[request.worker]; }
  [[nodiscard]] std::uint32_t backend_of(const Request& request) const { return request.tried[request.tries - 1]; }

  const Scenario& scenario_;
  const config::ProxySettings& settings_;
  const std::uint32_t failures_that_close_;  // in a row
  const Time timeout_;
  const Time client_timeout_;
  const Time round_trip_;
  const std::uint64_t most_requests_;
  const Time last_arrival_;
  ArrivalProcess arrivals_;
  Random random_;  // who asks, and what
  std::vector<Server> servers_;
  std::vector<std::unique_ptr<Node>> nodes_;
  Collector collector_;
  EventQueue events_;
  DueLine answers_;  // on their way back, each for the round trip
  DueLine timeouts_;
  DueLine client_timeouts_;
  std::vector<Request> requests_;
  std::vector<std::uint32_t> free_requests_;
  Time now_ = 0;
  Time next_arrival_ = 0;
  std::uint64_t arrived_ = 0;
  std::uint64_t attempts_ = 0;
  std::size_t under_way_ = 0;
};

Simulation::Simulation(const Scenario& scenario, const std::shared_ptr<const config::Config>& config)
    : scenario_(scenario),
      settings_(config->rules.front().proxy),
      failures_that_close_(config->liminal.presence.enabled ? config->liminal.presence.failures : 0),
      timeout_(to_time(settings_.first_byte_timeout)),
      client_timeout_(scenario.client_timeout ? to_time(*scenario.client_timeout) : 0),
      round_trip_(to_time(scenario.round_trip)),
      most_requests_(scenario.requests.value_or(~std::uint64_t{0})),
      last_arrival_(scenario.seconds ? static_cast<Time>(*scenario.seconds * 1e9) : kEndOfTime),
      arrivals_(scenario, scenario.seed * 4 + 1),
      random_(scenario.seed * 4 + 2),
      collector_(scenario) {
  servers_.reserve(scenario.backends.size());
  for (std::size_t i = 0; i < scenario.backends.size(); ++i) {
    servers_.emplace_back(scenario, i, scenario.seed * 4 + 3);
    const Time change = servers_.back().condition.next_change();
    if (change != kEndOfTime) {
      events_.add({.time = change, .subject = static_cast<std::uint32_t>(i), .kind = EventKind::fault});
    }
  }
  Random phases(scenario.seed * 4 + 4);
  for (std::size_t i = 0; i < scenario.nodes; ++i) {
    nodes_.push_back(std::make_unique<Node>(config, scenario.workers, instant(0), phases.next()));
    // Processes that were not started at the same moment.
    events_.add({.time = phases.below(to_time(scenario.mind_step)),
                 .subject = static_cast<std::uint32_t>(i),
                 .kind = EventKind::mind});
  }
  plan_arrival();
}

void Simulation::plan_arrival() {
  next_arrival_ = arrived_ < most_requests_ ? arrivals_.next() : kEndOfTime;
  if (next_arrival_ >= last_arrival_) next_arrival_ = kEndOfTime;
}

void Simulation::run() {
  for (;;) {
    if (under_way_ == 0 && next_arrival_ == kEndOfTime) return;
    // What is due at the same time happens in this order.
    Time least = events_.next_time();
    int which = 0;
    const auto consider = [&](Time time, int candidate) {
      if (time < least) {
        least = time;
        which = candidate;
      }
    };
    consider(answers_.next_time(), 1);
    consider(next_arrival_, 2);
    consider(timeouts_.next_time(), 3);
    consider(client_timeouts_.next_time(), 4);
    now_ = least;
    switch (which) {
      case 0:
        handle(events_.take());
        break;
      case 1: {
        const Due due = answers_.take();
        if (is_current(due.subject, due.serial)) answer(due.subject, 200);
        break;
      }
      case 2:
        arrive();
        break;
      case 3: {
        const Due due = timeouts_.take();
        if (is_current(due.subject, due.serial)) time_out(due.subject);
        break;
      }
      default: {
        const Due due = client_timeouts_.take();
        if (requests_[due.subject].serial == due.serial) give_up(due.subject);
        break;
      }
    }
  }
}

void Simulation::arrive() {
  ++arrived_;
  std::uint32_t index = 0;
  if (free_requests_.empty()) {
    index = static_cast<std::uint32_t>(requests_.size());
    requests_.emplace_back();
  } else {
    index = free_requests_.back();
    free_requests_.pop_back();
  }
  Request& request = requests_[index];
  request = Request{.serial = arrived_, .work = random_.next(), .arrived = now_};
  const std::uint64_t who = random_.next();
  request.node = static_cast<std::uint32_t>((who >> 32U) % nodes_.size());
  request.worker = static_cast<std::uint32_t>((who & 0xffffffffU) % scenario_.workers);
  request.key = random_.below(scenario_.keys) * 0x9e3779b97f4a7c15U;
  ++under_way_;
  if (client_timeout_ != 0) client_timeouts_.add(now_ + client_timeout_, index, arrived_);
  worker_of(request).retry_budget.request_began();
  plan_arrival();
  dispatch(index);
}

void Simulation::dispatch(std::uint32_t index) {
  Request& request = requests_[index];
  Node& node = *nodes_[request.node];
  Worker& worker = worker_of(request);
  const std::optional<std::size_t> choice =
      choose(node, worker, std::span(request.tried).first(request.tries), request.key, instant(now_));
  if (!choice) {
    finish(index, http::status::kUnavailable);
    return;
  }
  const auto backend = static_cast<std::uint32_t>(*choice);
  request.tried[request.tries++] = backend;
  request.attempt = ++attempts_;
  request.sent = now_;
  const bool elsewhere = request.tries <= settings_.retries && request.tries < servers_.size();
  request.may_retry = elsewhere && worker.retry_budget.available(instant(now_));
  node.in_flight.enter(backend);
  worker.signals[backend].sent(instant(now_));
  collector_.attempt(now_, backend, request.tries > 1);
  timeouts_.add(now_ + timeout_, index, request.attempt);
  if (request.may_retry && settings_.retry_on.silence) {
    const Nanoseconds patience = sense::first_look(worker.signals[backend]);
    if (patience > Nanoseconds::zero()) {
      events_.add(
          {.time = now_ + to_time(patience), .serial = request.attempt, .subject = index, .kind = EventKind::look});
    }
  }
  visit(backend, {.serial = request.attempt, .request = index});
}

void Simulation::visit(std::uint32_t backend, Visitor visitor) {
  Server& server = servers_[backend];
  if (server.condition.refuses()) {
    events_.add(
        {.time = now_ + round_trip_, .serial = visitor.serial, .subject = visitor.request, .kind = EventKind::refused});
    return;
  }
  const Fault* failing = server.condition.failing();
  if (failing != nullptr && server.random.unit() < failing->probability) {
    events_.add({.time = now_ + round_trip_ + to_time(failing->after),
                 .serial = visitor.serial,
                 .subject = visitor.request,
                 .detail = 500,
                 .kind = EventKind::failed_fast});
    return;
  }
  if (!server.free_slots.empty()) {
    const std::uint32_t slot = server.free_slots.back();
    server.free_slots.pop_back();
    collector_.depth(server.slots.size() - server.free_slots.size());
    serve(backend, slot, visitor);
    return;
  }
  if (server.backend->queue && server.waiting.size() >= *server.backend->queue) {
    events_.add({.time = now_ + round_trip_,
                 .serial = visitor.serial,
                 .subject = visitor.request,
                 .detail = 503,
                 .kind = EventKind::failed_fast});
    return;
  }
  server.waiting.add(visitor);
  collector_.depth(server.slots.size() + server.waiting.size());
}

void Simulation::serve(std::uint32_t backend, std::uint32_t slot, Visitor visitor) {
  Slot& place = servers_[backend].slots[slot];
  place.visitor = visitor;
  place.busy = true;
  place.held = servers_[backend].condition.hangs();
  ++place.use;
  if (!place.held) begin_service(backend, slot);
}

void Simulation::begin_service(std::uint32_t backend, std::uint32_t slot) {
  const Server& server = servers_[backend];
  const Slot& place = server.slots[slot];
  // A request is as much work for every backend and policy; a second attempt is drawn anew.
  const Request& request = requests_[place.visitor.request];
  Random work(request.work + request.tries);
  const double seconds = server.backend->service.sample(work) * server.condition.slowness(now_);
  events_.add({.time = now_ + static_cast<Time>(seconds * 1e9),
               .serial = place.use,
               .subject = backend,
               .detail = static_cast<std::uint16_t>(slot),
               .kind = EventKind::served});
}

void Simulation::served(const Event& event) {
  Server& server = servers_[event.subject];
  Slot& slot = server.slots[event.detail];
  if (!slot.busy || slot.use != event.serial) return;
  if (server.condition.hangs()) {
    slot.held = true;
    return;
  }
  const Visitor visitor = slot.visitor;
  leave_slot(event.subject, event.detail);
  if (!is_current(visitor.request, visitor.serial)) return;  // DAO has closed the connection
  if (round_trip_ == 0) {
    answer(visitor.request, 200);
  } else {
    answers_.add(now_ + round_trip_, visitor.request, visitor.serial);
  }
}

void Simulation::leave_slot(std::uint32_t backend, std::uint32_t slot) {
  Server& server = servers_[backend];
  server.slots[slot].busy = false;
  while (!server.waiting.empty()) {
    const Visitor next = server.waiting.take();
    if (!is_current(next.request, next.serial)) continue;
    serve(backend, slot, next);
    return;
  }
  server.free_slots.push_back(slot);
}

void Simulation::change_condition(std::uint32_t backend) {
  Server& server = servers_[backend];
  const bool refused = server.condition.refuses();
  server.condition.change(now_);
  if (server.condition.next_change() != kEndOfTime) {
    events_.add({.time = server.condition.next_change(), .subject = backend, .kind = EventKind::fault});
  }
  if (server.condition.refuses() && !refused) {  // killed: what it has is lost
    const auto lose = [&](const Visitor& visitor) {
      events_.add({.time = now_, .serial = visitor.serial, .subject = visitor.request, .kind = EventKind::reset});
    };
    while (!server.waiting.empty()) lose(server.waiting.take());
    for (std::uint32_t slot = 0; slot < server.slots.size(); ++slot) {
      if (!server.slots[slot].busy) continue;
      lose(server.slots[slot].visitor);
      leave_slot(backend, slot);
    }
  }
  if (!server.condition.hangs()) {
    for (std::uint32_t slot = 0; slot < server.slots.size(); ++slot) {
      if (!server.slots[slot].busy || !server.slots[slot].held) continue;
      server.slots[slot].held = false;
      begin_service(backend, slot);
    }
  }
}

void Simulation::step_mind(std::uint32_t node) {
  liminal::Mind& mind = *nodes_[node]->mind;
  const sense::ViewPtr before = std::exchange(nodes_[node]->view, mind.step(instant(now_)));
  // As Worker::perceive: whoever came back since is learned anew.
  for (std::size_t i = 0; i < before->upstreams.size(); ++i) {
    if (nodes_[node]->view->upstreams[i].admitted_since == before->upstreams[i].admitted_since) continue;
    for (const std::unique_ptr<Worker>& worker : nodes_[node]->workers) worker->signals[i].begin_anew();
  }
  // A backend that hangs still accepts connections, which is all that these probes ask for.
  for (const liminal::DueProbe& probe : mind.take_due_probes(instant(now_), servers_.size())) {
    const bool refused = servers_[probe.upstream].condition.refuses();
    mind.probed(probe, refused ? liminal::ProbeOutcome::refused : liminal::ProbeOutcome::good, instant(now_));
  }
  events_.add({.time = now_ + to_time(scenario_.mind_step), .subject = node, .kind = EventKind::mind});
}

void Simulation::handle(const Event& event) {
  switch (event.kind) {
    case EventKind::served:
      served(event);
      break;
    case EventKind::failed_fast:
      if (is_current(event.subject, event.serial)) answer(event.subject, event.detail);
      break;
    case EventKind::refused:
      if (is_current(event.subject, event.serial)) fail(event.subject, ErrorKind::refused);
      break;
    case EventKind::reset:
      if (is_current(event.subject, event.serial)) fail(event.subject, ErrorKind::reset);
      break;
    case EventKind::look:
      if (is_current(event.subject, event.serial)) look_for_silence(event.subject);
      break;
    case EventKind::fault:
      change_condition(event.subject);
      break;
    case EventKind::mind:
      step_mind(event.subject);
      break;
  }
}

void Simulation::end_attempt(Request& request, std::uint16_t status, ErrorKind error) {
  const std::uint32_t backend = backend_of(request);
  nodes_[request.node]->in_flight.leave(backend);
  worker_of(request).shard.record(sense::FinishedAttempt{.upstream = backend,
                                                         .status = status,
                                                         .error = error,
                                                         .reused_connection = true,
                                                         .head_ns = status != 0 ? now_ - request.sent : 0});
  const sense::Outcome outcome =
      status != 0 ? sense::outcome_of(status) : sense::outcome_of(Error{.origin = Origin::backend, .kind = error});
  sense::report_outcome(worker_of(request).shard.upstream(backend).outcomes, nodes_[request.node]->admission, backend,
                        outcome, failures_that_close_);
  request.attempt = 0;
}

void Simulation::answer(std::uint32_t index, std::uint16_t status) {
  Request& request = requests_[index];
  worker_of(request).signals[backend_of(request)].answered(instant(request.sent), instant(now_),
                                                           status >= http::status::kServerError);
  end_attempt(request, status, ErrorKind::none);
  if (status < http::status::kServerError) {
    finish(index, status);
  } else {
    retry_or_finish(index, settings_.retry_on.status_5xx, sense::RetryReason::server_error, status);
  }
}

void Simulation::fail(std::uint32_t index, ErrorKind kind) {
  Request& request = requests_[index];
  sense::UpstreamSignals& signals = worker_of(request).signals[backend_of(request)];
  if (kind == ErrorKind::silent) {  // DAO calls it off
    signals.cancelled(instant(request.sent), instant(now_));
  } else {
    signals.failed(instant(request.sent), instant(now_));
  }
  end_attempt(request, 0, kind);
  if (kind == ErrorKind::silent) {
    retry_or_finish(index, settings_.retry_on.silence, sense::RetryReason::silence, http::status::kBadGateway);
  } else if (kind == ErrorKind::refused) {
    retry_or_finish(index, settings_.retry_on.connect_failure, sense::RetryReason::connect_failure,
                    http::status::kBadGateway);
  } else {
    retry_or_finish(index, settings_.retry_on.connection_lost, sense::RetryReason::connection_lost,
                    http::status::kBadGateway);
  }
}

void Simulation::time_out(std::uint32_t index) {
  Request& request = requests_[index];
  worker_of(request).signals[backend_of(request)].failed(instant(request.sent), instant(now_));
  end_attempt(request, 0, ErrorKind::timeout_head);
  finish(index, http::status::kGatewayTimeout);
}

// As server/silence_watch.cpp.
void Simulation::look_for_silence(std::uint32_t index) {
  const Request& request = requests_[index];
  const std::uint32_t backend = backend_of(request);
  std::vector<sense::UpstreamSignals>& signals = worker_of(request).signals;
  const Instant silent_since = signals[backend].last_ended();
  bool others_answer = false;
  for (std::size_t i = 0; i < signals.size(); ++i) {
    others_answer = others_answer || (i != backend && signals[i].last_ended() > silent_since);
  }
  if (others_answer && sense::is_silent(signals[backend], instant(now_))) {
    signals[backend].found_silent();
    fail(index, ErrorKind::silent);
    return;
  }
  events_.add({.time = now_ + to_time(sense::next_look(Nanoseconds(static_cast<std::int64_t>(now_ - request.sent)))),
               .serial = request.attempt,
               .subject = index,
               .kind = EventKind::look});
}

void Simulation::give_up(std::uint32_t index) {
  Request& request = requests_[index];
  worker_of(request).signals[backend_of(request)].cancelled(instant(request.sent), instant(now_));
  end_attempt(request, 0, ErrorKind::none);
  finish(index, 0);
}

void Simulation::retry_or_finish(std::uint32_t index, bool retryable, sense::RetryReason reason, std::uint16_t status) {
  Request& request = requests_[index];
  Worker& worker = worker_of(request);
  if (retryable && request.may_retry) {
    worker.retry_budget.spend();
    worker.shard.record_retry(backend_of(request), reason);
    dispatch(index);
    return;
  }
  const bool elsewhere = request.tries <= settings_.retries && request.tries < servers_.size();
  if (retryable && elsewhere) {
    worker.shard.worker().retries_denied.add();
    collector_.retry_denied(now_);
  }
  finish(index, status);
}

void Simulation::finish(std::uint32_t index, std::uint16_t status) {
  Request& request = requests_[index];
  worker_of(request).shard.record(
      sense::FinishedRequest{.route = 0, .status = status, .duration_ns = now_ - request.arrived});
  collector_.finished(request.arrived, now_, status == 0 || status >= http::status::kServerError);
  request.serial = 0;
  request.attempt = 0;
  free_requests_.push_back(index);
  --under_way_;
}

}  // namespace

std::expected<Run, std::string> simulate(const Scenario& scenario, std::string_view policy) {
  auto config = make_config(scenario, policy);
  if (!config) return std::unexpected(std::move(config.error()));
  const auto began = std::chrono::steady_clock::now();
  Simulation simulation(scenario, *config);
  simulation.run();
  Run run;
  run.policy = policy;
  run.figures = simulation.figures();
  run.virtual_seconds = static_cast<double>(simulation.now()) * 1e-9;
  run.simulated = simulation.arrived();
  run.wall_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  return run;
}

}  // namespace dao::simulate

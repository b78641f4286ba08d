#include "dao/server/worker_state.h"

#include <string_view>
#include <utility>

#include "dao/base/utc_text.h"
#include "dao/liminal/interpolate.h"

namespace dao::server {

std::string_view DateText::at(WallTime now) {
  const std::int64_t second = std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count();
  if (second != second_) {
    second_ = second;
    size_ = utc_text(now, "%a, %d %b %Y %H:%M:%S GMT", text_);
  }
  return {text_.data(), size_};
}

WorkerState::WorkerState(rt::Loop& the_loop, sense::Shard& the_shard, sense::InFlight& the_in_flight,
                         sense::Admission& the_admission, telemetry::AccessLogLane* lane, std::uint64_t seed)
    : loop(the_loop),
      shard(the_shard),
      in_flight(the_in_flight),
      admission(the_admission),
      queue(the_loop, the_in_flight, the_shard),
      view(std::make_shared<const sense::View>()),
      access_log(lane),
      retry_budget(0, 0, loop.now()),
      random(seed) {}

void WorkerState::take_seats(std::vector<Adoption::NewSeat> taken) {
  for (Adoption::NewSeat& seat : taken) {
    if (seat.upstream >= seats.size()) seats.resize(seat.upstream + 1);
    seats[seat.upstream] = std::move(seat.seat);
  }
  signals.grow(seats.size());
}

void WorkerState::configure(const config::Config& config) {
  for (const config::Upstream& upstream : config.upstreams) seats[upstream.number]->configure(config, upstream);
  retry_budget.configure(config.proxy.retry_budget_percent, config.proxy.retry_budget_min_per_second);
}

void WorkerState::adopt(Adoption adoption) {
  take_seats(std::move(adoption.seats));
  if (new_side) {
    adoption.generation = std::move(new_side->generation);
    new_side.reset();
  }
  const bool first = current == nullptr;
  if (!first) older_.push_back(std::move(current));
  current = std::move(adoption.generation);
  if (first) {
    const config::Proxy& proxy = current->config.proxy;
    retry_budget = upstream::RetryBudget(proxy.retry_budget_percent, proxy.retry_budget_min_per_second, loop.now());
  }
  configure(current->config);
}

void WorkerState::begin_transition(Adoption adoption, NewSide coming) {
  take_seats(std::move(adoption.seats));
  coming.generation = std::move(adoption.generation);
  new_side = std::move(coming);
}

void WorkerState::see(const liminal::TransitionView& seen) {
  new_side->view = seen;
  const liminal::EffectiveLimits limits =
      liminal::effective_limits(current->config, new_side->generation->config, seen.progress);
  retry_budget.configure(limits.retry_budget_percent, limits.retry_budget_min_per_second);
}

void WorkerState::end_transition() {
  older_.push_back(std::move(new_side->generation));
  new_side.reset();
  configure(current->config);
}

Released WorkerState::release_unused() {
  Released released;
  std::vector<std::unique_ptr<WorkerGeneration>> unused;
  for (auto& generation : older_) {
    if (generation->requests == 0) unused.push_back(std::move(generation));
  }
  if (unused.empty()) return released;
  std::erase(older_, nullptr);
  std::vector<bool> upstream_stays(seats.size());
  std::vector<bool> rule_stays(shard.routes().size());
  const auto each_number = [](const WorkerGeneration& generation, auto on_upstream, auto on_rule) {
    for (const config::Upstream& upstream : generation.config.upstreams) on_upstream(upstream.number);
    for (const config::Rule& rule : generation.config.rules) on_rule(rule.number);
  };
  const auto stays = [&](const WorkerGeneration& generation) {
    each_number(
        generation, [&](std::uint32_t number) { upstream_stays[number] = true; },
        [&](std::uint32_t number) { rule_stays[number] = true; });
  };
  stays(*current);
  if (new_side) stays(*new_side->generation);
  for (const auto& generation : older_) stays(*generation);
  for (const auto& generation : unused) {
    each_number(
        *generation,
        [&](std::uint32_t number) {
          if (!upstream_stays[number]) released.upstreams.push_back(number);
          upstream_stays[number] = true;
        },
        [&](std::uint32_t number) {
          if (!rule_stays[number]) released.rules.push_back(number);
          rule_stays[number] = true;
        });
  }
  unused.clear();
  for (const std::uint32_t number : released.upstreams) {
    seats[number].reset();
    signals[number] = {};
    shard.forget_upstream(number);
  }
  for (const std::uint32_t number : released.rules) shard.forget_route(number);
  return released;
}

std::unique_ptr<http::ResponseHead> WorkerState::borrow_response_head() {
  if (spare_response_heads_.empty()) return std::make_unique<http::ResponseHead>();
  std::unique_ptr<http::ResponseHead> head = std::move(spare_response_heads_.back());
  spare_response_heads_.pop_back();
  return head;
}

void WorkerState::return_response_head(std::unique_ptr<http::ResponseHead> head) {
  constexpr std::size_t kKept = 512;
  if (spare_response_heads_.size() >= kKept) return;
  head->clear();
  spare_response_heads_.push_back(std::move(head));
}

}  // namespace dao::server

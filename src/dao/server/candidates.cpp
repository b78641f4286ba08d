#include "dao/server/candidates.h"

#include <algorithm>
#include <span>

#include "dao/base/log.h"

namespace dao::server {

Candidates::Candidates(WorkerState& worker, const config::Rule& rule, Route& route, std::uint64_t intent,
                       std::uint64_t key, flow::Selection selection, ExplainHeader* explain)
    : worker_(worker),
      rule_(rule),
      route_(route),
      intent_(intent),
      key_(key),
      selection_(selection),
      explain_(explain) {}

Result<std::uint32_t> Candidates::next() {
  // Only while the policy looks: other requests of this worker use the same list.
  exclude(true);
  align::Choosing choosing = now();
  std::optional<std::size_t> choice;
  if (!fails_open_) choice = choose_admitted(choosing);
  bool full = !choice && choosing.waits_for_room();
  if (!choice && !full && (fails_open_ || tried_count_ == 0)) {
    choosing.fail_open = true;
    choice = choose_any(choosing);
    full = !choice && choosing.waits_for_room();
    if (choice && !fails_open_) fail_open();
  }
  exclude(false);
  if (choice) return take(*choice);
  if (full) {
    return std::unexpected(
        Error{.origin = Origin::us, .kind = ErrorKind::queue_full, .detail = "every upstream at max_in_flight"});
  }
  return std::unexpected(Error{.origin = Origin::us, .kind = ErrorKind::no_upstream, .detail = "no usable upstream"});
}

void Candidates::leave() {
  const align::Candidate& candidate = route_.candidates[last_];
  worker_.queue.freed(candidate.upstream, candidate.max_in_flight);
}

bool Candidates::another_left(bool at_once) const {
  if (tried_count_ >= route_.candidates.size() || tried_count_ >= tried_.size()) return false;
  for (std::size_t i = 0; i < route_.candidates.size(); ++i) {
    const align::Candidate& candidate = route_.candidates[i];
    const bool admitted = fails_open_ || worker_.admission.admits(candidate.upstream);
    const bool full = candidate.max_in_flight != 0 &&
                      worker_.in_flight.count(candidate.upstream) >= std::int64_t{candidate.max_in_flight};
    if (allowed(i) && admitted && !tried(i) && !(at_once && full)) return true;
  }
  return false;
}

bool Candidates::accept(std::uint32_t upstream) {
  const std::optional<std::size_t> index = index_of(upstream);
  if (!index) return false;
  align::Choosing choosing = now();
  choosing.fail_open = fails_open_;
  // The limit may have been larger where the slot comes from.
  const bool within = worker_.in_flight.count(upstream) <= std::int64_t{route_.candidates[*index].max_in_flight};
  if (!within || !choosing.admitted(*index) || !worker_.admission.enter(upstream)) return false;
  if (explain_ != nullptr) explain_->before(*route_.policy, choosing);
  found_ = take(*index);
  return true;
}

bool Candidates::seek() {
  found_ = next();
  return found_ || found_.error().kind != ErrorKind::queue_full;
}

bool Candidates::announce(std::uint64_t worker) {
  bool news = false;
  for (std::size_t i = 0; i < route_.candidates.size(); ++i) {
    const align::Candidate& candidate = route_.candidates[i];
    if (candidate.max_in_flight == 0 || !allowed(i) || tried(i)) continue;
    news = worker_.in_flight.announce(candidate.upstream, worker) || news;
  }
  return news;
}

const void* Candidates::kind() const {
  return selection_.allowed == nullptr && tried_count_ == 0 ? &route_ : nullptr;
}

align::Choosing Candidates::now() {
  const Instant now = worker_.loop.now();
  return {.candidates = route_.candidates,
          .in_flight = worker_.in_flight,
          .admission = worker_.admission,
          .signals = worker_.signals.all(),
          .view = *worker_.view,
          .route = route_.number,
          .now = now,
          .random = worker_.random,
          .intent = intent_,
          .key = key_,
          .slow_start = route_.slow_start.at(now, *worker_.view, route_.candidates)};
}

bool Candidates::tried(std::size_t index) const {
  const auto all = std::span(tried_).first(tried_count_);
  return std::ranges::find(all, index) != all.end();
}

std::optional<std::size_t> Candidates::index_of(std::uint32_t upstream) const {
  const auto found = std::ranges::find(route_.candidates, upstream, &align::Candidate::upstream);
  if (found == route_.candidates.end() || found->max_in_flight == 0) return std::nullopt;
  const auto index = static_cast<std::size_t>(found - route_.candidates.begin());
  return allowed(index) && !tried(index) ? std::optional(index) : std::nullopt;
}

void Candidates::exclude(bool excluded) {
  for (std::size_t i = 0; i < tried_count_; ++i) route_.candidates[tried_[i]].usable = !excluded;
  if (selection_.allowed == nullptr) return;
  for (std::size_t i = 0; i < route_.candidates.size(); ++i) {
    if ((*selection_.allowed)[i] == 0) route_.candidates[i].usable = !excluded;
  }
}

std::uint32_t Candidates::take(std::size_t index) {
  if (explain_ != nullptr) explain_->chose(worker_, rule_, index);
  if (tried_count_ < tried_.size()) tried_[tried_count_++] = index;
  last_ = index;
  return route_.candidates[index].upstream;
}

bool Candidates::count_in(std::size_t index) {
  const align::Candidate& candidate = route_.candidates[index];
  if (candidate.max_in_flight != 0) return worker_.in_flight.try_enter(candidate.upstream, candidate.max_in_flight);
  worker_.in_flight.enter(candidate.upstream);
  return true;
}

bool Candidates::enter(std::size_t index) {
  if (!count_in(index)) return false;
  if (worker_.admission.enter(route_.candidates[index].upstream)) return true;
  worker_.in_flight.leave(route_.candidates[index].upstream);
  return false;
}

std::optional<std::size_t> Candidates::choose_admitted(align::Choosing& choosing) {
  if (selection_.preferred && choosing.usable(*selection_.preferred) && enter(*selection_.preferred)) {
    if (explain_ != nullptr) explain_->before(*route_.policy, choosing);
    return selection_.preferred;
  }
  for (;;) {
    const std::optional<std::size_t> choice = ask_policy(choosing);
    if (!choice || enter(*choice)) return choice;
  }
}

std::optional<std::size_t> Candidates::choose_any(align::Choosing& choosing) {
  for (;;) {
    if (explain_ != nullptr) explain_->before(*route_.policy, choosing);
    const std::optional<std::size_t> choice = route_.policy->choose(choosing);
    if (!choice || count_in(*choice)) return choice;
  }
}

std::optional<std::size_t> Candidates::ask_policy(align::Choosing& choosing) {
  std::optional<std::size_t> choice;
  choosing.only_near = route_.prefers_near;
  if (explain_ != nullptr) explain_->before(*route_.policy, choosing);
  choice = route_.policy->choose(choosing);
  if (choice || !route_.prefers_near) return choice;
  choosing.only_near = false;
  if (explain_ != nullptr) explain_->before(*route_.policy, choosing);
  return route_.policy->choose(choosing);
}

void Candidates::fail_open() {
  fails_open_ = true;
  worker_.shard.record_fail_open(route_.number);
  static log::RateLimit limit{1};
  log::warning(limit, "no upstream is admitted, asking one all the same",
               {{"route", rule_.name}, {"upstreams", route_.candidates.size()}});
}

}  // namespace dao::server

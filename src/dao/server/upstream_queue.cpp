#include "dao/server/upstream_queue.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace dao::server {

namespace {
constexpr std::size_t kBits = 64;
}  // namespace

UpstreamQueue::UpstreamQueue(rt::Loop& loop, sense::InFlight& in_flight, sense::Shard& shard)
    : loop_(loop), in_flight_(in_flight), shard_(shard) {
  fire = [](rt::Timer& self) {
    auto& queue = static_cast<UpstreamQueue&>(self);
    queue.look();
    if (!queue.empty()) queue.loop_.timers().schedule(queue, queue.loop_.now() + kLookInterval);
  };
}

UpstreamQueue::~UpstreamQueue() {
  loop_.timers().cancel(*this);
}

void UpstreamQueue::join(std::shared_ptr<FreedSlots> slots, std::size_t worker) {
  slots_ = std::move(slots);
  worker_ = worker;
  own_ = last_ = std::uint64_t{1} << (worker % kBits);
}

rt::Task<Waited> UpstreamQueue::wait(RoomSeeker& seeker, std::uint32_t route, std::size_t most, Nanoseconds patience,
                                     rt::Cancel& cancel) {
  if (route >= lines_.size()) lines_.resize(std::size_t{route} + 1);
  sense::RouteCounters& counters = shard_.route(route);
  if (lines_[route].length >= most) {
    counters.queue_overflows.add();
    co_return Waited::full;
  }
  Waiter waiter{.seeker = seeker, .route = route, .since = loop_.now()};
  append(waiter);
  // Room that was made before others knew that somebody waits would go unnoticed.
  if (seeker.announce(own_)) look();
  if (waiter.served) co_return Waited::served;

  counters.queued.add();
  if (waiting_ == 1) loop_.timers().schedule(*this, loop_.now() + kLookInterval);
  const rt::Wake wake = co_await waiter.event.wait(loop_, waiter.since + patience, &cancel);
  counters.queue_time.record(static_cast<std::uint64_t>((loop_.now() - waiter.since).count()));
  if (waiter.served) co_return Waited::served;
  remove(waiter);
  if (empty()) loop_.timers().cancel(*this);
  if (wake == rt::Wake::cancelled) co_return Waited::cancelled;
  counters.queue_timeouts.add();
  co_return Waited::timed_out;
}

void UpstreamQueue::append(Waiter& waiter) {
  Line& line = lines_[waiter.route];
  waiter.prev = line.last;
  (line.last == nullptr ? line.first : line.last->next) = &waiter;
  line.last = &waiter;
  ++line.length;
  ++waiting_;
  if (!std::exchange(line.listed, true)) active_.push_back(waiter.route);
  shard_.route(waiter.route).queue_waiting.add();
}

void UpstreamQueue::remove(Waiter& waiter) {
  Line& line = lines_[waiter.route];
  (waiter.prev == nullptr ? line.first : waiter.prev->next) = waiter.next;
  (waiter.next == nullptr ? line.last : waiter.next->prev) = waiter.prev;
  --line.length;
  --waiting_;
  shard_.route(waiter.route).queue_waiting.subtract();
}

void UpstreamQueue::serve(Waiter& waiter) {
  remove(waiter);
  waiter.served = true;
  waiter.event.set();
  if (empty()) loop_.timers().cancel(*this);
}

void UpstreamQueue::forget_empty_lines() {
  std::erase_if(active_, [&](std::uint32_t route) {
    if (lines_[route].length == 0) lines_[route].listed = false;
    return lines_[route].length == 0;
  });
}

void UpstreamQueue::look() {
  if (empty()) return;
  forget_empty_lines();
  for (const std::uint32_t route : active_) {
    const void* without_room = nullptr;
    Waiter* next = nullptr;
    for (Waiter* waiter = lines_[route].first; waiter != nullptr; waiter = next) {
      next = waiter->next;
      const void* kind = waiter->seeker.kind();
      if (kind != nullptr && kind == without_room) continue;
      if (waiter->seeker.seek()) {
        serve(*waiter);
      } else {
        waiter->seeker.announce(own_);
        without_room = kind;
      }
    }
  }
}

UpstreamQueue::Waiter* UpstreamQueue::longest_waiting_for(std::uint32_t upstream) const {
  Waiter* longest = nullptr;
  for (const std::uint32_t route : active_) {
    for (Waiter* waiter = lines_[route].first; waiter != nullptr; waiter = waiter->next) {
      if (longest != nullptr && waiter->since >= longest->since) break;
      if (waiter->seeker.wants(upstream)) longest = waiter;
    }
  }
  return longest;
}

void UpstreamQueue::free_slot(FreedSlot slot) {
  // The limit may have been larger when the others came in.
  if (in_flight_.count(slot.upstream) > slot.limit) {
    in_flight_.free_slot(slot.upstream);
  } else {
    pass_on(slot);
  }
}

void UpstreamQueue::pass_on(FreedSlot slot) {
  do {
    while (const std::uint64_t waiting = in_flight_.waiting(slot.upstream)) {
      const bool here = (waiting & own_) != 0 && (waiting == own_ || own_in_a_row_ < kOwnInARow);
      const std::uint64_t worker = here ? own_ : next_worker(waiting);
      if (!in_flight_.withdraw(slot.upstream, worker)) continue;
      own_in_a_row_ = here ? own_in_a_row_ + 1 : 0;
      if (here ? use_here(slot) : pass_to(worker, slot)) return;
    }
    in_flight_.free_slot(slot.upstream);
    // Who has begun to wait meanwhile may have seen it still taken.
  } while (in_flight_.waiting(slot.upstream) != 0 && in_flight_.try_enter(slot.upstream, slot.limit));
}

bool UpstreamQueue::use_here(FreedSlot slot) {
  for (;;) {
    Waiter* longest = longest_waiting_for(slot.upstream);
    if (longest == nullptr) return false;
    if (!longest->seeker.accept(slot.upstream)) {
      in_flight_.free_slot(slot.upstream);  // of no use to anybody now; look() sees when that changes
      return true;
    }
    serve(*longest);
    if (longest_waiting_for(slot.upstream) == nullptr) return true;
    in_flight_.announce(slot.upstream, own_);
    // What was freed while nobody seemed to wait here.
    if (!in_flight_.try_enter(slot.upstream, slot.limit)) return true;
  }
}

// The next one after the one before, so that all get their turn.
std::uint64_t UpstreamQueue::next_worker(std::uint64_t waiting) {
  const std::uint64_t others = waiting & ~own_;
  const std::uint64_t from = std::rotl(last_, 1);
  last_ = std::rotl(from, std::countr_zero(std::rotr(others, std::countr_zero(from))));
  return last_;
}

bool UpstreamQueue::pass_to(std::uint64_t worker, FreedSlot slot) {
  if (slots_ == nullptr) return false;
  const auto first = static_cast<std::size_t>(std::countr_zero(worker));
  const std::size_t sharing = (slots_->workers() - first + kBits - 1) / kBits;
  return slots_->pass(first + kBits * (turn_++ % sharing), slot);
}

void UpstreamQueue::take_freed() {
  for (const FreedSlot slot : slots_->take(worker_)) {
    if (!use_here(slot)) pass_on(slot);
  }
}

void UpstreamQueue::leave_others() {
  if (slots_ == nullptr) return;
  for (const FreedSlot slot : slots_->close(worker_)) pass_on(slot);
}

}  // namespace dao::server

#include "dao/rt/timer_wheel.h"

#include <bit>
#include <cstddef>

namespace dao::rt {

TimerWheel::TimerWheel(Instant start) : start_(start) {
  for (Level& level : levels_) {
    for (Timer& head : level.slots) head.next = head.prev = &head;
  }
}

void TimerWheel::schedule(Timer& timer, Instant when) {
  if (timer.scheduled()) cancel(timer);
  const Nanoseconds offset = when - start_;
  const std::uint64_t tick =
      offset.count() <= 0 ? 0 : static_cast<std::uint64_t>((offset.count() - 1) / kTick.count()) + 1;
  timer.tick = tick <= current_ ? current_ + 1 : tick;
  if (timer.tick - current_ > kMaxTicks) timer.tick = current_ + kMaxTicks;
  place(timer);
  ++size_;
}

void TimerWheel::place(Timer& timer) {
  // The level is given by the highest bit in which the expiry differs from now, so a slot never holds two laps.
  const std::uint64_t difference = timer.tick ^ current_;
  unsigned level = difference == 0 ? 0 : (static_cast<unsigned>(std::bit_width(difference)) - 1) / kBits;
  if (level >= kLevels) level = kLevels - 1;
  const std::size_t slot = index_of(timer.tick, level);
  Timer& head = levels_[level].slots[slot];
  timer.prev = head.prev;
  timer.next = &head;
  head.prev->next = &timer;
  head.prev = &timer;
  levels_[level].occupied |= 1ULL << slot;
}

void TimerWheel::unlink(Timer& timer) {
  timer.prev->next = timer.next;
  timer.next->prev = timer.prev;
  timer.next = timer.prev = nullptr;
}

void TimerWheel::cancel(Timer& timer) {
  if (!timer.scheduled()) return;
  unlink(timer);  // an emptied slot keeps its bit until it is next visited: cheaper than finding the slot again
  --size_;
}

void TimerWheel::cascade(unsigned level) {
  const std::size_t slot = index_of(current_, level);
  Level& here = levels_[level];
  here.occupied &= ~(1ULL << slot);
  Timer& head = here.slots[slot];
  Timer* timer = head.next;
  head.next = head.prev = &head;
  while (timer != &head) {
    Timer* next = timer->next;
    place(*timer);
    timer = next;
  }
}

void TimerWheel::advance(Instant now) {
  const Nanoseconds offset = now - start_;
  if (offset.count() < 0) return;
  const std::uint64_t target = static_cast<std::uint64_t>(offset.count() / kTick.count());
  while (current_ < target) {
    // Jump over empty stretches of the lowest level; at its end the level above hands down its next slot.
    const std::uint64_t later = levels_[0].occupied & ~((2ULL << index_of(current_, 0)) - 1);
    const std::uint64_t boundary = (current_ | (kSlots - 1)) + 1;
    std::uint64_t next = boundary;
    if (later != 0 && index_of(current_, 0) != kSlots - 1) {
      next = (current_ & ~std::uint64_t{kSlots - 1}) + static_cast<unsigned>(std::countr_zero(later));
    }
    if (next > target) {
      current_ = target;
      return;
    }
    current_ = next;
    if (current_ == boundary) {
      unsigned level = 1;
      while (level < kLevels && index_of(current_, level) == 0) ++level;
      for (unsigned l = level < kLevels ? level : kLevels - 1; l >= 1; --l) cascade(l);
    }
    Level& lowest = levels_[0];
    const std::size_t slot = index_of(current_, 0);
    lowest.occupied &= ~(1ULL << slot);
    Timer& head = lowest.slots[slot];
    while (head.next != &head) {
      Timer& timer = *head.next;
      unlink(timer);
      --size_;
      timer.fire(timer);
    }
  }
}

Instant TimerWheel::next_expiry() const {
  if (size_ == 0) return kNever;
  for (unsigned level = 0; level < kLevels; ++level) {
    const std::size_t here = index_of(current_, level);
    const std::uint64_t later = here == kSlots - 1 ? 0 : levels_[level].occupied & ~((2ULL << here) - 1);
    if (later == 0) continue;
    const std::uint64_t span = std::uint64_t{1} << (kBits * level);
    const std::uint64_t lap = current_ & ~(span * kSlots - 1);
    return start_ + kTick * static_cast<std::int64_t>(lap + span * static_cast<unsigned>(std::countr_zero(later)));
  }
  // Only the top level's wrapped slots are left: look again when the lap ends.
  return start_ + kTick * static_cast<std::int64_t>((current_ | kMaxTicks) + 1);
}

}  // namespace dao::rt

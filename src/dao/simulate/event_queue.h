// The events to come, earliest first: a heap with four children for each parent, which keeps what is compared in one
// cache line. Events of the same time come in the order in which they were added.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "dao/base/clock.h"

namespace dao::simulate {

using Time = std::uint64_t;  // nanoseconds since the start

[[nodiscard]] inline Time to_time(Nanoseconds time) {
  return static_cast<Time>(time.count());
}
inline constexpr Time kEndOfTime = ~Time{0};

enum class EventKind : std::uint8_t { served, failed_fast, refused, reset, look, fault, mind };

struct Event {
  Time time = 0;
  std::uint64_t order = 0;
  std::uint64_t serial = 0;  // of what it is about; it is void when that has another one by now
  std::uint32_t subject = 0;
  std::uint16_t detail = 0;
  EventKind kind = EventKind::served;

  [[nodiscard]] bool before(const Event& other) const {
    return time != other.time ? time < other.time : order < other.order;
  }
};

class EventQueue {
 public:
  [[nodiscard]] Time next_time() const { return heap_.empty() ? kEndOfTime : heap_.front().time; }

  void add(Event event) {
    event.order = added_++;
    heap_.push_back(event);
    std::size_t at = heap_.size() - 1;
    while (at > 0) {
      const std::size_t parent = (at - 1) / kChildren;
      if (!event.before(heap_[parent])) break;
      heap_[at] = heap_[parent];
      at = parent;
    }
    heap_[at] = event;
  }

  // Not to be called when it is empty.
  Event take() {
    const Event first = heap_.front();
    const Event last = heap_.back();
    heap_.pop_back();
    const std::size_t size = heap_.size();
    if (size == 0) return first;
    std::size_t at = 0;
    for (;;) {
      const std::size_t begin = at * kChildren + 1;
      if (begin >= size) break;
      std::size_t least = begin;
      for (std::size_t child = begin + 1; child < std::min(begin + kChildren, size); ++child) {
        if (heap_[child].before(heap_[least])) least = child;
      }
      if (!heap_[least].before(last)) break;
      heap_[at] = heap_[least];
      at = least;
    }
    heap_[at] = last;
    return first;
  }

 private:
  static constexpr std::size_t kChildren = 4;
  std::vector<Event> heap_;
  std::uint64_t added_ = 0;
};

}  // namespace dao::simulate

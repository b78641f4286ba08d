// Things that come due after the same time each, so in the order in which they were added: a line instead of a heap.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "dao/simulate/event_queue.h"

namespace dao::simulate {

struct Due {
  Time time = 0;
  std::uint64_t serial = 0;
  std::uint32_t subject = 0;
};

// First in, first out. Memory grows with the most that stand in it at once.
template <class T>
class Line {
 public:
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] const T& front() const { return ring_[first_]; }
  void add(const T& item) {
    if (size_ == ring_.size()) grow();
    ring_[(first_ + size_++) & (ring_.size() - 1)] = item;
  }
  T take() {
    const T item = ring_[first_];
    first_ = (first_ + 1) & (ring_.size() - 1);
    --size_;
    return item;
  }

 private:
  void grow() {
    std::vector<T> larger(ring_.size() * 2);
    for (std::size_t i = 0; i < size_; ++i) larger[i] = ring_[(first_ + i) & (ring_.size() - 1)];
    ring_ = std::move(larger);
    first_ = 0;
  }

  std::vector<T> ring_ = std::vector<T>(16);  // a power of two
  std::size_t first_ = 0;
  std::size_t size_ = 0;
};

class DueLine {
 public:
  [[nodiscard]] Time next_time() const { return line_.empty() ? kEndOfTime : line_.front().time; }
  void add(Time time, std::uint32_t subject, std::uint64_t serial) { line_.add({time, serial, subject}); }
  Due take() { return line_.take(); }

 private:
  Line<Due> line_;
};

}  // namespace dao::simulate

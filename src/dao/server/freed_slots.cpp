#include "dao/server/freed_slots.h"

#include <utility>

namespace dao::server {

void FreedSlots::open(std::size_t worker, std::function<void()> wake) {
  const std::scoped_lock lock(boxes_[worker].mutex);
  boxes_[worker].wake = std::move(wake);
}

bool FreedSlots::pass(std::size_t worker, FreedSlot slot) {
  Box& box = boxes_[worker];
  const std::scoped_lock lock(box.mutex);
  if (!box.wake) return false;
  box.slots.push_back(slot);
  if (box.slots.size() == 1) box.wake();
  return true;
}

std::vector<FreedSlot> FreedSlots::take(std::size_t worker) {
  const std::scoped_lock lock(boxes_[worker].mutex);
  return std::exchange(boxes_[worker].slots, {});
}

std::vector<FreedSlot> FreedSlots::close(std::size_t worker) {
  const std::scoped_lock lock(boxes_[worker].mutex);
  boxes_[worker].wake = nullptr;
  return std::exchange(boxes_[worker].slots, {});
}

}  // namespace dao::server

// Slots of upstreams with a limit (`max_in_flight`) on their way from the worker that has freed one to another where a
// request waits for it. A slot stays counted on its way, so that nobody comes between. Any thread; behind a lock, for
// only requests that wait have to do with it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

namespace dao::server {

struct FreedSlot {
  std::uint32_t upstream = 0;
  std::uint32_t limit = 0;  // of the upstream, as the one knows it that frees the slot
};

class FreedSlots {
 public:
  explicit FreedSlots(std::size_t workers) : boxes_(workers) {}

  // `wake`: makes that worker take() soon; any thread. Before that, and after close(), nothing is passed to it.
  void open(std::size_t worker, std::function<void()> wake);
  // The slot is that worker's from now on. False: it takes none.
  bool pass(std::size_t worker, FreedSlot slot);
  // What was passed to it since.
  [[nodiscard]] std::vector<FreedSlot> take(std::size_t worker);
  // The worker ends; what it did not take yet is the caller's.
  [[nodiscard]] std::vector<FreedSlot> close(std::size_t worker);
  [[nodiscard]] std::size_t workers() const { return boxes_.size(); }

 private:
  struct Box {
    std::mutex mutex;
    std::function<void()> wake;  // empty: closed
    std::vector<FreedSlot> slots;
  };
  std::vector<Box> boxes_;
};

}  // namespace dao::server

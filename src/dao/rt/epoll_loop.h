// The loop of a real thread, over epoll. File descriptors are registered once, edge-triggered, for everything; after
// that no epoll_ctl is made until they are closed. Why not io_uring: docs/architecture.md.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "dao/rt/loop.h"

struct epoll_event;

namespace dao::rt {

// Something with a file descriptor. on_events may only set flags and events (which schedule coroutines): no user code
// runs while a batch is dispatched, so nothing a later event of the batch refers to can be freed under it.
class IoSource {
 public:
  IoSource() = default;
  IoSource(const IoSource&) = delete;
  IoSource& operator=(const IoSource&) = delete;
  virtual void on_events(std::uint32_t epoll_events) = 0;

 protected:
  ~IoSource() = default;
};

class EpollLoop final : public Loop {
 public:
  // Aborts when the kernel refuses an epoll or event descriptor: nothing can work without them.
  explicit EpollLoop(const Clock& clock);
  ~EpollLoop() override;

  // Watches `fd` for every edge until it is closed. False when the kernel refuses (out of memory or watches).
  [[nodiscard]] bool watch(int fd, IoSource& source);
  // Level-triggered, for descriptors read by others (a listener that hands out one connection at a time).
  [[nodiscard]] bool watch_level(int fd, IoSource& source);
  void unwatch(int fd);
  // For a descriptor that watch() was told of: nothing is heard of it any more. Without a system call of its own for
  // the watch, which the kernel ends with the descriptor; but not while another process has a copy of that (epoll(7)).
  void close(int fd);
  // Any thread: from `done` on, which is called on the loop's thread, copies of the descriptors may be elsewhere:
  // between the fork and the exec of a child. False: no longer.
  void share_descriptors(bool shared, std::function<void()> done);

  // Before run(): asks for events again and again for so long before it sleeps. What comes meanwhile is served without
  // the time and the cost of waking up, at the price of a busier CPU. Zero: sleeps at once.
  void set_busy_poll(Nanoseconds at_most) { busy_poll_ = at_most; }

  // Any thread: runs `message` on this loop's thread, in order of posting.
  void post(std::function<void()> message);

  // Until stop(); then returns after the current batch. May be called again.
  void run() override;
  // Any thread.
  void request_stop();

 private:
  class WakeUp final : public IoSource {
   public:
    explicit WakeUp(EpollLoop& loop) : loop_(loop) {}
    void on_events(std::uint32_t) override { loop_.has_mail_ = true; }

   private:
    EpollLoop& loop_;
  };
  void take_mail();
  [[nodiscard]] int wait_timeout_ms() const;
  int wait(epoll_event* events);

  int epoll_fd_;
  int event_fd_;
  WakeUp wake_up_{*this};
  bool has_mail_ = false;
  bool descriptors_shared_ = false;
  Nanoseconds busy_poll_ = Nanoseconds::zero();
  std::mutex mail_mutex_;
  std::vector<std::function<void()>> mail_;
};

}  // namespace dao::rt

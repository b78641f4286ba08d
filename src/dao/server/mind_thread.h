// The mind's thread: steps it ten times a second, delivers its View to the workers, and makes its probes. No request
// waits for it.
#pragma once

#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "dao/liminal/mind.h"
#include "dao/rt/cancel.h"
#include "dao/rt/epoll_loop.h"
#include "dao/sense/histogram.h"
#include "dao/server/prober.h"

namespace dao::server {

class MindThread {
 public:
  // `deliver` is called on the mind's thread with each View.
  MindThread(liminal::Mind& mind, const std::shared_ptr<const Generation>& generation,
             std::function<void(const sense::ViewPtr&)> deliver);
  ~MindThread();
  MindThread(const MindThread&) = delete;
  MindThread& operator=(const MindThread&) = delete;

  void start();
  // Ends the thread.
  void stop();
  // Any thread: these generations are in use from now on, the newest first. `done` is called on the mind's thread when
  // it knows nothing of others any more.
  void reconfigure(std::vector<std::shared_ptr<const Generation>> generations, std::function<void()> done);
  // Any thread: where an upstream is now; for probes.
  void resolved(std::size_t upstream, std::vector<net::SocketAddress> addresses) {
    prober_.addresses(upstream, std::move(addresses));
  }
  // Any thread: the last View; null before the first.
  [[nodiscard]] sense::ViewPtr latest() const;
  // Any thread: what the steps took.
  [[nodiscard]] const sense::Histogram& step_durations() const { return step_durations_; }

 private:
  rt::Task<> think();
  void see();

  const SystemClock clock_;
  rt::EpollLoop loop_;
  liminal::Mind& mind_;
  std::function<void(const sense::ViewPtr&)> deliver_;
  rt::Cancel end_;
  Prober prober_;
  mutable std::mutex latest_mutex_;
  sense::ViewPtr latest_;
  sense::Histogram step_durations_;
  std::thread thread_;
};

}  // namespace dao::server

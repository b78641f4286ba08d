// The mind's thread: steps it ten times a second, delivers its View to the workers, and makes its probes. No request
// waits for it.
#pragma once

#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "dao/liminal/mind.h"
#include "dao/memory/learned.h"
#include "dao/rt/cancel.h"
#include "dao/rt/epoll_loop.h"
#include "dao/sense/histogram.h"
#include "dao/server/prober.h"

namespace dao::server {

class MindThread {
 public:
  // `deliver` is called on the mind's thread with each View.
  // `learned`: what the mind knows is kept there and comes from there; used on the mind's thread only, and outlives it.
  MindThread(liminal::Mind& mind, memory::Learned& learned, const std::shared_ptr<const Generation>& generation,
             std::function<void(const sense::ViewPtr&)> deliver);
  ~MindThread();
  MindThread(const MindThread&) = delete;
  MindThread& operator=(const MindThread&) = delete;

  // Returns when what was learned before is there again.
  void start();
  // Ends the thread.
  void stop();
  // Any thread: these generations are in use from now on; settings of the mind are those of the first. `done` is called
  // on the mind's thread when it knows nothing of others any more.
  void reconfigure(std::vector<std::shared_ptr<const Generation>> generations, std::function<void()> done);
  // Any thread: rt/epoll_loop.h.
  void share_descriptors(bool shared, std::function<void()> done) { loop_.share_descriptors(shared, std::move(done)); }
  // Any thread but the mind's: what was learned is handed to the store; waits for that.
  void save_learned();
  // Any thread: another process learns from now on.
  void stop_learning();
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
  memory::Learned& learned_;
  bool learns_ = true;
  memory::Roster roster_;  // before the first step: what the mind begins with
  std::function<void(const sense::ViewPtr&)> deliver_;
  rt::Cancel end_;
  Prober prober_;
  mutable std::mutex latest_mutex_;
  sense::ViewPtr latest_;
  sense::Histogram step_durations_;
  std::thread thread_;
};

}  // namespace dao::server

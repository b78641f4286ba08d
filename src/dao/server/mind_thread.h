// The mind's thread: steps it ten times a second and delivers its View to the workers. No request waits for it.
#pragma once

#include <functional>
#include <mutex>
#include <thread>

#include "dao/liminal/mind.h"
#include "dao/rt/cancel.h"
#include "dao/rt/epoll_loop.h"
#include "dao/sense/histogram.h"

namespace dao::server {

class MindThread {
 public:
  // `deliver` is called on the mind's thread with each View.
  MindThread(liminal::Mind& mind, std::function<void(const sense::ViewPtr&)> deliver);
  ~MindThread();
  MindThread(const MindThread&) = delete;
  MindThread& operator=(const MindThread&) = delete;

  void start();
  // Ends the thread.
  void stop();
  // Any thread: the last View; null before the first.
  [[nodiscard]] sense::ViewPtr latest() const;
  // Any thread: what the steps took.
  [[nodiscard]] const sense::Histogram& step_durations() const { return step_durations_; }

 private:
  rt::Task<> think();

  const SystemClock clock_;
  rt::EpollLoop loop_;
  liminal::Mind& mind_;
  std::function<void(const sense::ViewPtr&)> deliver_;
  rt::Cancel end_;
  mutable std::mutex latest_mutex_;
  sense::ViewPtr latest_;
  sense::Histogram step_durations_;
  std::thread thread_;
};

}  // namespace dao::server

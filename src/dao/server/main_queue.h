// Work for the main thread, which otherwise waits for signals: whoever has some puts it here and wakes it with a signal
// that nothing else uses.
#pragma once

#include <pthread.h>

#include <csignal>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

namespace dao::server {

class MainQueue {
 public:
  // To be made by the main thread, which has signal() blocked.
  MainQueue() : thread_(pthread_self()) {}

  static int signal() { return SIGRTMIN; }

  // Any thread.
  void post(std::function<void()> work) {
    {
      const std::lock_guard lock(mutex_);
      work_.push_back(std::move(work));
    }
    pthread_kill(thread_, signal());
  }
  // The main thread, after that signal: does all that is there.
  void run() {
    std::vector<std::function<void()>> work;
    {
      const std::lock_guard lock(mutex_);
      work.swap(work_);
    }
    for (const auto& each : work) each();
  }

 private:
  const pthread_t thread_;
  std::mutex mutex_;
  std::vector<std::function<void()>> work_;
};

}  // namespace dao::server

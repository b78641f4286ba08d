#include "dao/server/mind_thread.h"

#include <utility>

#include "dao/rt/event.h"

namespace dao::server {

MindThread::MindThread(liminal::Mind& mind, std::function<void(const sense::ViewPtr&)> deliver)
    : loop_(clock_), mind_(mind), deliver_(std::move(deliver)) {}

MindThread::~MindThread() {
  stop();
}

void MindThread::start() {
  thread_ = std::thread([this] {
    loop_.spawn(think());
    loop_.run();
  });
}

void MindThread::stop() {
  if (!thread_.joinable()) return;
  loop_.post([this] { end_.request(); });
  thread_.join();
}

sense::ViewPtr MindThread::latest() const {
  const std::lock_guard lock(latest_mutex_);
  return latest_;
}

rt::Task<> MindThread::think() {
  Instant next = loop_.now();
  while (!end_.requested()) {
    const Instant began = loop_.precise_now();
    const sense::ViewPtr view = mind_.step(loop_.now());
    step_durations_.record(static_cast<std::uint64_t>((loop_.precise_now() - began).count()));
    {
      const std::lock_guard lock(latest_mutex_);
      latest_ = view;
    }
    deliver_(view);
    next = std::max(next + liminal::kStepInterval, loop_.now());
    const rt::Wake wake = co_await rt::sleep_until(loop_, next, &end_);
    static_cast<void>(wake);
  }
  loop_.stop();
}

}  // namespace dao::server

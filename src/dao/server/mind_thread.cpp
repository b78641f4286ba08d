#include "dao/server/mind_thread.h"

#include <semaphore>
#include <utility>

#include "dao/base/log.h"
#include "dao/rt/event.h"

namespace dao::server {

MindThread::MindThread(liminal::Mind& mind, memory::Learned& learned,
                       const std::shared_ptr<const Generation>& generation,
                       std::function<void(const sense::ViewPtr&)> deliver)
    : loop_(clock_),
      mind_(mind),
      learned_(learned),
      roster_(memory::Roster::of(*generation->config)),
      deliver_(std::move(deliver)),
      prober_(loop_, mind_, end_) {
  prober_.follow({generation});
}

MindThread::~MindThread() {
  stop();
}

void MindThread::start() {
  std::binary_semaphore ready(0);
  thread_ = std::thread([this, &ready] {
    if (const std::size_t restored = learned_.adopt(roster_, mind_, loop_.now()); restored > 0) {
      log::info("going on with what was learned before", {{"upstreams_and_routes", restored}});
    }
    ready.release();
    loop_.spawn(think());
    loop_.run();
  });
  ready.acquire();
}

void MindThread::stop() {
  if (!thread_.joinable()) return;
  loop_.post([this] { end_.request(); });
  thread_.join();
}

void MindThread::reconfigure(std::vector<std::shared_ptr<const Generation>> generations, std::function<void()> done) {
  loop_.post([this, generations = std::move(generations), done = std::move(done)] {
    std::vector<std::shared_ptr<const config::Config>> configs;
    for (const auto& generation : generations) configs.push_back(generation->config);
    memory::Roster roster = memory::Roster::of(*configs.front());
    for (std::size_t i = 1; i < configs.size(); ++i) roster.add(*configs[i]);
    mind_.reconfigure(std::move(configs), loop_.now());
    learned_.adopt(roster, mind_, loop_.now());
    prober_.follow(generations);
    // Whoever gets a number next must not find there what was seen of its former owner.
    see();
    done();
  });
}

void MindThread::save_learned() {
  std::binary_semaphore saved(0);
  loop_.post([this, &saved] {
    if (learns_) learned_.save_all(mind_, loop_.now());
    saved.release();
  });
  saved.acquire();
}

void MindThread::stop_learning() {
  loop_.post([this] { learns_ = false; });
}

sense::ViewPtr MindThread::latest() const {
  const std::lock_guard lock(latest_mutex_);
  return latest_;
}

void MindThread::see() {
  const Instant began = loop_.precise_now();
  const sense::ViewPtr view = mind_.step(loop_.now());
  step_durations_.record(static_cast<std::uint64_t>((loop_.precise_now() - began).count()));
  {
    const std::lock_guard lock(latest_mutex_);
    latest_ = view;
  }
  deliver_(view);
}

rt::Task<> MindThread::think() {
  Instant next = loop_.now();
  while (!end_.requested()) {
    see();
    if (learns_) learned_.step(mind_, loop_.now());
    prober_.step();
    next = std::max(next + liminal::kStepInterval, loop_.now());
    const rt::Wake wake = co_await rt::sleep_until(loop_, next, &end_);
    static_cast<void>(wake);
  }
  if (learns_) learned_.save_all(mind_, loop_.now());
  while (prober_.running() > 0) {
    auto turn = rt::next_batch(loop_);
    co_await turn;
  }
  loop_.stop();
}

}  // namespace dao::server

#include <pthread.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <memory>
#include <semaphore>
#include <thread>

#include "dao/base/log.h"
#include "dao/server/process.h"

namespace dao::server {

int Process::obey_signals() {
  for (;;) {
    int signal = 0;
    if (sigwait(&signals_, &signal) != 0) continue;
    if (signal == MainQueue::signal()) {
      queue_->run();
      continue;
    }
    switch (signal) {
      case SIGUSR1:
        log::info("reopening logs", {});
        if (const auto log = access_log()) log->reopen();
        break;
      case SIGHUP:
        queue_->run();  // what came before it: numbers that were released can be used anew
        reload("SIGHUP");
        break;
      case SIGUSR2:
        if (const pid_t successor = upgrade(); successor != 0) {
          sd_notifyf(0, "MAINPID=%d", static_cast<int>(successor));
          return drain("upgrade", true);
        }
        break;
      default:
        return drain(signal == SIGTERM ? "SIGTERM" : "SIGINT", false);
    }
  }
}

bool Process::share_descriptors(bool shared) {
  const auto told = std::make_shared<std::counting_semaphore<>>(0);
  const auto tell = [told] { told->release(); };
  std::size_t loops = worker_count_ + 1;
  for (const auto& worker : workers_) worker->share_descriptors(shared, tell);
  mind_thread_->share_descriptors(shared, tell);
  for (const SideDoor* door : {&telemetry_, &admin_}) {
    if (door->service() == nullptr) continue;
    door->service()->share_descriptors(shared, tell);
    ++loops;
  }
  constexpr auto kPatience = std::chrono::seconds(5);
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (std::size_t i = 0; i < loops; ++i) {
    if (!told->try_acquire_until(deadline)) return false;
  }
  return true;
}

pid_t Process::upgrade() {
  log::info("upgrading", {{"program", program_.path}});
  std::vector<HandedOver> sockets = listeners_->sockets();
  for (const SideDoor* door : {&telemetry_, &admin_}) {
    if (door->fd() >= 0) sockets.push_back({door->key(), {door->fd()}});
  }
  // It goes on with what is known now.
  mind_thread_->save_learned();
  constexpr Milliseconds kStorePatience{1000};
  if (store_->flush(kStorePatience) == memory::Kept::not_yet) log::warning("the store is slow", {});
  if (!share_descriptors(true)) {
    log::error("upgrade failed, carrying on", {{"reason", "a thread does not answer"}});
    return 0;
  }
  const auto successor = start_successor(program_, sockets, signals_);
  share_descriptors(false);
  if (!successor) {
    log::error("upgrade failed, carrying on", {{"reason", successor.error()}});
    return 0;
  }
  log::info("upgraded", {{"successor", *successor}});
  return *successor;
}

int Process::drain(std::string_view why, bool handed_over) {
  const Milliseconds timeout = config()->server.drain_timeout;
  log::info("draining", {{"signal", why}, {"timeout_ms", timeout.count()}});
  ending_ = true;
  queue_->run();
  const auto started = std::chrono::steady_clock::now();
  // Clients that use a kept connection now and then get half of the time to do so once more.
  const auto close_idle_at = handed_over ? started + timeout / 2 : started;
  if (handed_over) {
    handed_over_ = true;
    mind_thread_->stop_learning();
    telemetry_.close(true);
    admin_.close(true);
    for (const auto& worker : workers_) worker->hand_over();
  } else {
    ready_ = false;
    sd_notify(0, "STOPPING=1");
    for (const auto& worker : workers_) worker->drain();
  }

  // Workers end by themselves; meanwhile this thread waits for them, a second signal, or the end of patience.
  std::atomic<bool> ended{false};
  const pthread_t self = pthread_self();
  std::thread waiter([this, &ended, self] {
    for (const auto& worker : workers_) worker->join();
    ended = true;
    pthread_kill(self, SIGUSR1);
  });
  const auto deadline = started + timeout;
  bool idle_closed = !handed_over;
  while (!ended) {
    const auto now = std::chrono::steady_clock::now();
    if (now >= deadline) end_at_once(0, "drain timeout: closing what is still open");
    if (!idle_closed && now >= close_idle_at) {
      idle_closed = true;
      for (const auto& worker : workers_) worker->close_idle();
    }
    const auto left = (idle_closed ? deadline : close_idle_at) - now;
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(left);
    const timespec wait{.tv_sec = seconds.count(), .tv_nsec = (left - seconds).count()};
    const int signal = sigtimedwait(&signals_, nullptr, &wait);
    if (signal == MainQueue::signal()) queue_->run();
    constexpr int kSignalBase = 128;
    if (signal == SIGTERM || signal == SIGINT) end_at_once(kSignalBase + signal, "second signal: ending at once");
  }
  waiter.join();
  names_->stop();
  mind_thread_->stop();
  telemetry_.close(false);
  admin_.close(false);
  workers_.clear();
  access_log_.reset();
  unlink_sockets();
  log::info("stopped", {});
  return 0;
}

void Process::unlink_sockets() const {
  if (handed_over_) return;
  for (const std::string& path : listeners_->unix_paths()) unlink(path.c_str());
  for (const SideDoor* door : {&telemetry_, &admin_}) {
    if (!door->unix_path().empty()) unlink(door->unix_path().c_str());
  }
}

// Threads are still at work, so nothing is torn down; logs are written out first.
void Process::end_at_once(int status, std::string_view why) const {
  std::int64_t active = 0;
  for (const auto& shard : shards_) active += shard->worker().requests_active.value();
  log::warning(why, {{"requests_active", active}});
  constexpr Milliseconds kPatience{500};
  if (access_log_) access_log_->flush(kPatience);
  store_->flush(kPatience);
  unlink_sockets();
  log::flush(kPatience);
  _exit(status);
}

}  // namespace dao::server

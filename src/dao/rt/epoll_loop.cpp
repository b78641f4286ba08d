#include "dao/rt/epoll_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace dao::rt {

namespace {
// Small, so that a flood of events leaves the others their share: what came later is asked for again in a moment.
constexpr int kBatch = 64;
constexpr std::uint32_t kEdges = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
}  // namespace

EpollLoop::EpollLoop(const Clock& clock)
    : Loop(clock), epoll_fd_(epoll_create1(EPOLL_CLOEXEC)), event_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (epoll_fd_ < 0 || event_fd_ < 0 || !watch_level(event_fd_, wake_up_)) {
    std::perror("dao: cannot create an event loop");
    std::abort();
  }
}

EpollLoop::~EpollLoop() {
  ::close(event_fd_);
  ::close(epoll_fd_);
}

bool EpollLoop::watch(int fd, IoSource& source) {
  epoll_event event{};
  event.events = kEdges;
  event.data.ptr = &source;
  return epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) == 0;
}

bool EpollLoop::watch_level(int fd, IoSource& source) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = &source;
  return epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) == 0;
}

void EpollLoop::unwatch(int fd) {
  epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr);
}

void EpollLoop::close(int fd) {
  if (descriptors_shared_) unwatch(fd);
  ::close(fd);
}

void EpollLoop::share_descriptors(bool shared, std::function<void()> done) {
  post([this, shared, done = std::move(done)] {
    descriptors_shared_ = shared;
    done();
  });
}

void EpollLoop::post(std::function<void()> message) {
  bool first = false;
  {
    const std::lock_guard lock(mail_mutex_);
    first = mail_.empty();
    mail_.push_back(std::move(message));
  }
  if (first) {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(event_fd_, &one, sizeof one);  // fails only when already signalled
  }
}

void EpollLoop::request_stop() {
  post([this] { stop(); });
}

void EpollLoop::take_mail() {
  has_mail_ = false;
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t taken = read(event_fd_, &count, sizeof count);
  std::vector<std::function<void()>> mail;
  {
    const std::lock_guard lock(mail_mutex_);
    mail.swap(mail_);
  }
  for (auto& message : mail) message();
}

int EpollLoop::wait_timeout_ms() const {
  if (has_ready()) return 0;
  const Instant next = const_cast<EpollLoop*>(this)->timers().next_expiry();
  if (next == kNever) return -1;
  const Nanoseconds left = next - precise_now();
  if (left.count() <= 0) return 0;
  constexpr Nanoseconds kLongest = std::chrono::hours(1);
  return static_cast<int>(((left < kLongest ? left : kLongest).count() + 999'999) / 1'000'000);
}

int EpollLoop::wait(epoll_event* events) {
  if (busy_poll_ > Nanoseconds::zero() && wait_timeout_ms() != 0) {
    const Instant sleep_at = precise_now() + busy_poll_;
    do {
      const int count = epoll_wait(epoll_fd_, events, kBatch, 0);
      if (count != 0) return count;
    } while (precise_now() < sleep_at);
  }
  return epoll_wait(epoll_fd_, events, kBatch, wait_timeout_ms());
}

void EpollLoop::run() {
  epoll_event events[kBatch];
  while (!stopping()) {
    const int count = wait(events);
    if (count < 0 && errno != EINTR) {
      std::perror("dao: epoll_wait");
      std::abort();
    }
    refresh_now();
    for (int i = 0; i < count; ++i) static_cast<IoSource*>(events[i].data.ptr)->on_events(events[i].events);
    if (has_mail_) take_mail();
    timers().advance(now());
    run_ready();
  }
  stopped();
}

}  // namespace dao::rt

#include "dao/memory/inotify.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

namespace dao::memory {

Inotify::Inotify() : fd_(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
  if (fd_ < 0) error_ = errno;
}

Inotify::~Inotify() {
  if (fd_ >= 0) close(fd_);
}

std::expected<int, int> Inotify::watch(const std::string& path, std::uint32_t mask) {
  if (fd_ < 0) return std::unexpected(error_);
  const int watch = inotify_add_watch(fd_, path.c_str(), mask);
  if (watch < 0) return std::unexpected(errno);
  return watch;
}

void Inotify::unwatch(int watch) {
  inotify_rm_watch(fd_, watch);
}

void Inotify::read(const std::function<void(const Event&)>& each) {
  if (fd_ < 0) return;
  alignas(inotify_event) std::array<char, 16384> buffer;
  while (true) {
    const ssize_t count = ::read(fd_, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    for (std::size_t at = 0; at < static_cast<std::size_t>(count);) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof event);
      const char* name = buffer.data() + at + sizeof event;
      each({.watch = event.wd, .mask = event.mask, .name = {name, strnlen(name, event.len)}});
      at += sizeof event + event.len;
    }
  }
}

}  // namespace dao::memory

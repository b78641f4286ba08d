// The kernel's news of files, inotify(7), as values. One thread.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <string>
#include <string_view>

namespace dao::memory {

class Inotify {
 public:
  struct Event {
    int watch = -1;
    std::uint32_t mask = 0;  // IN_*; with IN_Q_OVERFLOW there is no watch
    std::string_view name;   // in a directory that is watched; empty: the watched one itself
  };

  Inotify();
  ~Inotify();
  Inotify(const Inotify&) = delete;
  Inotify& operator=(const Inotify&) = delete;

  // -1 if the kernel gave none; error() says why.
  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] int error() const { return error_; }
  // The number of the watch, the same for the same file or directory; the error is an errno.
  std::expected<int, int> watch(const std::string& path, std::uint32_t mask);
  void unwatch(int watch);
  // Hands over what has come; does not wait.
  void read(const std::function<void(const Event&)>& each);

 private:
  int fd_ = -1;
  int error_ = 0;
};

}  // namespace dao::memory

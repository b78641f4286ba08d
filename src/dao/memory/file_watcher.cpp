#include "dao/memory/file_watcher.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "dao/base/log.h"
#include "dao/base/signals_blocked.h"

namespace dao::memory {

namespace {

constexpr std::uint32_t kNames =
    IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF;
constexpr std::uint32_t kWriting = IN_MODIFY | IN_CLOSE_WRITE;
constexpr std::uint32_t kSelf = IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT;

std::string key_of(const Inotify::Event& event) {
  return fmt::format("{}/{}", event.watch, event.name);
}

// Whoever creates a file like this has it open, and will close it.
bool will_be_closed(const std::string& path) {
  struct stat status{};
  return lstat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && status.st_nlink == 1;
}

Nanoseconds since_epoch(const timespec& time) {
  return std::chrono::seconds(time.tv_sec) + Nanoseconds(time.tv_nsec);
}

}  // namespace

FileWatcher::FileWatcher(const Clock& clock, std::function<void()> changed, const Settings& settings)
    : clock_(clock),
      changed_(std::move(changed)),
      settings_(settings),
      wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      debounce_(settings.debounce) {
  if (settings_.use_inotify) inotify_.emplace();
  const SignalsBlocked quiet;
  thread_ = std::thread([this] { run(); });
}

FileWatcher::~FileWatcher() {
  stop();
  if (wake_fd_ >= 0) close(wake_fd_);
}

void FileWatcher::watch(Watched watched) {
  Asked asked;
  for (File& file : watched.files) {
    std::string path = absolute_path(file.path);
    asked.known[path] = file.read ? *file.read : read_content(path);
    asked.files.push_back(std::move(path));
  }
  asked.patterns = std::move(watched.patterns);
  for (std::string& pattern : asked.patterns) pattern = absolute_path(pattern);
  {
    const std::lock_guard lock(mutex_);
    asked_ = std::move(asked);
  }
  eventfd_write(wake_fd_, 1);
}

void FileWatcher::stop() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  eventfd_write(wake_fd_, 1);
  if (thread_.joinable()) thread_.join();
}

void FileWatcher::run() {
  while (take_over()) {
    const Instant now = clock_.now();
    if (now >= debounce_.due()) {
      look();
    } else if (now >= next_glance_) {
      glance();
    } else {
      wait_until(std::min(debounce_.due(), next_glance_));
      if (inotify_) inotify_->read([this](const Inotify::Event& event) { hear(event); });
      if (std::exchange(trail_may_differ_, false)) follow();
    }
  }
}

void FileWatcher::wait_until(Instant when) {
  std::array<pollfd, 2> fds = {{{.fd = wake_fd_, .events = POLLIN, .revents = 0},
                                {.fd = inotify_ ? inotify_->fd() : -1, .events = POLLIN, .revents = 0}}};
  // Without the descriptor to be woken by it looks for news by itself.
  constexpr Nanoseconds kUnwoken = std::chrono::milliseconds(100);
  if (wake_fd_ < 0) when = std::min(when, clock_.now() + kUnwoken);
  timespec wait{};
  if (when != kNever) {
    const Nanoseconds left = std::max(when - clock_.now(), Nanoseconds::zero());
    wait.tv_sec = std::chrono::duration_cast<std::chrono::seconds>(left).count();
    wait.tv_nsec = (left % std::chrono::seconds(1)).count();
  }
  ppoll(fds.data(), fds.size(), when == kNever ? nullptr : &wait, nullptr);
  eventfd_t woken = 0;
  eventfd_read(wake_fd_, &woken);
}

// False: it is over.
bool FileWatcher::take_over() {
  std::optional<Asked> asked;
  {
    const std::lock_guard lock(mutex_);
    if (ending_) return false;
    asked = std::exchange(asked_, std::nullopt);
  }
  if (!asked) return true;
  watched_ = *std::move(asked);
  follow();
  stamps_.clear();
  // What has changed before there were watches is found by looking.
  debounce_.changed(clock_.now());
  next_glance_ = clock_.now() + (looks_by_itself_ ? settings_.look_interval : settings_.backstop);
  return true;
}

PathTrail FileWatcher::trail() const {
  PathTrail trail;
  for (const std::string& file : watched_.files) follow_path(file, false, trail);
  for (const std::string& pattern : watched_.patterns) follow_path(pattern, true, trail);
  return trail;
}

// What changes between looking where a path leads and watching that is seen by looking once more.
void FileWatcher::follow() {
  constexpr int kTries = 10;
  trail_ = trail();
  for (int tries = 0; tries < kTries; ++tries) {
    watch_trail(trail_);
    PathTrail again = trail();
    if (again == trail_) return;
    trail_ = std::move(again);
  }
  debounce_.changed(clock_.now());
}

void FileWatcher::watch_trail(const PathTrail& trail) {
  std::unordered_map<int, Target> targets;
  int failure = inotify_ ? 0 : ENOSYS;
  const auto add = [&](const std::string& path, std::uint32_t mask, PathTrail::Entries entries, bool file) {
    const auto watch = inotify_->watch(path, mask);
    if (watch) {
      Target& target = targets[*watch];
      target.path = path;
      target.file = file;
      target.entries.names.merge(entries.names);
      target.entries.patterns.merge(entries.patterns);
    } else if (watch.error() != ENOENT && watch.error() != ENOTDIR) {
      failure = watch.error();
    }
  };
  if (inotify_) {
    for (const auto& [directory, entries] : trail.directories) {
      add(directory, kNames | IN_ONLYDIR | (entries.holds_files ? kWriting : 0), entries, false);
    }
    // A file that is mounted here, or has other names, is written to where its directory does not notice.
    for (const std::string& file : trail.real_files) {
      add(file, kWriting | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF, {}, true);
    }
  }
  for (const auto& [watch, target] : targets_) {
    if (targets.contains(watch)) continue;
    inotify_->unwatch(watch);
    debounce_.forget(fmt::format("{}/", watch));
    for (const std::string& name : target.entries.names) debounce_.forget(fmt::format("{}/{}", watch, name));
  }
  targets_ = std::move(targets);
  looks_by_itself_ = failure != 0;
  if (failure == 0) return;
  next_glance_ = std::min(next_glance_, clock_.now() + settings_.look_interval);
  if (!std::exchange(told_, true) && settings_.use_inotify) {
    log::warning("the kernel gives no news of some files of the configuration; looking for changes each second",
                 {{"reason", std::strerror(failure)}});
  }
}

void FileWatcher::hear(const Inotify::Event& event) {
  const Instant now = clock_.now();
  if ((event.mask & IN_Q_OVERFLOW) != 0) {
    trail_may_differ_ = true;
    debounce_.changed(now);
    return;
  }
  const auto found = targets_.find(event.watch);
  if (found == targets_.end()) return;
  const Target& target = found->second;
  if ((event.mask & IN_IGNORED) != 0) {
    debounce_.forget(fmt::format("{}/", event.watch));
    for (const std::string& name : target.entries.names) debounce_.forget(fmt::format("{}/{}", event.watch, name));
    targets_.erase(found);
    trail_may_differ_ = true;
    debounce_.changed(now);
  } else if ((event.mask & kSelf) != 0) {
    trail_may_differ_ = true;
    debounce_.forget(key_of(event));
    debounce_.changed(now);
  } else if (target.file) {
    hear_of_file(event);
  } else {
    hear_of_name(target, event);
  }
}

void FileWatcher::hear_of_file(const Inotify::Event& event) {
  const Instant now = clock_.now();
  if ((event.mask & IN_MODIFY) != 0) {
    debounce_.writing(key_of(event), now);
  } else if ((event.mask & IN_CLOSE_WRITE) != 0) {
    debounce_.finished(key_of(event), now);
  } else {
    trail_may_differ_ = true;
    debounce_.changed(now);
  }
}

void FileWatcher::hear_of_name(const Target& target, const Inotify::Event& event) {
  const std::string name(event.name);
  if (!target.entries.concerns(name)) return;
  const Instant now = clock_.now();
  const std::string key = key_of(event);
  if ((event.mask & IN_MODIFY) != 0) {
    debounce_.writing(key, now);
  } else if ((event.mask & IN_CLOSE_WRITE) != 0) {
    debounce_.finished(key, now);
  } else {
    trail_may_differ_ = true;
    if ((event.mask & IN_CREATE) != 0 && will_be_closed(target.path + "/" + name)) {
      debounce_.writing(key, now);
    } else if ((event.mask & IN_ATTRIB) != 0) {
      debounce_.changed(now);
    } else {
      debounce_.finished(key, now);
    }
  }
}

FileWatcher::Contents FileWatcher::read_all(const PathTrail& trail) const {
  Contents contents;
  for (const std::string& file : trail.files) contents[file] = read_content(file);
  return contents;
}

// What tells one state of the files from another without reading them. Empty where that cannot be relied on.
std::string FileWatcher::stamps(const PathTrail& trail) const {
  constexpr Nanoseconds kGrain = std::chrono::milliseconds(100);  // far more than that of any clock of file systems
  const Nanoseconds now = clock_.wall_now().time_since_epoch();
  std::string stamps;
  for (const std::string& file : trail.files) {
    struct stat status{};
    if (stat(file.c_str(), &status) != 0) {
      stamps += fmt::format("{}\n", errno);
      continue;
    }
    if (since_epoch(status.st_ctim) > now - kGrain) return {};
    stamps +=
        fmt::format("{}.{}.{}.{}\n", status.st_dev, status.st_ino, status.st_size, since_epoch(status.st_ctim).count());
  }
  return stamps.empty() ? "none" : stamps;
}

void FileWatcher::look() {
  debounce_.looked();
  follow();
  stamps_ = stamps(trail_);
  next_glance_ = clock_.now() + (looks_by_itself_ ? settings_.look_interval : settings_.backstop);
  Contents now = read_all(trail_);
  if (now != watched_.known) {
    watched_.known = std::move(now);
    changed_();
  }
  ++looks_;
}

void FileWatcher::glance() {
  next_glance_ = clock_.now() + (looks_by_itself_ ? settings_.look_interval : settings_.backstop);
  const PathTrail now = trail();
  if (now == trail_ && !stamps_.empty() && stamps(now) == stamps_) return;
  debounce_.changed(clock_.now());
}

}  // namespace dao::memory

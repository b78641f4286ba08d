// Says when the files of a configuration have changed, on a thread of its own. docs/reload.md says what is noticed, and
// how soon.
//
// Every directory is watched on the way to each file, of every symbolic link too (path_trail.h), and the files
// themselves. What is reported is another content: that of a file, one that is gone or has come, another set of files
// that match a pattern. Touching a file, or putting the same bytes in its place, is nothing.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "dao/base/clock.h"
#include "dao/memory/debounce.h"
#include "dao/memory/file_content.h"
#include "dao/memory/inotify.h"
#include "dao/memory/path_trail.h"

namespace dao::memory {

class FileWatcher {
 public:
  struct File {
    std::string path;
    // What the caller has read of it, so that no change since then is missed. Empty: what is there now.
    std::optional<FileContent> read{};
  };
  struct Watched {
    std::vector<File> files;            // all that were read, those that match a pattern too
    std::vector<std::string> patterns;  // of glob(7): what matches one and is not among the files is new
  };
  struct Settings {
    Debounce::Limits debounce{};
    Nanoseconds look_interval = std::chrono::seconds(1);  // where the kernel gives no news (its limits are reached)
    Nanoseconds backstop = std::chrono::seconds(10);      // where it does: some file systems know of no other machine's
    bool use_inotify = true;
  };

  // `changed` runs on the watcher's thread, holding nothing; it may call watch(), not stop(). The clock outlives it.
  FileWatcher(const Clock& clock, std::function<void()> changed) : FileWatcher(clock, std::move(changed), Settings{}) {}
  FileWatcher(const Clock& clock, std::function<void()> changed, const Settings& settings);
  ~FileWatcher();  // stop()
  FileWatcher(const FileWatcher&) = delete;
  FileWatcher& operator=(const FileWatcher&) = delete;

  // From now on these, and no others. Any thread, any time.
  void watch(Watched watched);
  // No call of `changed` runs or begins once it has returned. Not from `changed`.
  void stop();

  // It has to look by itself, for the kernel gives no news of some file. Any thread.
  [[nodiscard]] bool looks_by_itself() const { return looks_by_itself_; }
  // How often the files were compared with what was known, whatever came of it. Any thread.
  [[nodiscard]] std::uint64_t looks() const { return looks_; }

 private:
  using Contents = std::map<std::string, FileContent>;  // by path as it is spelled, but absolute
  struct Asked {
    std::vector<std::string> files;
    std::vector<std::string> patterns;
    Contents known;
  };
  // A watch of the kernel's: of a directory on some trail, or of a file.
  struct Target {
    PathTrail::Entries entries;
    std::string path;
    bool file = false;
  };

  void run();
  void wait_until(Instant when);
  bool take_over();
  [[nodiscard]] PathTrail trail() const;
  void follow();
  void watch_trail(const PathTrail& trail);
  void hear(const Inotify::Event& event);
  void hear_of_name(const Target& target, const Inotify::Event& event);
  void hear_of_file(const Inotify::Event& event);
  [[nodiscard]] Contents read_all(const PathTrail& trail) const;
  [[nodiscard]] std::string stamps(const PathTrail& trail) const;
  void look();
  void glance();

  const Clock& clock_;
  const std::function<void()> changed_;
  const Settings settings_;
  std::atomic<bool> looks_by_itself_{false};
  std::atomic<std::uint64_t> looks_{0};
  int wake_fd_ = -1;

  std::mutex mutex_;
  std::optional<Asked> asked_;  // not taken over yet
  bool ending_ = false;

  // The thread's own.
  std::optional<Inotify> inotify_;
  Asked watched_;
  PathTrail trail_;
  std::unordered_map<int, Target> targets_;
  Debounce debounce_;
  bool trail_may_differ_ = false;
  std::string stamps_;  // at the last look; empty: something was so new that its time says nothing
  Instant next_glance_ = kNever;
  bool told_ = false;
  std::thread thread_;
};

}  // namespace dao::memory

// The watcher on real files and the kernel's real news.
#include "dao/memory/file_watcher.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <condition_variable>
#include <sstream>

#include "dao/memory/temporary_folder.h"

namespace dao::memory {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""h;

std::string text_of(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// A watcher that counts what it is told.
class Watching {
 public:
  // No glance at what the kernel says nothing of, so that a test of its news is one.
  static FileWatcher::Settings news_only() {
    return {.debounce = {.quiet = 5ms, .longest = 1s, .unfinished = 1h}, .look_interval = 1h, .backstop = 1h};
  }
  explicit Watching(const FileWatcher::Settings& settings = news_only())
      : watcher_(clock_, [this] { changed(); }, settings) {}

  void watch(FileWatcher::Watched watched) {
    const std::uint64_t before = watcher_.looks();
    watcher_.watch(std::move(watched));
    EXPECT_TRUE(looked(before + 1));
  }
  void watch(const std::string& file) { watch({.files = {{.path = file}}, .patterns = {}}); }

  // Whether so many reports have come before the deadline.
  bool reported(int count) {
    std::unique_lock lock(mutex_);
    return told_.wait_for(lock, 20s, [&] { return reports_ >= count; });
  }
  bool looked(std::uint64_t count) {
    const auto deadline = std::chrono::steady_clock::now() + 20s;
    while (watcher_.looks() < count) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::yield();
    }
    return true;
  }
  // Whether a report came when the file of see() held this text.
  bool reported_with(const std::string& text) {
    std::unique_lock lock(mutex_);
    return told_.wait_for(lock, 20s, [&] { return seen_ == text; });
  }
  int reports() {
    const std::lock_guard lock(mutex_);
    return reports_;
  }
  void see(std::string file) { file_ = std::move(file); }
  FileWatcher& watcher() { return watcher_; }
  std::function<void()> on_change = [] {};

 private:
  void changed() {
    on_change();
    {
      const std::lock_guard lock(mutex_);
      if (!file_.empty()) seen_ = text_of(file_);
      ++reports_;
    }
    told_.notify_all();
  }

  const SystemClock clock_;
  std::mutex mutex_;
  std::condition_variable told_;
  int reports_ = 0;
  std::string file_;
  std::string seen_;
  FileWatcher watcher_;
};

TEST(FileWatcher, NoticesWritingInPlace) {
  const TemporaryFolder folder;
  folder.write("dao.toml", "one");
  Watching watching;
  watching.watch(folder / "dao.toml");
  EXPECT_FALSE(watching.watcher().looks_by_itself());
  EXPECT_EQ(watching.reports(), 0);
  folder.write("dao.toml", "two");
  EXPECT_TRUE(watching.reported(1));
  folder.write("dao.toml", "three");
  EXPECT_TRUE(watching.reported(2));
}

TEST(FileWatcher, NoticesAFileThatIsMovedOverIt) {
  const TemporaryFolder folder;
  folder.write("dao.toml", "one");
  Watching watching;
  watching.watch(folder / "dao.toml");
  for (int i = 1; i <= 3; ++i) {  // the watch is not on the file that there was
    folder.write(".dao.toml.swp", "text " + std::to_string(i));
    folder.rename(".dao.toml.swp", "dao.toml");
    EXPECT_TRUE(watching.reported(i)) << i;
  }
}

TEST(FileWatcher, NoticesThatItIsGoneAndBack) {
  const TemporaryFolder folder;
  folder.write("dao.toml", "one");
  Watching watching;
  watching.watch(folder / "dao.toml");
  folder.remove("dao.toml");
  EXPECT_TRUE(watching.reported(1));
  folder.write("dao.toml", "one");
  EXPECT_TRUE(watching.reported(2));
}

TEST(FileWatcher, NoticesTheSwapOfAKubernetesVolume) {
  const TemporaryFolder folder;
  folder.make_directory("..1");
  folder.write("..1/dao.toml", "one");
  folder.link("..data", "..1");
  folder.link("dao.toml", "..data/dao.toml");
  Watching watching;
  watching.watch(folder / "dao.toml");
  for (int i = 2; i <= 4; ++i) {
    const std::string next = ".." + std::to_string(i);
    folder.make_directory(next);
    folder.write(next + "/dao.toml", "text " + std::to_string(i));
    folder.link("..data_tmp", next);
    folder.rename("..data_tmp", "..data");
    folder.remove(".." + std::to_string(i - 1));
    EXPECT_TRUE(watching.reported(i - 1)) << i;
  }
}

TEST(FileWatcher, NoticesWhatComesAndGoesWithAPattern) {
  const TemporaryFolder folder;
  folder.make_directory("conf.d");
  folder.write("conf.d/a.toml", "a");
  Watching watching;
  watching.watch({.files = {{.path = folder / "conf.d/a.toml"}}, .patterns = {folder / "conf.d/*.toml"}});
  EXPECT_EQ(watching.reports(), 0);
  folder.write("conf.d/b.toml", "b");
  EXPECT_TRUE(watching.reported(1));
  folder.write("conf.d/b.toml", "bb");
  EXPECT_TRUE(watching.reported(2));
  folder.remove("conf.d/a.toml");
  EXPECT_TRUE(watching.reported(3));
}

TEST(FileWatcher, NoticesADirectoryThatIsRemovedAndComesBack) {
  const TemporaryFolder folder;
  folder.make_directory("conf");
  folder.write("conf/dao.toml", "one");
  Watching watching;
  watching.see(folder / "conf/dao.toml");
  watching.watch(folder / "conf/dao.toml");
  folder.remove("conf");
  EXPECT_TRUE(watching.reported(1));
  folder.make_directory("conf");
  folder.write("conf/dao.toml", "two");
  EXPECT_TRUE(watching.reported_with("two"));
  folder.write("conf/dao.toml", "three");
  EXPECT_TRUE(watching.reported_with("three"));
}

TEST(FileWatcher, NoticesDirectoriesThatChangePlaces) {
  const TemporaryFolder folder;
  folder.make_directory("live/conf");
  folder.make_directory("next/conf");
  folder.write("live/conf/dao.toml", "one");
  folder.write("next/conf/dao.toml", "two");
  Watching watching;
  watching.see(folder / "live/conf/dao.toml");
  watching.watch(folder / "live/conf/dao.toml");
  folder.rename("live", "old");
  folder.rename("next", "live");
  EXPECT_TRUE(watching.reported_with("two"));
  folder.write("live/conf/dao.toml", "three");
  EXPECT_TRUE(watching.reported_with("three"));
}

TEST(FileWatcher, NoticesWritingByAnotherNameOfTheFile) {
  const TemporaryFolder folder;
  folder.make_directory("a");
  folder.make_directory("b");
  folder.write("a/dao.toml", "one");
  std::filesystem::create_hard_link(folder / "a/dao.toml", folder / "b/other");
  Watching watching;
  watching.watch(folder / "a/dao.toml");
  folder.write("b/other", "two");
  EXPECT_TRUE(watching.reported(1));
}

TEST(FileWatcher, TheSameBytesAreNoChange) {
  const TemporaryFolder folder;
  folder.write("dao.toml", "one");
  Watching watching;
  watching.watch(folder / "dao.toml");
  std::uint64_t looks = watching.watcher().looks();
  folder.write("dao.toml", "one");
  EXPECT_TRUE(watching.looked(looks + 1));
  looks = watching.watcher().looks();
  folder.write("next", "one");
  folder.rename("next", "dao.toml");
  EXPECT_TRUE(watching.looked(looks + 1));
  EXPECT_EQ(watching.reports(), 0);
}

// With no time at all between two writes of one file, whoever looked between them would see a half of it.
TEST(FileWatcher, NeverSeesHalfAFile) {
  const TemporaryFolder folder;
  folder.write("dao.toml", "begin end");
  FileWatcher::Settings settings = Watching::news_only();
  settings.debounce.quiet = Nanoseconds::zero();
  Watching watching(settings);
  std::atomic<int> halves{0};
  watching.on_change = [&] {
    if (!text_of(folder / "dao.toml").ends_with("end")) ++halves;
  };
  watching.watch(folder / "dao.toml");
  for (int i = 1; i <= 20; ++i) {
    const int fd = open((folder / "dao.toml").c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    for (const std::string& part : {std::string("begin "), std::to_string(i), std::string(" end")}) {
      ASSERT_EQ(write(fd, part.data(), part.size()), static_cast<ssize_t>(part.size()));
      for (int turn = 0; turn < 100; ++turn) std::this_thread::yield();
    }
    close(fd);
    EXPECT_TRUE(watching.reported(i)) << i;
  }
  EXPECT_EQ(halves, 0);
}

TEST(FileWatcher, ReportsWhatHasChangedSinceItWasRead) {
  const TemporaryFolder folder;
  folder.write("dao.toml", "two");
  folder.write("new.toml", "x");
  Watching watching;
  watching.watch({.files = {{.path = folder / "dao.toml", .read = content_of("one")}}, .patterns = {}});
  EXPECT_TRUE(watching.reported(1));
  watching.watch({.files = {{.path = folder / "dao.toml", .read = content_of("two")}}, .patterns = {}});
  EXPECT_EQ(watching.reports(), 1);
  watching.watch(
      {.files = {{.path = folder / "dao.toml", .read = content_of("two")}}, .patterns = {folder / "*.toml"}});
  EXPECT_TRUE(watching.reported(2)) << "it matches, and was not among the files";
}

TEST(FileWatcher, WatchesOtherFilesWhenToldTo) {
  const TemporaryFolder folder;
  folder.write("a", "1");
  folder.write("b", "1");
  Watching watching;
  watching.watch(folder / "a");
  watching.watch(folder / "b");
  folder.write("b", "2");
  EXPECT_TRUE(watching.reported(1));
  const std::uint64_t looks = watching.watcher().looks();
  folder.write("a", "2");
  folder.write("b", "2");
  EXPECT_TRUE(watching.looked(looks + 1));
  EXPECT_EQ(watching.reports(), 1);
}

TEST(FileWatcher, MayBeToldToByTheReport) {
  const TemporaryFolder folder;
  folder.write("a", "1");
  folder.write("b", "1");
  Watching watching;
  watching.on_change = [&] {
    watching.watcher().watch({.files = {{.path = folder / "a"}, {.path = folder / "b"}}, .patterns = {}});
  };
  watching.watch(folder / "a");
  const std::uint64_t looks = watching.watcher().looks();
  folder.write("a", "2");
  EXPECT_TRUE(watching.reported(1));
  EXPECT_TRUE(watching.looked(looks + 2));
  folder.write("b", "2");
  EXPECT_TRUE(watching.reported(2));
}

TEST(FileWatcher, LooksByItselfWhereTheKernelGivesNoNews) {
  const TemporaryFolder folder;
  folder.write("dao.toml", "one");
  Watching watching({.debounce = {.quiet = 5ms}, .look_interval = 5ms, .use_inotify = false});
  watching.watch({.files = {{.path = folder / "dao.toml"}}, .patterns = {folder / "*.d"}});
  EXPECT_TRUE(watching.watcher().looks_by_itself());
  folder.write("dao.toml", "two");
  EXPECT_TRUE(watching.reported(1));
  folder.write("new.d", "x");
  EXPECT_TRUE(watching.reported(2));
  folder.remove("new.d");
  EXPECT_TRUE(watching.reported(3));
}

TEST(FileWatcher, SaysNothingOnceItIsStopped) {
  const TemporaryFolder folder;
  folder.write("dao.toml", "one");
  Watching watching;
  watching.watch(folder / "dao.toml");
  watching.watcher().stop();
  watching.watcher().stop();
  folder.write("dao.toml", "two");
  watching.watcher().watch({.files = {{.path = folder / "dao.toml"}}, .patterns = {}});
  EXPECT_EQ(watching.reports(), 0);
}

}  // namespace
}  // namespace dao::memory

#include "dao/telemetry/access_log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace dao::telemetry {
namespace {

using Json = nlohmann::json;
using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr auto kPatience = 20s;

// A record whose line tells its worker and number.
struct Numbered {
  Numbered(std::size_t worker, std::uint64_t number)
      : route("w" + std::to_string(worker)),
        target("/" + std::string(number % 97, 'x')),
        record{.start = WallTime{1795404060s},
               .method = "GET",
               .target = target,
               .status = 200,
               .response_bytes = number,
               .route = route} {}
  Numbered(const Numbered&) = delete;
  Numbered& operator=(const Numbered&) = delete;
  std::string route;
  std::string target;
  RequestRecord record;
};

std::string read_all(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<Json> parse_lines(const std::string& text) {
  std::vector<Json> lines;
  for (std::size_t from = 0; from < text.size();) {
    const std::size_t end = text.find('\n', from);
    if (end == std::string::npos) {
      ADD_FAILURE() << "unfinished line";
      break;
    }
    lines.push_back(Json::parse(text.substr(from, end - from), nullptr, false));
    EXPECT_FALSE(lines.back().is_discarded()) << text.substr(from, end - from);
    from = end + 1;
  }
  return lines;
}

class AccessLogTest : public testing::Test {
 protected:
  AccessLogTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "dao-access-log-XXXXXX").string();
    directory_ = ::mkdtemp(pattern.data());
    path_ = directory_ / "access.log";
  }
  ~AccessLogTest() override { std::filesystem::remove_all(directory_); }

  std::unique_ptr<AccessLog> open(std::size_t workers = 1, std::size_t buffer_bytes = 65536) {
    auto log = AccessLog::open(
        {.path = path_.string(), .format = AccessLogFormat::json, .buffer_bytes = buffer_bytes, .workers = workers});
    EXPECT_TRUE(log.has_value());
    return *std::move(log);
  }

  std::filesystem::path directory_;
  std::filesystem::path path_;
};

TEST_F(AccessLogTest, LinesReachTheFile) {
  auto log = open();
  EXPECT_TRUE(log->lane(0).write(Numbered(0, 1).record));
  EXPECT_TRUE(log->lane(0).write(Numbered(0, 2).record));
  ASSERT_TRUE(log->flush(kPatience));
  const auto lines = parse_lines(read_all(path_));
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0]["response_bytes"], 1);
  EXPECT_EQ(lines[1]["response_bytes"], 2);
}

TEST_F(AccessLogTest, LinesReachTheFileByThemselves) {
  auto log = open();
  log->lane(0).write(Numbered(0, 1).record);
  const auto deadline = steady_clock::now() + kPatience;
  while (read_all(path_).empty() && steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_EQ(parse_lines(read_all(path_)).size(), 1U);
}

TEST_F(AccessLogTest, TheFileIsPrivateAndAppendedTo) {
  {
    open()->lane(0).write(Numbered(0, 1).record);
  }
  struct stat status{};
  ASSERT_EQ(::stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0137U, 0U);
  {
    open()->lane(0).write(Numbered(0, 2).record);
  }
  EXPECT_EQ(parse_lines(read_all(path_)).size(), 2U);
}

TEST_F(AccessLogTest, ClosingWritesWhatIsLeft) {
  {
    auto log = open();
    for (std::uint64_t i = 0; i < 100; ++i) ASSERT_TRUE(log->lane(0).write(Numbered(0, i).record));
  }
  EXPECT_EQ(parse_lines(read_all(path_)).size(), 100U);
}

TEST_F(AccessLogTest, AFileThatCannotBeOpenedIsAnError) {
  const auto log = AccessLog::open({.path = (directory_ / "missing" / "access.log").string()});
  ASSERT_FALSE(log.has_value());
  EXPECT_EQ(log.error().origin, Origin::config);
  EXPECT_EQ(log.error().sys_errno, ENOENT);
}

// Many laps of the smallest ring, the reader running beside: every line whole and in order.
TEST_F(AccessLogTest, ManyLapsLoseNothingThatWasAccepted) {
  constexpr std::uint64_t kLines = 20'000;
  auto log = open(2);
  std::array<std::uint64_t, 2> accepted{};
  std::vector<std::thread> workers;
  for (std::size_t w = 0; w < 2; ++w) {
    workers.emplace_back([&, w] {
      for (std::uint64_t i = 0; i < kLines; ++i) accepted[w] += log->lane(w).write(Numbered(w, i).record) ? 1 : 0;
    });
  }
  for (auto& worker : workers) worker.join();
  ASSERT_TRUE(log->flush(kPatience));
  std::array<std::uint64_t, 2> found{};
  std::array<std::int64_t, 2> last = {-1, -1};
  for (const Json& line : parse_lines(read_all(path_))) {
    const std::size_t worker = line["route"] == "w0" ? 0 : 1;
    ++found[worker];
    ASSERT_GT(line["response_bytes"].get<std::int64_t>(), last[worker]);
    last[worker] = line["response_bytes"];
  }
  EXPECT_EQ(found, accepted);
  EXPECT_EQ(log->dropped(), 2 * kLines - accepted[0] - accepted[1]);
}

TEST_F(AccessLogTest, ReopenFollowsARename) {
  auto log = open();
  log->lane(0).write(Numbered(0, 1).record);
  ASSERT_TRUE(log->flush(kPatience));
  std::filesystem::rename(path_, directory_ / "access.log.1");
  log->lane(0).write(Numbered(0, 2).record);
  ASSERT_TRUE(log->flush(kPatience));
  log->reopen();
  ASSERT_TRUE(log->flush(kPatience));
  log->lane(0).write(Numbered(0, 3).record);
  ASSERT_TRUE(log->flush(kPatience));
  EXPECT_EQ(parse_lines(read_all(directory_ / "access.log.1")).size(), 2U);
  EXPECT_EQ(parse_lines(read_all(path_)).size(), 1U);
}

TEST_F(AccessLogTest, AReopenThatFailsKeepsTheOldFile) {
  auto log = open();
  std::filesystem::rename(path_, directory_ / "access.log.1");
  std::filesystem::create_directory(path_);
  log->reopen();
  ASSERT_TRUE(log->flush(kPatience));
  log->lane(0).write(Numbered(0, 1).record);
  ASSERT_TRUE(log->flush(kPatience));
  EXPECT_EQ(parse_lines(read_all(directory_ / "access.log.1")).size(), 1U);
}

TEST_F(AccessLogTest, AFullDiskDropsCountsAndRecovers) {
  std::filesystem::create_symlink("/dev/full", path_);
  auto log = open();
  std::uint64_t accepted = 0;
  const auto deadline = steady_clock::now() + kPatience;
  while (log->dropped() == 0 && steady_clock::now() < deadline) {
    accepted += log->lane(0).write(Numbered(0, accepted).record) ? 1 : 0;
  }
  EXPECT_GT(log->dropped(), 0U);
  EXPECT_FALSE(log->flush(1ms));
  std::filesystem::remove(path_);
  log->reopen();
  ASSERT_TRUE(log->flush(kPatience));
  EXPECT_EQ(parse_lines(read_all(path_)).size(), accepted);
  EXPECT_EQ(log->dropped(), 1U);
}

TEST_F(AccessLogTest, ShutdownDoesNotWaitForAFullDisk) {
  std::filesystem::create_symlink("/dev/full", path_);
  auto log = open();
  ASSERT_TRUE(log->lane(0).write(Numbered(0, 1).record));
  const auto start = steady_clock::now();
  log.reset();
  EXPECT_LT(steady_clock::now() - start, AccessLog::kShutdownPatience + 10s);
}

// A FIFO with a small buffer and a reader that starts late: writes stop in the middle of a line, and go on there.
TEST_F(AccessLogTest, ASlowReaderGetsWholeLines) {
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  const int reader = ::open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(reader, 0);
  ::fcntl(reader, F_SETPIPE_SZ, 4096);
  auto log = open(2);
  std::uint64_t accepted = 0;
  const auto deadline = steady_clock::now() + kPatience;
  while (log->dropped() == 0 && steady_clock::now() < deadline) {
    for (std::size_t w = 0; w < 2; ++w) accepted += log->lane(w).write(Numbered(w, accepted).record) ? 1 : 0;
  }
  std::string text;
  std::array<char, 1000> piece{};
  while (!log->flush(0ms) && steady_clock::now() < deadline) {
    const ssize_t n = ::read(reader, piece.data(), piece.size());
    if (n > 0) text.append(piece.data(), static_cast<std::size_t>(n));
  }
  for (ssize_t n = 0; (n = ::read(reader, piece.data(), piece.size())) > 0;) {
    text.append(piece.data(), static_cast<std::size_t>(n));
  }
  EXPECT_EQ(parse_lines(text).size(), accepted);
  log.reset();
  ::close(reader);
}

TEST_F(AccessLogTest, AFifoWithoutReaderIsAnErrorAndDoesNotHang) {
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  const auto log = AccessLog::open({.path = path_.string()});
  ASSERT_FALSE(log.has_value());
  EXPECT_EQ(log.error().sys_errno, ENXIO);
}

TEST_F(AccessLogTest, ANewFileDoesNotBeginWithTheRestOfALine) {
  // A pipe takes only the first part of a long line before it is given up for a file.
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  const int reader = ::open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ASSERT_GE(reader, 0);
  ASSERT_GE(::fcntl(reader, F_SETPIPE_SZ, 4096), 4096);
  auto log = open();
  const std::string long_target(10'000, 'x');
  ASSERT_TRUE(log->lane(0).write({.target = long_target, .status = 200}));
  ASSERT_TRUE(log->lane(0).write(Numbered(0, 7).record));
  const auto deadline = steady_clock::now() + kPatience;
  while (log->lane(0).consumed() == 0 && steady_clock::now() < deadline) std::this_thread::yield();
  std::filesystem::remove(path_);
  log->reopen();
  ASSERT_TRUE(log->flush(kPatience));
  const auto lines = parse_lines(read_all(path_));
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0]["response_bytes"], 7);
  EXPECT_EQ(log->dropped(), 1U);
  ::close(reader);
}

}  // namespace
}  // namespace dao::telemetry

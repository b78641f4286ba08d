#include "dao/base/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>
#include <thread>
#include <vector>

namespace dao::log {
namespace {

using std::chrono::steady_clock;
using testing::EndsWith;
using testing::HasSubstr;
using testing::MatchesRegex;

// The log's lines of one test, through a pipe instead of stderr.
class LogTest : public testing::Test {
 protected:
  LogTest() {
    EXPECT_EQ(pipe2(pipe_.data(), O_CLOEXEC), 0);
    redirect(pipe_[1]);
  }
  ~LogTest() override {
    EXPECT_TRUE(flush(std::chrono::seconds{10}));
    redirect(STDERR_FILENO);
    set_level(Level::info);
    close(pipe_[0]);
    close(pipe_[1]);
  }

  std::vector<std::string> lines() {
    EXPECT_TRUE(flush(std::chrono::seconds{10}));
    fcntl(pipe_[0], F_SETFL, O_NONBLOCK);
    std::string text;
    std::array<char, 4096> piece{};
    for (ssize_t n = 0; (n = read(pipe_[0], piece.data(), piece.size())) > 0;) {
      text.append(piece.data(), static_cast<std::size_t>(n));
    }
    std::vector<std::string> result;
    for (std::size_t from = 0; from < text.size();) {
      const std::size_t end = text.find('\n', from);
      result.push_back(text.substr(from, end - from));
      from = end == std::string::npos ? text.size() : end + 1;
    }
    return result;
  }

  std::string line() {
    const auto all = lines();
    EXPECT_EQ(all.size(), 1U);
    return all.empty() ? "" : all.front();
  }

  std::array<int, 2> pipe_{};
};

TEST_F(LogTest, LineHasTimeLevelMessageAndFields) {
  info("listening", {{"address", "127.0.0.1:8080"}, {"workers", 2}, {"share", 0.5}, {"ready", true}, {"fd", -1}});
  EXPECT_THAT(line(),
              MatchesRegex("20[0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3}Z info "
                           "listening address=127.0.0.1:8080 workers=2 share=0.5 ready=true fd=-1"));
}

TEST_F(LogTest, EveryTypeOfNumberAndText) {
  const std::string text = "s";
  const std::string_view view = "v";
  error("m", {{"a", text}, {"b", view}, {"c", UINT64_MAX}, {"d", INT64_MIN}, {"e", std::uint16_t{7}}, {"f", 2.5F}});
  EXPECT_THAT(line(), EndsWith(" error m a=s b=v c=18446744073709551615 d=-9223372036854775808 e=7 f=2.5"));
}

TEST_F(LogTest, AwkwardTextIsQuotedAndEscaped) {
  warning("m", {{"space", "two words"}, {"empty", ""}, {"quote", "a\"b"}, {"equals", "a=b"}, {"slash", "a\\b"}});
  EXPECT_THAT(line(), EndsWith(R"( warning m space="two words" empty="" quote="a\"b" equals="a=b" slash="a\\b")"));
}

TEST_F(LogTest, ALineStaysOneLine) {
  info("first\nsecond", {{"v", std::string_view{"\r\n\t\0\x1b\x7f", 6}}});
  EXPECT_THAT(line(), EndsWith(R"( info first\nsecond v="\r\n\t\x00\x1b\x7f")"));
}

TEST_F(LogTest, Utf8IsKeptAndOtherBytesAreNot) {
  info("m", {{"good", "größe"},
             {"bad",
              "a\xff"
              "b"},
             {"overlong", "\xc0\xaf"},
             {"c1",
              "\xc2\x9b"
              "0m"}});
  EXPECT_THAT(line(), EndsWith(R"( m good="größe" bad="a\xffb" overlong="\xc0\xaf" c1="\xc2\x9b0m")"));
}

TEST_F(LogTest, LongValuesAreCut) {
  info("m", {{"v", std::string(5000, 'x')}});
  EXPECT_THAT(line(), EndsWith(" m v=\"" + std::string(kValueMaxBytes, 'x') + "...\""));
}

TEST_F(LogTest, LevelsBelowTheThresholdAreNotWritten) {
  debug("hidden");
  set_level(Level::warning);
  info("hidden");
  warning("shown");
  EXPECT_THAT(line(), HasSubstr("warning shown"));
  set_level(Level::debug);
  debug("now shown");
  EXPECT_THAT(line(), HasSubstr("debug now shown"));
}

TEST_F(LogTest, LevelsParse) {
  EXPECT_EQ(parse_level("debug"), Level::debug);
  EXPECT_EQ(parse_level("info"), Level::info);
  EXPECT_EQ(parse_level("warning"), Level::warning);
  EXPECT_EQ(parse_level("error"), Level::error);
  EXPECT_EQ(parse_level("Info"), std::nullopt);
}

TEST(RateLimitTest, AllowsSoManyPerSecondAndTellsWhatItHeldBack) {
  RateLimit limit{2};
  const steady_clock::time_point start{std::chrono::seconds{100}};
  EXPECT_TRUE(limit.ask(start).allowed);
  EXPECT_TRUE(limit.ask(start).allowed);
  EXPECT_FALSE(limit.ask(start).allowed);
  EXPECT_FALSE(limit.ask(start + std::chrono::milliseconds{999}).allowed);
  const auto later = limit.ask(start + std::chrono::seconds{1});
  EXPECT_TRUE(later.allowed);
  EXPECT_EQ(later.suppressed, 2U);
  EXPECT_EQ(limit.ask(start + std::chrono::seconds{1}).suppressed, 0U);
}

TEST_F(LogTest, RateLimitedCallSiteSaysWhatItHeldBack) {
  RateLimit limit{1};
  const auto past = steady_clock::now() - std::chrono::seconds{5};
  for (int i = 0; i < 4; ++i) limit.ask(past);
  warning(limit, "again", {{"n", 1}});
  const auto all = lines();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_THAT(all[0], EndsWith("warning again suppressed=3"));
  EXPECT_THAT(all[1], EndsWith("warning again n=1"));
}

TEST_F(LogTest, CallerNeverWaitsForAStuckReader) {
  const std::uint64_t before = dropped();
  const std::string filler(1000, 'x');
  // Far more than the pipe (64 KiB) and the queue hold; nobody reads.
  for (std::size_t i = 0; i < 4 * kQueueLines; ++i) info("line", {{"filler", filler}});
  EXPECT_FALSE(flush(std::chrono::milliseconds{20}));
  EXPECT_GT(dropped(), before);
  fcntl(pipe_[0], F_SETFL, O_NONBLOCK);
  std::array<char, 65536> piece{};
  const auto deadline = steady_clock::now() + std::chrono::seconds{30};
  while (!flush(std::chrono::milliseconds{1}) && steady_clock::now() < deadline) {
    while (read(pipe_[0], piece.data(), piece.size()) > 0) {
    }
  }
  EXPECT_TRUE(flush(std::chrono::milliseconds{0}));
  while (read(pipe_[0], piece.data(), piece.size()) > 0) {
  }
}

TEST_F(LogTest, ABrokenPipeCountsAsDroppedAndRaisesNothing) {
  std::array<int, 2> broken{};
  ASSERT_EQ(pipe2(broken.data(), O_CLOEXEC), 0);
  close(broken[0]);
  ASSERT_TRUE(flush());
  const std::uint64_t before = dropped();
  redirect(broken[1]);
  info("nobody listens");
  ASSERT_TRUE(flush());
  redirect(pipe_[1]);
  EXPECT_EQ(dropped(), before + 1);
  close(broken[1]);
}

TEST_F(LogTest, ThreadsMayLogTogether) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < 50; ++i) info("together", {{"thread", t}, {"i", i}});
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(lines().size(), 200U);
}

}  // namespace
}  // namespace dao::log

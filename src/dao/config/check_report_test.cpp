#include "dao/config/check_report.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace dao::config {
namespace {

class CheckTest : public testing::Test {
 protected:
  CheckTest()
      : path_(std::filesystem::temp_directory_path() / ("dao_check_test_" + std::to_string(getpid()) + ".toml")) {}
  ~CheckTest() override { std::filesystem::remove(path_); }

  int run(const std::string& text, ReportFormat format = ReportFormat::text) {
    std::ofstream(path_) << text;
    out_.str({});
    return check(path_, format, out_);
  }

  std::filesystem::path path_;
  std::ostringstream out_;
  const std::string route_ = "[[routes.rule]]\nname = \"r\"\nupstreams = [{ name = \"u\", url = \"http://h\" }]\n";
};

TEST_F(CheckTest, SaysThatAFileIsValid) {
  EXPECT_EQ(run(route_), 0);
  EXPECT_EQ(out_.str(), path_.string() + ": valid (1 rule, 1 upstream, 1 listener)\n");
  EXPECT_EQ(run(route_, ReportFormat::json), 0);
  EXPECT_EQ(out_.str(), "[]\n");
}

TEST_F(CheckTest, ShowsTheLineAndPointsAtTheColumn) {
  EXPECT_EQ(run("[server]\n\twrokers = 1 # \xc3\xa4\x01\n"), 1);
  EXPECT_THAT(out_.str(), testing::HasSubstr(":2:17: error: syntax: "));
  EXPECT_EQ(run("[server]\n\twrokers = 1 # \xc3\xa4\n" + route_), 1);
  EXPECT_EQ(out_.str(), path_.string() +
                            ":2:2: error: server.wrokers: unknown key \"wrokers\" in [server]\n"
                            "    2 | \twrokers = 1 # \xc3\xa4\n"
                            "      | \t^\n"
                            "      did you mean: workers\n");
}

TEST_F(CheckTest, KeepsControlCharactersFromTheTerminal) {
  EXPECT_EQ(run("a = \x1b[2J\n"), 1);
  EXPECT_THAT(out_.str(), testing::Not(testing::HasSubstr("\x1b")));
}

TEST_F(CheckTest, PrintsJsonForPrograms) {
  EXPECT_EQ(run("[proxy]\nretries = 3\n" + route_, ReportFormat::json), 1);
  const auto list = nlohmann::json::parse(out_.str());
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0], nlohmann::json({{"file", path_.string()},
                                     {"line", 2},
                                     {"column", 11},
                                     {"severity", "error"},
                                     {"key", "proxy.retries"},
                                     {"message", "3 is out of range"},
                                     {"expected", "an integer from 0 to 2"},
                                     {"suggestion", ""}}));
}

TEST_F(CheckTest, WarningsDoNotFail) {
  EXPECT_EQ(run(route_ + "[[routes.rule]]\nname = \"s\"\nupstreams = [{ name = \"u\", url = \"http://h\" }]\n"), 0);
  EXPECT_THAT(out_.str(), testing::HasSubstr(":4:1: warning: routes.rule[1]: no request reaches the rule \"s\""));
  EXPECT_THAT(out_.str(), testing::HasSubstr(": valid (2 rules, 1 upstream, 1 listener)\n"));
}

}  // namespace
}  // namespace dao::config

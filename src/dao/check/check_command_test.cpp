#include "dao/check/check_command.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace dao::check {

using config::ReportFormat;

namespace {

class CheckTest : public testing::Test {
 protected:
  CheckTest()
      : path_(std::filesystem::temp_directory_path() / ("dao_check_test_" + std::to_string(getpid()) + ".toml")) {}
  ~CheckTest() override { std::filesystem::remove(path_); }

  int run(const std::string& text, ReportFormat format = ReportFormat::text) {
    std::ofstream(path_) << text;
    out_.str({});
    return check(path_, {.format = format}, out_);
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

TEST_F(CheckTest, FilesThatAreNamedAreLookedAt) {
  const std::string text = "[server]\ntls_cert = \"/nonexistent/c\"\ntls_key = \"/nonexistent/k\"\n" + route_;
  EXPECT_EQ(run(text), 1);
  EXPECT_EQ(out_.str(), path_.string() +
                            ":2:12: error: server.tls_cert: cannot read /nonexistent/c: No such file or directory\n"
                            "    2 | tls_cert = \"/nonexistent/c\"\n"
                            "      |            ^\n" +
                            path_.string() +
                            ":3:11: error: server.tls_key: cannot read /nonexistent/k: No such file or directory\n"
                            "    3 | tls_key = \"/nonexistent/k\"\n"
                            "      |           ^\n");
  EXPECT_EQ(run(text, ReportFormat::json), 1);
  EXPECT_EQ(nlohmann::json::parse(out_.str()).size(), 2U);
  out_.str({});
  EXPECT_EQ(check(path_, {.text_only = true}, out_), 0);
  EXPECT_EQ(out_.str(), path_.string() + ": valid (1 rule, 1 upstream, 1 listener)\n");
}

TEST_F(CheckTest, SecretsTokensAndLogs) {
  const std::string missing = "/nonexistent/x";
  EXPECT_EQ(run(route_ + "[routes.rule.sticky]\ncookie = \"c\"\nsecret_file = \"" + missing + "\"\n"), 1);
  EXPECT_THAT(out_.str(),
              testing::HasSubstr(":6:15: error: routes.rule[0].sticky.secret_file: cannot read /nonexistent/x: "));
  EXPECT_EQ(run(route_ + "[admin]\ntoken_file = \"" + missing + "\"\n"), 1);
  EXPECT_THAT(out_.str(), testing::HasSubstr(":5:14: error: admin.token_file: cannot read /nonexistent/x: "));
  EXPECT_EQ(run(route_ + "[telemetry.access_log]\npath = \"" + missing + "\"\n"), 0);
  EXPECT_THAT(out_.str(), testing::HasSubstr(":5:8: warning: telemetry.access_log.path: there is no directory"));
  EXPECT_EQ(run(route_ + "[admin]\ntoken_file = \"" + path_.string() + "\"\n"), 1);  // this very file: no token
  EXPECT_THAT(out_.str(), testing::HasSubstr("cannot use the admin token in " + path_.string()));
}

TEST_F(CheckTest, ListsAHundredFindingsAndCountsTheRest) {
  std::string text;
  for (int i = 0; i < 150; ++i) {
    text += "[[routes.rule]]\nname = \"r" + std::to_string(i) + "\"\nmatch.host = \"h" + std::to_string(i) +
            "\"\n[[routes.rule.upstreams]]\nname = \"u" + std::to_string(i) + "\"\nurl = \"unix:/nonexistent/" +
            std::to_string(i) + "\"\n";
  }
  std::ofstream(path_) << text;
  EXPECT_EQ(check(path_, {.format = ReportFormat::json, .deep = true}, out_), 0);
  const auto list = nlohmann::json::parse(out_.str());
  ASSERT_EQ(list.size(), 101U);
  EXPECT_EQ(list[0]["line"], 6);
  EXPECT_EQ(list[100]["message"], "50 more are not listed");
  EXPECT_EQ(list[100]["file"], path_.string());
}

// In order of position, whoever found it.
TEST_F(CheckTest, FindingsOfAllKindsAreInOneOrder) {
  EXPECT_EQ(run("[telemetry.access_log]\npath = \"/nonexistent/x\"\n[policies.p]\n" + route_ +
                "[admin]\ntoken_file = \"/nonexistent/y\"\n"),
            1);
  const std::string out = out_.str();
  const std::size_t log = out.find(":2:8: warning: telemetry.access_log.path");
  const std::size_t policy = out.find(":3:11: warning: policies.p");
  const std::size_t token = out.find(":8:14: error: admin.token_file");
  EXPECT_LT(log, policy);
  EXPECT_LT(policy, token);
  EXPECT_NE(token, std::string::npos) << out;
}

}  // namespace
}  // namespace dao::check

// What an error becomes for the client, and that docs/errors.md says the same.
#include "dao/server/error_answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace dao::server {
namespace {

constexpr auto kLastKind = ErrorKind::draining;

std::vector<ErrorKind> all_kinds() {
  std::vector<ErrorKind> kinds;
  for (int number = 1; number <= static_cast<int>(kLastKind); ++number) kinds.push_back(static_cast<ErrorKind>(number));
  return kinds;
}

struct Row {
  Origin origin = Origin::us;
  int status = 0;
  std::vector<std::string> reasons;
  std::string proxy_status;
  bool any_other = false;
  bool retry_after = false;
};

std::string trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" `");
  if (begin == std::string_view::npos) return {};
  return std::string{text.substr(begin, text.find_last_not_of(" `") - begin + 1)};
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, at);) parts.push_back(part);
  return parts;
}

// The rows of the three tables of docs/errors.md.
std::vector<Row> documented() {
  const char* root = std::getenv("DAO_SOURCE_DIR");
  const std::filesystem::path folder = root != nullptr ? root : ".";
  std::ifstream file(folder / "docs/errors.md");
  EXPECT_TRUE(file) << "DAO_SOURCE_DIR does not lead to docs/errors.md";
  std::vector<Row> rows;
  Origin origin = Origin::us;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("## The client's")) origin = Origin::client;
    if (line.starts_with("## The upstream's")) origin = Origin::backend;
    if (line.starts_with("## DAO's own")) origin = Origin::us;
    const std::vector<std::string> cells = split(line, '|');
    if (cells.size() < 5 || cells[1].find_first_of("0123456789") == std::string::npos) continue;
    Row row;
    row.origin = origin;
    row.status = std::stoi(cells[1]);
    if (trimmed(cells[2]) == "any other") {
      row.any_other = true;
    } else {
      for (const std::string& reason : split(cells[2], ',')) row.reasons.push_back(trimmed(reason));
    }
    row.proxy_status = trimmed(cells[3]);
    row.retry_after = cells[4].find("Retry-After") != std::string::npos;
    rows.push_back(row);
  }
  return rows;
}

// A client that does not read, an upstream that stops in the middle: both only after the answer has begun, when no
// status can be told any more. The document says so below its tables.
bool only_after_the_head(Origin origin, ErrorKind kind) {
  return (origin == Origin::client && kind == ErrorKind::timeout_write) ||
         (origin == Origin::backend && (kind == ErrorKind::timeout_body || kind == ErrorKind::timeout_idle));
}

TEST(ErrorAnswerTest, TheDocumentSaysWhatTheTableSays) {
  const std::vector<Row> rows = documented();
  ASSERT_GE(rows.size(), 30U);
  std::map<std::string, ErrorKind> by_name;
  for (const ErrorKind kind : all_kinds()) by_name[std::string{name_of(kind)}] = kind;

  std::map<Origin, std::map<ErrorKind, const Row*>> named;
  std::map<Origin, const Row*> any_other;
  for (const Row& row : rows) {
    if (row.any_other) any_other[row.origin] = &row;
    for (const std::string& reason : row.reasons) {
      ASSERT_TRUE(by_name.contains(reason)) << reason;
      EXPECT_TRUE(named[row.origin].emplace(by_name[reason], &row).second) << reason << " stands in two rows";
    }
  }
  // A client's error that is not named is a malformed request.
  any_other[Origin::client] = named[Origin::client][ErrorKind::malformed];

  for (const Origin origin : {Origin::client, Origin::backend, Origin::us}) {
    for (const ErrorKind kind : all_kinds()) {
      if (only_after_the_head(origin, kind)) continue;
      const auto found = named[origin].find(kind);
      const Row* row = found != named[origin].end() ? found->second : any_other[origin];
      ASSERT_NE(row, nullptr);
      const ErrorAnswer answer = answer_for({.origin = origin, .kind = kind});
      EXPECT_EQ(answer.status, row->status) << name_of(origin) << ": " << name_of(kind);
      EXPECT_EQ(answer.proxy_status, row->proxy_status) << name_of(origin) << ": " << name_of(kind);
      EXPECT_EQ(answer.retry_after, row->retry_after) << name_of(origin) << ": " << name_of(kind);
    }
  }
}

TEST(ErrorAnswerTest, EveryPairIsInTheDocument) {
  std::set<std::pair<int, std::string>> known;
  for (const Row& row : documented()) known.emplace(row.status, row.proxy_status);
  ASSERT_FALSE(known.empty());
  for (const Origin origin : {Origin::client, Origin::backend, Origin::us, Origin::config}) {
    for (const ErrorKind kind : all_kinds()) {
      const ErrorAnswer answer = answer_for({.origin = origin, .kind = kind});
      EXPECT_TRUE(known.contains({answer.status, std::string{answer.proxy_status}}))
          << name_of(origin) << ": " << name_of(kind) << " gives " << answer.status << " " << answer.proxy_status;
    }
  }
}

TEST(ErrorAnswerTest, NothingButTheErrorItselfDecides) {
  const Error plain{.origin = Origin::backend, .kind = ErrorKind::refused};
  Error adorned = plain.with_sent(Sent::maybe);
  adorned.sys_errno = 111;
  adorned.detail = "something";
  EXPECT_EQ(answer_for(plain).status, answer_for(adorned).status);
  EXPECT_EQ(answer_for(plain).proxy_status, answer_for(adorned).proxy_status);
}

TEST(ErrorAnswerTest, EveryAnswerCanBeSent) {
  for (const Origin origin : {Origin::client, Origin::backend, Origin::us, Origin::config}) {
    for (const ErrorKind kind : all_kinds()) {
      const ErrorAnswer answer = answer_for({.origin = origin, .kind = kind});
      EXPECT_GE(answer.status, 400);
      EXPECT_LE(answer.status, 599);
      EXPECT_NE(reason_phrase(answer.status), "") << answer.status;
      EXPECT_THAT(std::string{answer.proxy_status}, testing::MatchesRegex("[a-z_]+"));  // a token (RFC 9209 2.1.1)

      const std::string text = error_body(answer, false);
      EXPECT_EQ(text, std::to_string(answer.status) + " " + std::string{reason_phrase(answer.status)} + ": " +
                          std::string{answer.sentence} + "\n");

      const nlohmann::json problem = nlohmann::json::parse(error_body(answer, true), nullptr, false);
      ASSERT_TRUE(problem.is_object()) << error_body(answer, true);
      EXPECT_EQ(problem["type"], "about:blank");  // RFC 9457 section 4.2.1
      EXPECT_EQ(problem["title"], reason_phrase(answer.status));
      EXPECT_EQ(problem["status"], answer.status);
      EXPECT_EQ(problem["detail"], answer.sentence);
      EXPECT_EQ(problem["error"], answer.proxy_status);
      EXPECT_EQ(problem.size(), 5U);
    }
  }
}

TEST(ErrorAnswerTest, PrefersJsonIfItStandsBeforeText) {
  const std::vector<std::pair<std::string_view, bool>> cases = {
      {"", false},
      {"*/*", false},
      {"text/html", false},
      {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", false},
      {"application/xml", false},
      {"application/json", true},
      {"application/problem+json", true},
      {"application/json, text/plain, */*", true},
      {"application/problem+json, text/html", true},
      {"image/png, application/json", true},
      {"text/plain, application/json", false},
      {"text/html, application/problem+json", false},
      {"*/*, application/json", true},
  };
  for (const auto& [accept, json] : cases) EXPECT_EQ(prefers_json(accept), json) << accept;
}

}  // namespace
}  // namespace dao::server

#include "dao/admin/access.h"

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <utility>

#include "dao/config/address.h"

namespace dao::admin {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr std::string_view kToken = "correct-horse-battery-staple";

AccessRules rules(std::string_view bind, std::string_view token = "", std::vector<std::string> hosts = {}) {
  config::Admin admin;
  admin.bind = *config::parse_bind(bind);
  admin.allow_hosts = std::move(hosts);
  return rules_for(admin, std::string(token));
}

http::RequestHead request(http::Method method, std::string_view authority) {
  http::RequestHead head;
  head.method = method;
  head.authority = authority;
  return head;
}

std::uint16_t status_of(const AccessRules& rules, const http::RequestHead& head) {
  const auto refusal = check_access(rules, head);
  return refusal ? refusal->status : 200;
}

std::uint16_t get(const AccessRules& rules, std::string_view authority) {
  return status_of(rules, request(http::Method::get, authority));
}

TEST(Access, KnowsItsHosts) {
  const AccessRules loopback = rules("127.0.0.1:1", "", {"admin.a.test"});
  for (const char* good :
       {"localhost", "LOCALHOST:1", "127.0.0.1:9901", "127.0.0.1", "[::1]:5", "admin.a.test:80", "Admin.A.test"}) {
    EXPECT_EQ(get(loopback, good), 200) << good;
  }
  for (const char* bad : {"", "evil.test", "localhost.", "localhost.evil.test", "127.0.0.1.evil.test", "127.0.0.2",
                          "x.admin.a.test", "[::2]", "[::1", "::1", ":9901", "127.0.0.1@evil.test"}) {
    EXPECT_EQ(get(loopback, bad), 421) << bad;
  }
}

TEST(Access, KnowsTheAddressItIsBoundTo) {
  EXPECT_EQ(get(rules("127.0.0.9:1"), "127.0.0.9"), 200);
  EXPECT_EQ(get(rules("127.0.0.9:1"), "127.0.0.8"), 421);
  EXPECT_EQ(get(rules("[2001:DB8::1]:1"), "[2001:db8::1]:1"), 200);
}

TEST(Access, AnyAddressIsKnownWhereEveryAddressIsBound) {
  const AccessRules any = rules("*:1");
  EXPECT_EQ(get(any, "192.0.2.1:1"), 200);
  EXPECT_EQ(get(any, "[2001:db8::1]:1"), 200);
  EXPECT_EQ(get(any, "evil.test"), 421);
  EXPECT_EQ(get(any, "1.2.3.4.evil.test"), 421);
  EXPECT_EQ(get(any, "[evil.test]"), 421);
}

TEST(Access, AUnixSocketHasAnyName) {
  EXPECT_EQ(get(rules("unix:/s"), "whatever"), 200);
  EXPECT_EQ(get(rules("unix:/s"), ""), 200);
}

TEST(Access, AsksForTheTokenOnEverything) {
  const AccessRules with_token = rules("127.0.0.1:1", kToken);
  for (const http::Method method : {http::Method::get, http::Method::post}) {
    http::RequestHead head = request(method, "localhost");
    head.add("X-DAO-Admin", "1");
    EXPECT_EQ(status_of(with_token, head), 401);
    for (const char* wrong : {"", "Bearer", "Bearer ", "Bearer correct-horse-battery-stapl",
                              "Bearer correct-horse-battery-staple2", "Bearer Correct-horse-battery-staple",
                              "Basic correct-horse-battery-staple", "correct-horse-battery-staple"}) {
      http::RequestHead wrong_head = request(method, "localhost");
      wrong_head.add("Authorization", wrong);
      EXPECT_EQ(status_of(with_token, wrong_head), 401) << wrong;
    }
    head.add("Authorization", "bearer correct-horse-battery-staple");
    EXPECT_EQ(status_of(with_token, head), 200);
  }
}

TEST(Access, ATokenDoesNotOpenAnotherHost) {
  http::RequestHead head = request(http::Method::get, "evil.test");
  head.add("Authorization", "Bearer correct-horse-battery-staple");
  EXPECT_EQ(status_of(rules("127.0.0.1:1", kToken), head), 421);
}

TEST(Access, AChangeNeedsWhatAPageCannotSend) {
  const AccessRules open = rules("127.0.0.1:1");
  http::RequestHead head = request(http::Method::post, "localhost:1");
  EXPECT_EQ(status_of(open, head), 403);
  head.add("X-DAO-Admin", "0");
  EXPECT_EQ(status_of(open, head), 403);
  head = {};
  head.method = http::Method::post;
  head.authority = "localhost:1";
  head.add("X-DAO-Admin", "1");
  EXPECT_EQ(status_of(open, head), 200);
  head.add("Origin", "http://localhost:1");
  EXPECT_EQ(status_of(open, head), 200);
}

TEST(Access, AChangeFromAnotherOriginIsRefused) {
  for (const char* origin : {"http://evil.test", "null", "http://localhost:2", "http://localhost:1.evil.test", ""}) {
    http::RequestHead head = request(http::Method::post, "localhost:1");
    head.add("X-DAO-Admin", "1");
    head.add("Origin", origin);
    EXPECT_EQ(status_of(rules("127.0.0.1:1"), head), 403) << origin;
    EXPECT_EQ(status_of(rules("unix:/s"), head), 403) << origin;
  }
}

class TokenFile : public testing::Test {
 protected:
  ~TokenFile() override { std::filesystem::remove(path_); }
  std::expected<std::string, std::string> read(std::string_view content, mode_t mode = 0600) {
    std::filesystem::remove(path_);
    std::ofstream(path_) << content;
    chmod(path_.c_str(), mode);
    return read_token(path_);
  }
  const std::string path_ = testing::TempDir() + "dao_admin_token_" + std::to_string(getpid());
};

TEST_F(TokenFile, HoldsOneLine) {
  EXPECT_EQ(read("correct-horse-battery-staple\n").value(), kToken);
  EXPECT_EQ(read("correct-horse-battery-staple\r\n", 0400).value(), kToken);
  EXPECT_EQ(read("correct-horse-battery-staple", 0640).value(), kToken);
  for (const char* bad : {"", "\n", "short", "two words are not a token", "first-line-of-a-token\nsecond\n"}) {
    EXPECT_FALSE(read(bad)) << bad;
  }
  EXPECT_FALSE(read(std::string(1025, 'x')));
  EXPECT_TRUE(read(std::string(1024, 'x') + "\n"));
}

TEST_F(TokenFile, IsNobodyElsesToRead) {
  for (const mode_t mode : {0644U, 0604U, 0602U, 0620U, 0666U}) {
    const auto token = read("correct-horse-battery-staple\n", mode);
    ASSERT_FALSE(token) << mode;
    EXPECT_THAT(token.error(), HasSubstr("chmod 0600"));
    EXPECT_THAT(token.error(), Not(HasSubstr("horse")));
  }
}

TEST_F(TokenFile, HasToBeAFile) {
  EXPECT_THAT(read_token("/nonexistent").error(), HasSubstr("No such file"));
  EXPECT_THAT(read_token(testing::TempDir()).error(), HasSubstr("not a file"));
}

}  // namespace
}  // namespace dao::admin

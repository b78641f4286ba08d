#include "dao/config/redact.h"

#include <gmock/gmock.h>

#include "dao/config/load.h"

namespace dao::config {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(SecretNames, AreThoseThatSayIt) {
  for (const char* name : {"Authorization",
                           "proxy-authorization",
                           "Cookie",
                           "Set-Cookie",
                           "X-Api-Key",
                           "X-API-KEY",
                           "apikey",
                           "ApiKey",
                           "x-auth-token",
                           "X-Auth",
                           "password",
                           "db_password",
                           "client_secret",
                           "secret",
                           "X-Access-Key",
                           "key",
                           "x-amz-security-token",
                           "X-Hub-Signature",
                           "credentials",
                           "passwd",
                           "accessKey"}) {
    EXPECT_TRUE(is_secret_name(name)) << name;
  }
  for (const char* name : {"X-Canary", "Host", "keyboard", "monkey", "secret_file", "token_file", "key_path", "author",
                           "X-Forwarded-For", "Content-Type", "", "-", "X-Turnkey-Id"}) {
    EXPECT_FALSE(is_secret_name(name)) << name;
  }
}

TEST(RedactUserInformation, TakesItOutOfUrls) {
  EXPECT_EQ(redact_user_information("see http://u:p@h:1/a@b and https://x@y, ftp://z/"),
            "see http://(redacted)@h:1/a@b and https://(redacted)@y, ftp://z/");
  EXPECT_EQ(redact_user_information("a@b http://h/?q=a@b ://"), "a@b http://h/?q=a@b ://");
  EXPECT_EQ(redact_user_information("redis://:pa@ss@h"), "redis://(redacted)@h");
}

TEST(RedactText, LeavesEverythingElseAsItIs) {
  constexpr std::string_view kText = R"(# Token of the shop, see the wiki
[server]
tls_key = "/etc/key.pem"  # a path is no secret
[admin]
token_file = "/etc/token"
[[routes.rule]]
name = "ä"
hash_key = "cookie:session"
policy = "consistent-hash"
match.headers = { X-Canary = "1", Authorization = "Bearer one" }
upstreams = [{ name = "u", url = "http://h" }, { name = "v", url = "http://i" }]
[routes.rule.filters]
request_headers_rename = { "X-Token" = "X-Client-Token" }
request_headers_set = { "X-Ä" = "ä", "X-Api-Key" = 'two', "Cookie" = """
three
""" , "X-B" = "b" }
rate_limit.rps = 1
rate_limit.key = "client"
[routes.rule.sticky]
cookie = "c"
secret = "four-four-four-four"
# secret = "five-five-five-five"
# old password: six six
# was: http://me:seven@h/
)";
  const std::string shown = redact_text(kText);
  std::string expected(kText);
  const auto swap = [&expected](std::string_view what, std::string_view with) {
    expected.replace(expected.find(what), what.size(), with);
  };
  swap("\"Bearer one\"", "\"(redacted)\"");
  swap("'two'", "\"(redacted)\"");
  swap("\"\"\"\nthree\n\"\"\"", "\"(redacted)\"");
  swap("\"four-four-four-four\"", "\"(redacted)\"");
  swap("\"five-five-five-five\"", "\"(redacted)\"");
  swap("six six", "\"(redacted)\"");
  swap("me:seven", "(redacted)");
  EXPECT_EQ(shown, expected);
}

TEST(RedactText, WhatWasRedactedIsNoConfiguration) {
  constexpr std::string_view kText =
      "[[routes.rule]]\nname = \"r\"\nupstreams = [{ name = \"u\", url = \"http://h\" }]\n"
      "filters.request_headers_set = { Authorization = \"x\" }\n";
  EXPECT_TRUE(load_text(kText, "x"));
  const auto loaded = load_text(redact_text(kText), "x");
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().front().line, 4U);
  EXPECT_EQ(loaded.error().front().message, "\"(redacted)\" stands for a secret that was left out");
}

TEST(RedactText, EachPartOfABundle) {
  EXPECT_EQ(redact_text("#:dao-file a\nx = 1\n#:dao-file b\npassword = \"p\"\n"),
            "#:dao-file a\nx = 1\n#:dao-file b\npassword = \"(redacted)\"\n");
  EXPECT_EQ(redact_text("#:dao-file a\nsecret = \"p\"\n"), "#:dao-file a\nsecret = \"(redacted)\"\n");
}

TEST(RedactText, TextThatIsNoTomlIsSearchedByName) {
  const std::string shown = redact_text(
      "[server\nsecret = \"one\"\n\"X-Api-Key\" = 'two'\npassword = three\nname = \"kept\"\n"
      "headers = { Authorization = \"four\", X-A = \"also kept\" }\nkeys = [\"five\",\n \"six\"]\nx = \"kept too\"\n");
  for (const char* secret : {"one", "two", "three", "four", "five", "six"}) EXPECT_THAT(shown, Not(HasSubstr(secret)));
  for (const char* kept : {"[server", "\"kept\"", "\"also kept\"", "\"kept too\""}) EXPECT_THAT(shown, HasSubstr(kept));
}

}  // namespace
}  // namespace dao::config

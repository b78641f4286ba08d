// Which rule a request belongs to. Requests are parsed from their bytes, rules come from TOML, as in production.
#include "dao/server/route_table.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "dao/config/load.h"
#include "dao/http/h1/head_parser.h"

namespace dao::server {
namespace {

constexpr std::string_view kNone = "none";

class RouteTableTest : public testing::Test {
 protected:
  // Rules in order, by the TOML of their [routes.rule.match]; called r0, r1, ...
  void rules(const std::vector<std::string>& matches) {
    std::string toml;
    for (std::size_t i = 0; i < matches.size(); ++i) {
      toml += "[[routes.rule]]\nname = \"r" + std::to_string(i) + "\"\n[routes.rule.match]\n" + matches[i] +
              "\n[[routes.rule.upstreams]]\nname = \"u\"\nurl = \"http://192.0.2.1:80\"\n";
    }
    auto loaded = config::load_text(toml, "test.toml");
    EXPECT_TRUE(loaded) << loaded.error().front().message;
    config_ = std::make_unique<config::Config>(loaded ? std::move(loaded->config) : config::Config{});
    table_ = std::make_unique<RouteTable>(config_->rules);
  }

  // The rule's name for a request with this target and these lines after the start line.
  std::string find(const std::string& target, const std::string& lines, const std::string& version = "1.1") {
    const std::string text = "GET " + target + " HTTP/" + version + "\r\n" + lines + "\r\n";
    http::RequestHead head;
    const Result<http::h1::ParsedBytes> parsed = http::h1::parse_request_head(text, http::HeadLimits{}, head);
    if (!parsed || *parsed == 0) return "not a request";
    const std::optional<std::uint32_t> number = table_->find(head);
    return number ? config_->rules[*number].name : std::string{kNone};
  }
  std::string host(const std::string& host) { return find("/", "Host: " + host + "\r\n"); }
  std::string path(const std::string& target) { return find(target, "Host: a.test\r\n"); }

 private:
  std::unique_ptr<config::Config> config_;
  std::unique_ptr<RouteTable> table_;
};

TEST_F(RouteTableTest, NoConditionsMatchEverything) {
  rules({""});
  EXPECT_EQ(host("a.test"), "r0");
  EXPECT_EQ(find("/", "", "1.0"), "r0") << "no host at all";
  EXPECT_EQ(path("/x?y=z"), "r0");
}

TEST_F(RouteTableTest, AnUpgradeIsASelectionAndNoPermission) {
  const std::string upgrade =
      "Host: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
  const std::string key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  rules({"upgrade = \"websocket\"\npath_prefix = \"/chat\"", ""});
  EXPECT_EQ(find("/chat", upgrade + key), "r0");
  EXPECT_EQ(find("/chat", upgrade), "r1") << "no handshake";
  EXPECT_EQ(path("/chat"), "r1");
  EXPECT_EQ(find("/", upgrade + key), "r1") << "by a rule that does not mention upgrades";
}

TEST_F(RouteTableTest, HostsAreComparedWithoutCasePortAndFinalDot) {
  rules({"host = \"Example.Org\""});
  for (const char* same :
       {"example.org", "EXAMPLE.ORG", "eXample.orG:8080", "example.org:", "example.org.", "example.org.:443"}) {
    EXPECT_EQ(host(same), "r0") << same;
  }
  for (const char* other : {"example.com", "www.example.org", "xexample.org", "example.org.evil.test", "xample.org"}) {
    EXPECT_EQ(host(other), kNone) << other;
  }
  EXPECT_EQ(find("/", "", "1.0"), kNone) << "no host at all";
}

TEST_F(RouteTableTest, AWildcardMatchesSubdomainsOfAnyDepthAndNotTheNameItself) {
  rules({"host = \"*.example.org\""});
  for (const char* below : {"a.example.org", "A.B.Example.ORG", "a.example.org:81", "a.example.org."}) {
    EXPECT_EQ(host(below), "r0") << below;
  }
  for (const char* other : {"example.org", ".example.org", "aexample.org", "a.example.org.test"}) {
    EXPECT_EQ(host(other), kNone) << other;
  }
}

TEST_F(RouteTableTest, AddressesAreHostsToo) {
  rules({"host = \"[2001:db8::1]\"", "host = \"192.0.2.7\""});
  EXPECT_EQ(host("[2001:db8::1]"), "r0");
  EXPECT_EQ(host("[2001:DB8::1]:8080"), "r0");
  EXPECT_EQ(host("[2001:db8::2]"), kNone);
  EXPECT_EQ(host("192.0.2.7:80"), "r1");
}

TEST_F(RouteTableTest, AnyOfSeveralHosts) {
  rules({"host = [\"a.test\", \"*.b.test\"]"});
  EXPECT_EQ(host("a.test"), "r0");
  EXPECT_EQ(host("x.b.test"), "r0");
  EXPECT_EQ(host("b.test"), kNone);
}

TEST_F(RouteTableTest, TheTargetsAuthorityGoesBeforeHost) {  // RFC 9112 section 3.2.2
  rules({"host = \"a.test\"", "host = \"b.test\""});
  EXPECT_EQ(find("http://b.test:81/x", "Host: a.test\r\n"), "r1");
}

TEST_F(RouteTableTest, APrefixIsCharactersNotSegments) {
  rules({"path_prefix = \"/api\""});
  for (const char* under : {"/api", "/api/", "/api/v1?x", "/apis", "/api?x"}) EXPECT_EQ(path(under), "r0") << under;
  for (const char* other : {"/", "/ap", "/API", "/x/api", "/%61pi", "/?/api"}) EXPECT_EQ(path(other), kNone) << other;
}

TEST_F(RouteTableTest, AnExactPathIsThePathWithoutTheQuery) {
  rules({"path_exact = \"/health\""});
  EXPECT_EQ(path("/health"), "r0");
  EXPECT_EQ(path("/health?full=1"), "r0");
  for (const char* other : {"/health/", "/healthy", "/Health", "/", "/x?/health"})
    EXPECT_EQ(path(other), kNone) << other;
}

TEST_F(RouteTableTest, AllHeadersMustBeThereWithTheirValues) {
  rules({"headers = { X-Version = \"2\", x-mode = \"Test\" }"});
  EXPECT_EQ(find("/", "Host: a\r\nx-version: 2\r\nX-MODE: Test\r\n"), "r0");
  EXPECT_EQ(find("/", "Host: a\r\nX-Version: 1\r\nX-Version: 2\r\nX-Mode: Test\r\n"), "r0") << "any of several lines";
  EXPECT_EQ(find("/", "Host: a\r\nX-Version: 2\r\n"), kNone);
  EXPECT_EQ(find("/", "Host: a\r\nX-Version: 2\r\nX-Mode: test\r\n"), kNone) << "values are case-sensitive";
  EXPECT_EQ(find("/", "Host: a\r\nX-Version: 1, 2\r\nX-Mode: Test\r\n"), kNone) << "values are compared as a whole";
}

TEST_F(RouteTableTest, EveryConditionMustHold) {
  rules({"host = \"a.test\"\npath_prefix = \"/x\"\nheaders = { x-a = \"1\" }"});
  EXPECT_EQ(find("/x", "Host: a.test\r\nX-A: 1\r\n"), "r0");
  EXPECT_EQ(find("/y", "Host: a.test\r\nX-A: 1\r\n"), kNone);
  EXPECT_EQ(find("/x", "Host: b.test\r\nX-A: 1\r\n"), kNone);
  EXPECT_EQ(find("/x", "Host: a.test\r\nX-A: 2\r\n"), kNone);
}

TEST_F(RouteTableTest, TheFirstRuleThatMatchesIsTaken) {
  rules({"path_prefix = \"/a/b\"", "path_prefix = \"/a\"", "host = \"x.test\"", "path_exact = \"/a/b/c\"", ""});
  EXPECT_EQ(path("/a/b/c"), "r0") << "not the longest, not the most exact";
  EXPECT_EQ(path("/a/c"), "r1");
  EXPECT_EQ(find("/a", "Host: x.test\r\n"), "r1");
  EXPECT_EQ(find("/c", "Host: x.test\r\n"), "r2");
  EXPECT_EQ(path("/c"), "r4");
}

TEST_F(RouteTableTest, AsteriskIsAPathOfItsOwn) {
  rules({"path_prefix = \"/\"", ""});
  const std::string text = "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n";
  EXPECT_EQ(path("/"), "r0");
  http::RequestHead head;
  ASSERT_TRUE(http::h1::parse_request_head(text, http::HeadLimits{}, head));
  config::Rule root;
  root.match.path_prefix = "/";
  const std::vector<config::Rule> rules{root};
  EXPECT_EQ(RouteTable{rules}.find(head), std::nullopt);
}

}  // namespace
}  // namespace dao::server

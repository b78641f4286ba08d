// Which rule a request belongs to. Requests are parsed from their bytes, rules come from TOML, as in production.
#include "dao/server/route_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dao/base/random.h"
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

TEST_F(RouteTableTest, ATableCanBeMovedAndOutlivesItsRules) {
  auto rules = std::make_unique<std::vector<config::Rule>>(2);
  (*rules)[0].match.hosts = {{.wildcard = false, .text = "a.test"}};
  (*rules)[0].match.headers = {{.name = "x-a-name-that-is-longer-than-a-string-keeps", .value = "a value that is too"}};
  (*rules)[1].match.path_prefix = "/a/path/that/is/longer/than/a/string/keeps";
  RouteTable first{*rules};
  rules.reset();
  const RouteTable table = std::move(first);
  http::RequestHead request;
  request.authority = "a.test";
  request.path = "/a/path/that/is/longer/than/a/string/keeps/x";
  EXPECT_EQ(table.find(request), 1U);
  request.add("X-A-Name-That-Is-Longer-Than-A-String-Keeps", "a value that is too");
  EXPECT_EQ(table.find(request), 0U);
}

// What the table promises, rule by rule.
std::optional<std::uint32_t> first_that_matches(const std::vector<config::Rule>& rules,
                                                const http::RequestHead& request) {
  std::string_view host = request.authority.starts_with('[')
                              ? request.authority.substr(0, request.authority.find(']') + 1)
                              : request.authority.substr(0, request.authority.find(':'));
  if (host.ends_with('.')) host.remove_suffix(1);
  const std::string_view path = request.path.substr(0, request.path.find('?'));
  const auto host_matches = [host](const config::HostPattern& pattern) {
    if (!pattern.wildcard) return http::equals_ignoring_case(pattern.text, host);
    return host.size() > pattern.text.size() &&
           http::equals_ignoring_case(host.substr(host.size() - pattern.text.size()), pattern.text);
  };
  const auto header_matches = [&request](const config::HeaderMatch& wanted) {
    return std::ranges::any_of(request.fields, [&wanted](const http::Field& field) {
      return field.value == wanted.value && http::equals_ignoring_case(field.name, wanted.name);
    });
  };
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const config::Match& match = rules[i].match;
    if (match.path_exact && path != *match.path_exact) continue;
    if (match.path_prefix && !path.starts_with(*match.path_prefix)) continue;
    if (match.upgrade == config::Upgrade::websocket && request.upgrade != http::Upgrade::websocket) continue;
    if (!match.hosts.empty() && std::ranges::none_of(match.hosts, host_matches)) continue;
    if (!std::ranges::all_of(match.headers, header_matches)) continue;
    return static_cast<std::uint32_t>(i);
  }
  return std::nullopt;
}

// Rules and requests of few letters, so that they meet in every way.
class Chance {
 public:
  explicit Chance(std::uint64_t seed) : random_(seed) {}

  bool one_in(std::uint64_t many) { return random_.below(many) == 0; }
  std::size_t below(std::size_t bound) { return random_.below(bound); }
  const std::string& one_of(const std::vector<std::string>& texts) { return texts[random_.below(texts.size())]; }

  std::string path() {
    std::string path = "/";
    for (std::size_t left = random_.below(7); left > 0; --left) path += one_of({"a", "b", "/"});
    if (one_in(8)) path += "a-part-of-some-length/" + one_of({"x", "y", "yy"});
    return path;
  }
  std::string host() {
    std::string host = one_of({"a", "b", "bb", "a-name-of-some-length"});
    for (std::size_t left = random_.below(4); left > 0; --left)
      host += one_of({".a", ".b", ".eight-eh", ".longer-than-8"});
    return one_in(16) ? "[::" + one_of({"1", "a"}) + "]" : host;
  }
  std::string other_case(std::string text) {
    for (char& c : text) {
      if (c >= 'a' && c <= 'z' && one_in(2)) c = static_cast<char>(c - 'a' + 'A');
    }
    return text;
  }

  config::Rule rule() {
    config::Rule rule;
    for (std::size_t left = one_in(3) ? 0 : 1 + random_.below(3); left > 0; --left) {
      const bool wildcard = one_in(3);
      rule.match.hosts.push_back({.wildcard = wildcard, .text = (wildcard ? "." : "") + host()});
    }
    if (const std::size_t kind = random_.below(4); kind == 0) {
      rule.match.path_exact = path();
    } else if (kind <= 2) {
      rule.match.path_prefix = path();
    }
    if (one_in(4)) rule.match.headers.push_back({.name = "x-a", .value = one_of({"1", "2"})});
    if (one_in(8)) rule.match.headers.push_back({.name = "x-b", .value = "1"});
    if (one_in(8)) rule.match.upgrade = config::Upgrade::websocket;
    return rule;
  }

 private:
  Random random_;
};

TEST(RouteTableProperty, IsTheFirstRuleWhoseConditionsAllHold) {
  Chance chance{20261127};
  std::size_t found = 0;
  std::size_t missed = 0;
  for (int set = 0; set < 400; ++set) {
    std::vector<config::Rule> rules;
    for (std::size_t left = chance.below(chance.one_in(4) ? 200 : 12); left > 0; --left) rules.push_back(chance.rule());
    const RouteTable table{rules};
    for (int i = 0; i < 200; ++i) {
      std::string authority = chance.other_case(chance.host());
      if (chance.one_in(20)) authority = chance.one_of({"", ".", "..", ".a", "a..b", ":", "[", "]", "[]:1", ".a.b."});
      if (chance.one_in(8)) authority += ".";
      if (chance.one_in(4)) authority += ":8080";
      std::string path = chance.path();
      if (chance.one_in(4)) path += "?" + chance.path();
      if (chance.one_in(20)) path = chance.one_of({"*", "", "?", "//", "x"});
      http::RequestHead request;
      request.authority = authority;
      request.path = path;
      if (chance.one_in(2)) request.add("X-A", chance.one_in(2) ? "1" : "2");
      if (chance.one_in(4)) request.add("x-b", "1");
      if (chance.one_in(4)) request.upgrade = http::Upgrade::websocket;
      const auto expected = first_that_matches(rules, request);
      ASSERT_EQ(table.find(request), expected) << "rule set " << set << ": " << authority << " " << path;
      ++(expected ? found : missed);
    }
  }
  EXPECT_GT(found, 20'000U);
  EXPECT_GT(missed, 5'000U);
}

// The cost of a lookup is bounded by the request, and by what the rules can be told apart by; this is no measurement,
// it only fails if that is off by orders of magnitude.
TEST(RouteTableProperty, RequestsMadeToBeSlowAreNot) {
  std::vector<config::Rule> rules(10'000);
  std::string prefix;
  for (std::size_t i = 0; i < rules.size(); ++i) {
    config::Match& match = rules[i].match;
    if (i < 250) {  // wildcards of every length
      match.hosts = {{.wildcard = true, .text = "." + std::string(i, 'a')}};
    } else if (i < 4000) {  // each a prefix of the next one
      prefix = "/" + std::string(4000 - i, 'a');
      match.path_prefix = prefix;
      match.headers = {{.name = "x-never", .value = "sent"}};
    } else {
      match.path_prefix = "/b" + std::to_string(i);
    }
  }
  const RouteTable table{rules};
  std::string host;
  while (host.size() < 60'000) host += "a.";
  host += std::string(200, 'a');
  const std::string path = "/" + std::string(60'000, 'a');
  http::RequestHead request;
  request.authority = host;
  request.path = path;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(table.find(request), 200U);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5));
}

}  // namespace
}  // namespace dao::server

// The parsers of single values, and the predicates made from them.
#include <gmock/gmock.h>

#include "dao/config/address.h"
#include "dao/config/match_values.h"
#include "dao/config/nearest.h"
#include "dao/config/reachability.h"
#include "dao/config/url.h"
#include "dao/config/utf8.h"

namespace dao::config {
namespace {

using Bytes = std::vector<std::uint8_t>;

TEST(Bind, ReadsEveryForm) {
  EXPECT_EQ(parse_bind("[0:0::1]:80")->host, "::1");
  EXPECT_EQ(parse_bind("*:80")->host, "");
  EXPECT_EQ(parse_bind(":80")->port, 80);
  EXPECT_EQ(parse_bind("127.0.0.1:0")->port, 0);
  EXPECT_EQ(parse_bind("unix:/a")->path, "/a");
  EXPECT_EQ(parse_bind("fd:dao.socket")->host, "dao.socket");
  EXPECT_EQ(parse_bind("fd:3")->kind, Address::Kind::inherited);
  EXPECT_FALSE(parse_bind("fd:"));
  EXPECT_FALSE(parse_bind("fd:a b"));
  EXPECT_FALSE(parse_bind("fd:a:b"));
  EXPECT_EQ(parse_bind("unix:///a")->path, "/a");
  EXPECT_EQ(parse_bind("unix:/a")->kind, Address::Kind::unix_socket);
  for (const char* bad :
       {"", ":", "[::1]", "[::1", "[1.2.3.4]:80", "1.2.3.4:", "1.2.3.4:-1", "unix://a", "unix:/", "::1:80x"}) {
    EXPECT_FALSE(parse_bind(bad)) << bad;
  }
}

TEST(NameServer, PortIs53IfNotGiven) {
  EXPECT_EQ(parse_name_server("192.0.2.1")->port, 53);
  EXPECT_EQ(parse_name_server("2001:db8::1")->host, "2001:db8::1");
  EXPECT_EQ(parse_name_server("[2001:db8::1]:5353")->port, 5353);
  EXPECT_FALSE(parse_name_server("*:53"));
  EXPECT_FALSE(parse_name_server("unix:/x"));
}

TEST(Listeners, PortZeroAndDifferentFamiliesDoNotClash) {
  const auto same = [](std::string_view a, std::string_view b) {
    return same_listener(*parse_bind(a), *parse_bind(b));
  };
  EXPECT_FALSE(same("127.0.0.1:0", "127.0.0.1:0"));
  EXPECT_FALSE(same("0.0.0.0:80", "[::]:80"));
  EXPECT_FALSE(same("0.0.0.0:80", "127.0.0.1:80"));
  EXPECT_TRUE(same("[::]:80", "*:80"));
  EXPECT_TRUE(same("[::1]:80", "[0::1]:80"));
  EXPECT_TRUE(same("unix:/a", "unix:///a"));
}

TEST(AddressBlock, ContainsByPrefixAndFamily) {
  const auto v4 = parse_address_block("10.64.0.0/10");
  ASSERT_TRUE(v4);
  EXPECT_TRUE(v4->contains(Bytes{10, 127, 255, 255}));
  EXPECT_FALSE(v4->contains(Bytes{10, 128, 0, 0}));
  EXPECT_TRUE(v4->contains(Bytes{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 65, 0, 1}));
  EXPECT_FALSE(v4->contains(Bytes{10, 64}));
  const auto all = parse_address_block("0.0.0.0/0");
  ASSERT_TRUE(all);
  EXPECT_TRUE(all->contains(Bytes{1, 2, 3, 4}));
  const auto v6 = parse_address_block("::/0");
  ASSERT_TRUE(v6);
  EXPECT_TRUE(v6->contains(Bytes(16, 1)));
  EXPECT_FALSE(v6->contains(Bytes{1, 2, 3, 4}));
  const auto one = parse_address_block("2001:db8::1");
  ASSERT_TRUE(one);
  EXPECT_EQ(one->prefix, 128);
  EXPECT_FALSE(parse_address_block("10.0.0.0/"));
  EXPECT_FALSE(parse_address_block("10.0.0.0/+8"));
  EXPECT_FALSE(parse_address_block("::/129"));
}

TEST(UrlParser, ReadsEveryForm) {
  const auto url = parse_url("HTTP://API.example.org:8080/a/b%20c//");
  ASSERT_TRUE(url);
  EXPECT_EQ(url->host, "api.example.org");
  EXPECT_EQ(url->port, 8080);
  EXPECT_EQ(url->base_path, "/a/b%20c");
  EXPECT_FALSE(url->host_is_ip);
  const auto v6 = parse_url("http://[::1]/");
  ASSERT_TRUE(v6);
  EXPECT_EQ(v6->host, "::1");
  EXPECT_EQ(v6->port, 80);
  EXPECT_EQ(v6->base_path, "");
  EXPECT_TRUE(v6->host_is_ip);
  EXPECT_EQ(parse_url("unix:/a")->socket_path, "/a");
  EXPECT_TRUE(parse_url("http://a_b.c."));
  EXPECT_TRUE(parse_url("http://H")->same_place(*parse_url("http://h:80/")));
  for (const char* bad : {"http:", "http://", "http:/x", "http://[::1", "http://[::1]x", "http://h:", "http://h:1x",
                          "http://-a", "http://a..b", "http://h/%2", "http://h/\x80", "unix:", "ws:h", "wss//h",
                          "mailto:x", "http://1", "http://h/."}) {
    EXPECT_FALSE(parse_url(bad)) << bad;
  }
}

TEST(HostPattern, ReadsEveryForm) {
  EXPECT_EQ(parse_host_pattern("A.Example")->text, "a.example");
  EXPECT_EQ(parse_host_pattern("*.A.Example")->text, ".a.example");
  EXPECT_TRUE(parse_host_pattern("*.a.example")->wildcard);
  EXPECT_EQ(parse_host_pattern("[::1]")->text, "[::1]");
  EXPECT_EQ(parse_host_pattern("::1").error().suggestion, "[::1]");
  EXPECT_EQ(parse_host_pattern("*.a:80").error().suggestion, "*.a");
  EXPECT_FALSE(parse_host_pattern("*.1.2.3.4"));
  EXPECT_FALSE(parse_host_pattern("*."));
}

TEST(Covers, ComparesHostsPathsAndHeaders) {
  const auto with_host = [](std::string_view host) {
    Match match;
    match.hosts = {*parse_host_pattern(host)};
    return match;
  };
  const auto with_prefix = [](std::string_view path) {
    Match match;
    match.path_prefix = path;
    return match;
  };
  const auto with_exact = [](std::string_view path) {
    Match match;
    match.path_exact = path;
    return match;
  };
  const auto with_headers = [](std::vector<HeaderMatch> headers) {
    Match match;
    match.headers = std::move(headers);
    return match;
  };
  EXPECT_TRUE(covers({}, with_host("a.b")));
  Match websockets;
  websockets.upgrade = Upgrade::websocket;
  EXPECT_TRUE(covers({}, websockets));
  EXPECT_TRUE(covers(websockets, websockets));
  EXPECT_FALSE(covers(websockets, {}));
  EXPECT_FALSE(covers(with_host("a.b"), {}));
  EXPECT_TRUE(covers(with_host("*.b"), with_host("a.b")));
  EXPECT_TRUE(covers(with_host("*.b"), with_host("*.a.b")));
  EXPECT_TRUE(covers(with_host("*.b"), with_host("*.b")));
  EXPECT_FALSE(covers(with_host("*.b"), with_host("b")));
  EXPECT_FALSE(covers(with_host("a.b"), with_host("*.b")));
  EXPECT_TRUE(covers(with_prefix("/a"), with_prefix("/ab")));
  EXPECT_FALSE(covers(with_prefix("/ab"), with_prefix("/a")));
  EXPECT_FALSE(covers(with_exact("/a"), with_prefix("/a")));
  EXPECT_TRUE(covers(with_exact("/a"), with_exact("/a")));
  EXPECT_TRUE(covers(with_headers({{"a", "1"}}), with_headers({{"b", "2"}, {"a", "1"}})));
  EXPECT_FALSE(covers(with_headers({{"a", "1"}}), with_headers({{"a", "2"}})));
  EXPECT_FALSE(covers(with_headers({{"a", "1"}}), {}));
}

TEST(Nearest, ForgivesTyposAndSpelling) {
  EXPECT_EQ(likeness("Path-Prefix", "path_prefix"), 0U);
  EXPECT_EQ(likeness("wrokers", "workers"), 1U);
  EXPECT_EQ(likeness("retry", "retry_on"), 1U);
  EXPECT_EQ(likeness("intent", "weight"), std::nullopt);
  EXPECT_EQ(likeness(std::string(1000, 'a'), "a"), std::nullopt);
  EXPECT_EQ(likeness("", "a"), std::nullopt);
}

TEST(Utf8, FindsTheFirstBadByte) {
  EXPECT_EQ(find_invalid_utf8("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"), std::nullopt);
  for (const char* bad :
       {"\x80", "\xc0\x80", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82"}) {
    EXPECT_EQ(find_invalid_utf8("a" + std::string(bad)), 1U);
  }
}

}  // namespace
}  // namespace dao::config

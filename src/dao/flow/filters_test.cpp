// Each filter by itself, on heads made by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "dao/config/load.h"
#include "dao/flow/address_filter.h"
#include "dao/flow/asking_exchange.h"
#include "dao/flow/client_address.h"
#include "dao/flow/cookies.h"
#include "dao/flow/field_edits.h"
#include "dao/flow/filtered_exchange.h"
#include "dao/flow/path_rewrite.h"
#include "dao/flow/redirect.h"
#include "dao/flow/shared.h"
#include "dao/flow/sticky.h"
#include "dao/flow/traffic_split.h"
#include "dao/flow/url_text.h"

namespace dao::flow {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

using Lines = std::vector<std::string>;

config::Config load(const std::string& rule) {
  auto loaded = config::load_text("[[routes.rule]]\nname = \"r\"\n" + rule, "test.toml");
  if (loaded) return std::move(loaded->config);
  ADD_FAILURE() << loaded.error().front().key << ": " << loaded.error().front().message;
  std::abort();
}

constexpr const char* kUpstreams =
    "[[routes.rule.upstreams]]\nname = \"a\"\nurl = \"http://192.0.2.1\"\n"
    "[[routes.rule.upstreams]]\nname = \"b\"\nurl = \"http://192.0.2.2\"\n"
    "[[routes.rule.upstreams]]\nname = \"c\"\nurl = \"http://192.0.2.3\"\n";

net::Peer peer_of(const char* ip) {
  const auto address = net::SocketAddress::from_ip(ip, 4711);
  return net::Peer(address->raw());
}

// A request and what is known of it.
struct Asked {
  explicit Asked(std::string_view path, std::string_view authority = "a.test", const Lines& fields = {})
      : lines(fields), facts(with_path(path), random) {
    request.authority = authority;
    request.method_text = "GET";
    for (const std::string& line : lines) {
      const std::size_t colon = line.find(':');
      const std::string_view name = std::string_view(line).substr(0, colon);
      request.add(name, std::string_view(line).substr(colon + 2), http::identify_field(name));
    }
    facts.scheme = "http";
    facts.route = "r";
    client("203.0.113.9");
  }
  void client(const char* ip) {
    peer = peer_of(ip);
    facts.client = client_address(peer, request, {});
  }
  [[nodiscard]] Lines fields() const {
    Lines all;
    for (const http::Field& field : request.fields) {
      if (!field.dropped) all.push_back(std::string(field.name) + ": " + std::string(field.value));
    }
    return all;
  }

  Lines lines;
  http::RequestHead request;
  net::Peer peer;
  Random random{1};
  Facts facts;

 private:
  // The facts look at the path when they are made.
  const http::RequestHead& with_path(std::string_view path) {
    request.path = path;
    return request;
  }
};

// --- header edits ---

TEST(FieldEdits, RemoveRenameSetAddInThisOrder) {
  const config::Config config =
      load(std::string("[routes.rule.filters]\nrequest_headers_remove = [\"x-gone\", \"X-Again\"]\n"
                       "request_headers_rename = { \"X-Old\" = \"X-New\" }\n"
                       "request_headers_set = { \"User-Agent\" = \"dao\", \"X-Fresh\" = \"$client_ip\" }\n"
                       "request_headers_add = { \"X-Again\" = \"1\", \"X-New\" = \"more\" }\n") +
           kUpstreams);
  Asked asked("/", "a.test", {"X-Gone: 1", "User-Agent: a", "X-OLD: v", "User-Agent: b", "X-Again: 0", "X-Kept: k"});
  const FieldEdits edits(config.rules[0].filters.request, FieldEdits::Upstream::later);
  edits.apply(asked.request, asked.facts);
  EXPECT_THAT(asked.fields(), ElementsAre("User-Agent: dao", "X-New: v", "X-Kept: k", "X-Fresh: 203.0.113.9",
                                          "X-Again: 1", "X-New: more"));
}

TEST(FieldEdits, AFieldThatIsEmptyOnceItsVariablesAreKnownIsNotThere) {
  const config::Config config =
      load(std::string("[routes.rule.filters]\nrequest_headers_set = { \"X-Intent\" = \"$intent\" }\n"
                       "request_headers_add = { \"X-Trace\" = \"$trace_id\" }\n") +
           kUpstreams);
  Asked asked("/", "a.test", {"X-Intent: forged"});
  FieldEdits(config.rules[0].filters.request, FieldEdits::Upstream::later).apply(asked.request, asked.facts);
  EXPECT_THAT(asked.fields(), IsEmpty());
}

TEST(FieldEdits, TheUpstreamIsNamedWheneverOneIsChosen) {
  const config::Config config =
      load(std::string("[routes.rule.filters]\nrequest_headers_set = { Host = \"$upstream_host\" }\n"
                       "request_headers_add = { \"X-To\" = \"<$upstream>\", \"X-A\" = \"1\" }\n") +
           kUpstreams);
  Asked asked("/", "a.test", {"Host: a.test", "X-B: 2"});
  const FieldEdits edits(config.rules[0].filters.request, FieldEdits::Upstream::later);
  EXPECT_TRUE(edits.needs_upstream());
  const std::size_t late = edits.apply(asked.request, asked.facts);
  for (const std::string name : {"first", "second"}) {
    const std::string host = name + ".test";
    asked.facts.upstream = name;
    asked.facts.upstream_host = host;
    edits.name_upstream(asked.request, asked.facts, late);
    EXPECT_THAT(asked.fields(), ElementsAre("Host: " + host, "X-B: 2", "X-A: 1", "X-To: <" + name + ">"));
    EXPECT_EQ(asked.request.find(http::FieldId::host)->value, host);
  }
}

TEST(Facts, EveryVariable) {
  const config::Config config = load(
      std::string("[routes.rule.filters]\nrequest_headers_add = { V = "
                  "\"$client_ip $client_port $scheme $host $authority $method $path $query $request_uri $route $intent "
                  "$split $trace_id ${header:X-H} ${cookie:c} $$ ${path}x\" }\n") +
      kUpstreams);
  Asked asked("/p?q=1", "a.test:81",
              {"traceparent: 00-0123456789abcdef0123456789abcdef-0123456789abcdef-01", "X-H: h", "Cookie: b=1; c=2"});
  asked.facts.client_port = 4711;
  asked.facts.intent = "batch";
  asked.facts.split = "canary";
  const config::TextTemplate& text = config.rules[0].filters.request.add[0].value;
  EXPECT_EQ(render(text, asked.facts, asked.request.arena),
            "203.0.113.9 4711 http a.test a.test:81 GET /p q=1 /p?q=1 r batch canary 0123456789abcdef0123456789abcdef "
            "h 2 $ /px");
}

TEST(Facts, ARequestKeepsItsId) {
  const config::Config config =
      load(std::string("[routes.rule.filters]\nrequest_headers_add = { V = \"$request_id\" }\n") + kUpstreams);
  Asked asked("/");
  const config::TextTemplate& text = config.rules[0].filters.request.add[0].value;
  const std::string first{render(text, asked.facts, asked.request.arena)};
  EXPECT_EQ(first.size(), 32U);
  EXPECT_EQ(first.find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_EQ(render(text, asked.facts, asked.request.arena), first);
}

// --- client address ---

struct Told {
  const char* peer;
  Lines fields;
  const char* client;
};

class ClientAddressTest : public testing::TestWithParam<Told> {};

TEST_P(ClientAddressTest, IsTheLastOneThatATrustedProxyTold) {
  const Told& told = GetParam();
  const config::Config config =
      load(std::string(kUpstreams) + "[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"2001:db8::/32\"]\n");
  Asked asked("/", "a.test", told.fields);
  const net::Peer peer = peer_of(told.peer);
  const ClientAddress client = client_address(peer, asked.request, config.server.trusted_proxies);
  EXPECT_EQ(client.text, told.client);
}

INSTANTIATE_TEST_SUITE_P(
    All, ClientAddressTest,
    testing::Values(Told{"203.0.113.9", {}, "203.0.113.9"},
                    Told{"203.0.113.9", {"X-Forwarded-For: 1.2.3.4"}, "203.0.113.9"}, Told{"10.0.0.1", {}, "10.0.0.1"},
                    Told{"10.0.0.1", {"X-Forwarded-For: 1.2.3.4"}, "1.2.3.4"},
                    Told{"10.0.0.1", {"X-Forwarded-For: 6.6.6.6, 1.2.3.4"}, "1.2.3.4"},
                    Told{"10.0.0.1", {"X-Forwarded-For: 1.2.3.4, 10.9.9.9"}, "1.2.3.4"},
                    Told{"10.0.0.1", {"X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 1.2.3.4,10.0.0.2"}, "1.2.3.4"},
                    Told{"10.0.0.1", {"X-Forwarded-For: 10.1.1.1, 10.0.0.2"}, "10.1.1.1"},
                    Told{"10.0.0.1", {"X-Forwarded-For: 1.2.3.4:5678"}, "1.2.3.4"},
                    Told{"10.0.0.1", {"X-Forwarded-For: [2001:db9::1]:80"}, "2001:db9::1"},
                    Told{"2001:db8::1", {"X-Forwarded-For: 2001:db9::2"}, "2001:db9::2"},
                    Told{"10.0.0.1", {"X-Forwarded-For: 1.2.3.4, unknown, 10.0.0.2"}, "10.0.0.2"},
                    Told{"10.0.0.1", {"X-Forwarded-For: junk"}, "10.0.0.1"}));

TEST(ClientScheme, IsThatOfTheConnectionUnlessATrustedProxySaysMore) {
  Asked asked("/", "a.test", {"X-Forwarded-Proto: HTTPS"});
  EXPECT_EQ(client_scheme("http", false, asked.request), "http");
  EXPECT_EQ(client_scheme("http", true, asked.request), "https");
  EXPECT_EQ(client_scheme("http", true, Asked("/", "a.test", {"X-Forwarded-Proto: gopher"}).request), "http");
}

// --- what goes on over configurations ---

TEST(Shared, ARateLimitWhoseSettingsAreTheSameGoesOn) {
  const auto limited = [](const std::string& limit, const std::string& name = "r") {
    auto loaded = config::load_text(
        "[[routes.rule]]\nname = \"" + name + "\"\n[routes.rule.filters.rate_limit]\n" + limit + "\n" + kUpstreams,
        "test.toml");
    EXPECT_TRUE(loaded) << loaded.error().front().message;
    return std::move(loaded->config);
  };
  const config::Config config = limited("rps = 10");
  const auto first = Shared::make(config, 1).value();
  ASSERT_NE(first->rate_limiters.at(0), nullptr);
  const auto same = Shared::make(config, 2, first.get()).value();
  EXPECT_EQ(same->rate_limiters.at(0), first->rate_limiters[0]);
  // It goes on with the rule of the name, wherever that stands now.
  config::Config moved = limited("rps = 10", "other");
  moved.rules.push_back(config.rules.front());
  const auto of_two = Shared::make(moved, 3, first.get()).value();
  EXPECT_EQ(of_two->rate_limiters.at(1), first->rate_limiters[0]);
  EXPECT_NE(of_two->rate_limiters.at(0), first->rate_limiters[0]);
  for (const char* other :
       {"rps = 11", "rpm = 600", "rps = 10\nburst = 2", "rps = 10\nkey = \"client\"", "rps = 10\nheaders = false"}) {
    EXPECT_NE(Shared::make(limited(other), 4, first.get()).value()->rate_limiters.at(0), first->rate_limiters[0])
        << other;
  }
  config::Config other_clients = limited("rps = 10");
  other_clients.server.ipv6_client_prefix = 56;
  EXPECT_NE(Shared::make(other_clients, 5, first.get()).value()->rate_limiters.at(0), first->rate_limiters[0]);
  const auto without = Shared::make(load(kUpstreams), 6, first.get()).value();
  EXPECT_EQ(without->rate_limiters.at(0), nullptr);
}

// Two workers with one limit. The clock of the second one's loop stands while its machine has stalled.
TEST(RateLimit, AWorkerWhoseLoopIsLateRefusesNobodyWhoIsDue) {
  const config::Config config =
      load("[routes.rule.filters.rate_limit]\nrps = 10\nburst = 1\n" + std::string(kUpstreams));
  const auto shared = Shared::make(config, 1).value();
  const auto chain = Chain::compile(config, 0, *shared);
  sense::RouteCounters counters;
  Random random(1);
  AskingExchange client;
  ManualClock clock;
  clock.advance(std::chrono::hours(1));
  const auto admitted = [&](Instant now) {
    client.begin();
    FilteredExchange exchange(*chain, client, {.random = random, .counters = counters});
    return exchange.admit(now, clock).has_value();
  };
  const Instant late = clock.now();
  clock.advance(std::chrono::seconds(2));
  EXPECT_TRUE(admitted(clock.now()));
  EXPECT_FALSE(admitted(late)) << "too many for any clock";
  clock.advance(std::chrono::milliseconds(100));
  EXPECT_TRUE(admitted(late)) << "the next one is due";
  EXPECT_EQ(counters.rate_limited.value(), 1U);
}

// --- allow, deny ---

bool admits(const config::Config& config, const char* ip) {
  const config::Filters& filters = config.rules[0].filters;
  return AddressFilter(filters.allow, filters.deny).admits(peer_of(ip).bytes());
}

TEST(AddressFilter, DenyWinsAndAllowIsForAllOthers) {
  const config::Config config =
      load(std::string("[routes.rule.filters]\nallow = [\"10.0.0.0/8\", \"10.5.0.0/16\", \"2001:db8::/33\"]\n"
                       "deny = [\"10.1.0.0/16\", \"10.0.0.7\"]\n") +
           kUpstreams);
  EXPECT_TRUE(admits(config, "10.0.0.6"));
  EXPECT_FALSE(admits(config, "10.0.0.7"));
  EXPECT_TRUE(admits(config, "10.0.0.8"));
  EXPECT_FALSE(admits(config, "10.1.255.255"));
  EXPECT_TRUE(admits(config, "10.2.0.0"));
  EXPECT_TRUE(admits(config, "10.255.255.255"));
  EXPECT_FALSE(admits(config, "11.0.0.0"));
  EXPECT_FALSE(admits(config, "9.255.255.255"));
  EXPECT_TRUE(admits(config, "::ffff:10.2.0.0"));
  EXPECT_TRUE(admits(config, "2001:db8:7fff::1"));
  EXPECT_FALSE(admits(config, "2001:db8:8000::1"));
  EXPECT_FALSE(AddressFilter(config.rules[0].filters.allow, {}).admits({}));
}

TEST(AddressFilter, WithoutAllowAllButTheDeniedPass) {
  const config::Config config = load(std::string("[routes.rule.filters]\ndeny = [\"unix\", \"::/0\"]\n") + kUpstreams);
  EXPECT_TRUE(admits(config, "10.0.0.6"));
  EXPECT_FALSE(admits(config, "2001:db8::1"));
  EXPECT_FALSE(AddressFilter({}, config.rules[0].filters.deny).admits({}));
}

TEST(AddressRanges, AgreeWithTheBlocksTheyAreMadeOf) {
  Random random(3);
  for (int round = 0; round < 50; ++round) {
    config::AddressSet set;
    for (int i = 0; i < 20; ++i) {
      config::AddressBlock block;
      block.prefix = static_cast<std::uint8_t>(20 + random.below(13));
      const std::uint64_t bits = (random.below(1U << 12U) << (32U - block.prefix)) & 0xfffffU;
      block.bytes[1] = static_cast<std::uint8_t>(bits >> 16U);
      block.bytes[2] = static_cast<std::uint8_t>(bits >> 8U);
      block.bytes[3] = static_cast<std::uint8_t>(bits);
      set.blocks.push_back(block);
    }
    const AddressRanges ranges(set);
    for (int i = 0; i < 500; ++i) {
      const std::uint64_t bits = random.below(1U << 20U);
      const std::array<std::uint8_t, 4> address = {0, static_cast<std::uint8_t>(bits >> 16U),
                                                   static_cast<std::uint8_t>(bits >> 8U),
                                                   static_cast<std::uint8_t>(bits)};
      EXPECT_EQ(ranges.contain(address), set.contain(address));
    }
  }
}

// --- rewrite ---

struct Rewritten {
  const char* keys;
  const char* before;
  const char* after;
};

class PathRewriteTest : public testing::TestWithParam<Rewritten> {};

TEST_P(PathRewriteTest, ChangesThePath) {
  const Rewritten& rewritten = GetParam();
  const config::Config config = load(std::string(rewritten.keys) + kUpstreams);
  Asked asked(rewritten.before);
  const PathRewrite rewrite(config.rules[0].rewrite);
  rewrite.apply(asked.request, asked.facts);
  EXPECT_EQ(asked.request.path, rewritten.after);
}

constexpr const char* kStrip = "[routes.rule.rewrite]\nstrip_prefix = \"/api/\"\n";
constexpr const char* kReplace = "[routes.rule.rewrite]\nstrip_prefix = \"/api\"\nreplace_prefix = \"/v2/x\"\n";
constexpr const char* kMatched =
    "[routes.rule.match]\npath_prefix = \"/\"\n[routes.rule.rewrite]\nreplace_prefix = \"/v2/\"\n";
constexpr const char* kRegex =
    "[routes.rule.rewrite]\nregex = '^/u/([0-9]+)/(.*)$'\nreplacement = \"/users/$1/of/$2\"\n";
constexpr const char* kAll = "[routes.rule.rewrite]\nregex = '_'\nreplacement = '-'\n";
constexpr const char* kCut = "[routes.rule.rewrite]\nregex = '^/x'\n";
constexpr const char* kEmpty = "[routes.rule.rewrite]\nregex = 'z*'\nreplacement = \"-\"\n";
constexpr const char* kVariables = "[routes.rule.rewrite]\nregex = '^.*$'\nreplacement = \"/$host$0 ${header:no}\"\n";

INSTANTIATE_TEST_SUITE_P(
    All, PathRewriteTest,
    testing::Values(Rewritten{kStrip, "/api/x?q=/api/", "/x?q=/api/"}, Rewritten{kStrip, "/api", "/"},
                    Rewritten{kStrip, "/api?q", "/?q"}, Rewritten{kStrip, "/api/", "/"},
                    Rewritten{kStrip, "/apis/x", "/apis/x"}, Rewritten{kStrip, "/API/x", "/API/x"},
                    Rewritten{kStrip, "/api//evil.test/x", "/evil.test/x"}, Rewritten{kStrip, "*", "*"},
                    Rewritten{kReplace, "/api/x", "/v2/x/x"}, Rewritten{kReplace, "/api", "/v2/x"},
                    Rewritten{kMatched, "/x?y", "/v2/x?y"}, Rewritten{kMatched, "/", "/v2/"},
                    Rewritten{kRegex, "/u/7/a/b?c=/u/8/", "/users/7/of/a/b?c=/u/8/"},
                    Rewritten{kRegex, "/u/x/a", "/u/x/a"}, Rewritten{kAll, "/a_b_c?d_e", "/a-b-c?d_e"},
                    Rewritten{kCut, "/x", "/"}, Rewritten{kCut, "/x/y", "/y"}, Rewritten{kCut, "/xy", "/y"},
                    Rewritten{kEmpty, "/ab", "/-/-a-b-"}, Rewritten{kVariables, "/p", "/a.test/p%20"}));

// --- redirect ---

struct Redirected {
  const char* keys;
  const char* authority;
  const char* path;
  const char* scheme;
  const char* location;  // "": none
};

class RedirectTest : public testing::TestWithParam<Redirected> {};

TEST_P(RedirectTest, SendsElsewhere) {
  const Redirected& redirected = GetParam();
  const config::Config config = load(std::string("[routes.rule.redirect]\n") + redirected.keys);
  Asked asked(redirected.path, redirected.authority);
  Facts facts(asked.request, asked.random);
  facts.scheme = redirected.scheme;
  EXPECT_EQ(Redirect(config.rules[0].redirect).location(facts, asked.request.arena).value_or(""), redirected.location);
}

INSTANTIATE_TEST_SUITE_P(
    All, RedirectTest,
    testing::Values(Redirected{"scheme = \"https\"", "a.test", "/x?y", "http", "https://a.test/x?y"},
                    Redirected{"scheme = \"https\"", "a.test", "/x?y", "https", ""},
                    Redirected{"scheme = \"https\"", "a.test:8080", "/", "http", "https://a.test/"},
                    Redirected{"scheme = \"https\"\nport = 8443", "a.test:8080", "/", "http", "https://a.test:8443/"},
                    Redirected{"scheme = \"https\"\nport = 443", "a.test:8080", "/", "http", "https://a.test/"},
                    Redirected{"scheme = \"https\"", "[::1]:80", "/", "http", "https://[::1]/"},
                    Redirected{"host = \"www.a.test\"", "a.test:80", "/x", "http", "http://www.a.test/x"},
                    Redirected{"host = \"www.a.test\"", "WWW.a.test", "/x", "http", ""},
                    Redirected{"host = \"www.$host\"", "a.test", "/x", "https", "https://www.a.test/x"},
                    Redirected{"path = \"/new$path\"", "a.test:81", "/x?y=1", "http", "http://a.test:81/new/x?y=1"},
                    Redirected{"path = \"/new?z=1\"", "a.test", "/x?y=1", "http", "http://a.test/new?z=1&y=1"},
                    Redirected{"path = \"/new\"\nkeep_query = false", "a.test", "/x?y=1", "http", "http://a.test/new"},
                    Redirected{"path = \"/new\"", "a.test", "/new?y", "http", ""},
                    Redirected{"port = 81", "a.test", "/", "http", "http://a.test:81/"},
                    Redirected{"port = 81", "a.test:81", "/", "http", ""},
                    Redirected{"scheme = \"https\"", "a.test", "//evil.test", "http", "https://a.test//evil.test"},
                    Redirected{"scheme = \"https\"", "", "/", "http", ""},
                    Redirected{"scheme = \"https\"", "a.test", "*", "http", "https://a.test/"}));

TEST(UrlText, WhatCannotStandInAUrlIsEncoded) {
  http::Arena arena;
  EXPECT_EQ(url_safe("/plain%20?a=b&c", arena), "/plain%20?a=b&c");
  EXPECT_EQ(url_safe("/a b\"<>\\\r\n#\xc3\xa9", arena), "/a%20b%22%3C%3E%5C%0D%0A%23%C3%A9");
}

// --- cookies, sticky ---

TEST(Cookies, AreFoundAsServersFindThem) {
  EXPECT_EQ(find_cookie_in("a=1; b=2", "b"), "2");
  EXPECT_EQ(find_cookie_in("a=1;b=2;b=3", "b"), "2");
  EXPECT_EQ(find_cookie_in(" a = 1 ; junk; =; b=\"q\"", "b"), "q");
  EXPECT_EQ(find_cookie_in("a=x=y", "a"), "x=y");
  EXPECT_EQ(find_cookie_in("a=", "a"), "");
  EXPECT_EQ(find_cookie_in("ab=1; A=2", "a"), std::nullopt);
  EXPECT_EQ(find_cookie_in("", "a"), std::nullopt);
  EXPECT_EQ(find_cookie(Asked("/", "a.test", {"Cookie: x=1", "cookie: a=2"}).request, "a"), "2");
}

constexpr const char* kSticky = "[routes.rule.sticky]\ncookie = \"s\"\nsecret = \"0123456789abcdef\"\n";

std::string token_in(std::string_view set_cookie) {
  return std::string(set_cookie.substr(2, set_cookie.find(';') - 2));
}

TEST(Sticky, TheCookieNamesItsUpstreamAndNobodyElseCanMakeOne) {
  const config::Config config = load(std::string(kSticky) + kUpstreams);
  const Sticky sticky(config.rules[0], config.upstreams, "0123456789abcdef");
  const Sticky other(config.rules[0], config.upstreams, "0123456789abcdeg");
  for (std::size_t i = 0; i < 3; ++i) {
    const std::string token = token_in(sticky.set_cookie(i, false));
    EXPECT_EQ(token.size(), 32U);
    EXPECT_EQ(sticky.position_of(token), i);
    EXPECT_EQ(other.position_of(token), std::nullopt);
    for (std::size_t at = 0; at < token.size(); ++at) {
      std::string forged = token;
      forged[at] = forged[at] == 'A' ? 'B' : 'A';
      EXPECT_EQ(sticky.position_of(forged), std::nullopt);
    }
    EXPECT_EQ(sticky.position_of(token.substr(1)), std::nullopt);
    const Sticky::Found found = sticky.find(Asked("/", "a.test", {"Cookie: x=1; s=" + token}).request);
    EXPECT_TRUE(found.cookie);
    EXPECT_EQ(found.position, i);
  }
  EXPECT_EQ(sticky.position_of(""), std::nullopt);
  EXPECT_FALSE(sticky.find(Asked("/").request).cookie);
}

TEST(Sticky, AttributesOfTheCookie) {
  const config::Config config =
      load(std::string(kSticky) + "ttl_ms = 1500\npath = \"/p\"\ndomain = \"a.test\"\n" + kUpstreams);
  const Sticky sticky(config.rules[0], config.upstreams, config.rules[0].sticky.secret);
  EXPECT_THAT(std::string(sticky.set_cookie(0, true)),
              testing::EndsWith("; Path=/p; Domain=a.test; Max-Age=2; HttpOnly; SameSite=Lax; Secure"));
  EXPECT_THAT(std::string(sticky.set_cookie(0, false)), testing::EndsWith("; SameSite=Lax"));
}

// --- split ---

std::string members_of(const TrafficSplit::Choice& choice) {
  std::string all;
  for (std::size_t i = 0; i < choice.members->size(); ++i) {
    if ((*choice.members)[i] != 0) all += static_cast<char>('a' + i);
  }
  return all;
}

TEST(TrafficSplit, ConditionsDecideFirst) {
  const config::Config config =
      load(std::string(kUpstreams) +
           "[[routes.rule.split]]\nname = \"h\"\nheaders = { \"X-Canary\" = \"1\" }\nupstreams = \"b\"\n"
           "[[routes.rule.split]]\nname = \"c\"\ncookies = { Beta = \"yes\" }\nupstreams = [\"c\"]\n");
  const TrafficSplit split(config.rules[0]);
  const auto choose = [&](const Lines& fields) {
    Asked asked("/", "a.test", fields);
    const TrafficSplit::Choice choice = split.choose(asked.facts);
    return std::string(choice.name) + ":" + members_of(choice);
  };
  EXPECT_EQ(choose({}), ":a");
  EXPECT_EQ(choose({"x-canary: 1"}), "h:b");
  EXPECT_EQ(choose({"X-Canary: 2"}), ":a");
  EXPECT_EQ(choose({"Cookie: Beta=yes"}), "c:c");
  EXPECT_EQ(choose({"Cookie: beta=yes"}), ":a");
  EXPECT_EQ(choose({"Cookie: Beta=yes", "X-Canary: 1"}), "h:b");
}

TEST(TrafficSplit, SharesFollowTheWeightsAndAClientStays) {
  const config::Config config = load("split_by = \"cookie:id\"\n" + std::string(kUpstreams) +
                                     "[[routes.rule.split]]\nname = \"old\"\nweight = 90\nupstreams = [\"a\", \"b\"]\n"
                                     "[[routes.rule.split]]\nname = \"new\"\nweight = 10\nupstreams = \"c\"\n");
  const TrafficSplit split(config.rules[0]);
  const TrafficSplit same(config.rules[0]);
  std::map<std::string, int> counts;
  for (int i = 0; i < 20'000; ++i) {
    Asked asked("/", "a.test", {"Cookie: id=" + std::to_string(i)});
    const std::string_view name = split.choose(asked.facts).name;
    ++counts[std::string(name)];
    asked.client("198.51.100.7");
    EXPECT_EQ(same.choose(asked.facts).name, name);
  }
  EXPECT_NEAR(counts["new"], 2000, 200);
  EXPECT_EQ(counts["new"] + counts["old"], 20'000);
  // Without the cookie the address decides.
  counts.clear();
  for (int i = 0; i < 2000; ++i) {
    Asked asked("/");
    asked.client(("10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250)).c_str());
    ++counts[std::string(split.choose(asked.facts).name)];
  }
  EXPECT_NEAR(counts["new"], 200, 60);
}

}  // namespace
}  // namespace dao::flow

// Which messages HTTP/2 allows (RFC 9113 sections 8.1 to 8.3).
#include "dao/http/h2/section_rules.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace dao::http::h2 {
namespace {

using Fields = std::vector<std::pair<std::string, std::string>>;

// Whether the section is well-formed; `rules` then tells what was found.
bool allowed(SectionRules& rules, SectionKind kind, const Fields& fields) {
  rules.begin(kind);
  for (const auto& [name, value] : fields) {
    if (!rules.add({.name = name, .value = value})) return false;
  }
  return rules.complete();
}

Fields get(Fields more = {}) {
  Fields fields = {{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {":authority", "a.test"}};
  fields.insert(fields.end(), more.begin(), more.end());
  return fields;
}

Fields answer(const std::string& status, Fields more = {}) {
  more.insert(more.begin(), {":status", status});
  return more;
}

struct Case {
  const char* what;
  SectionKind kind;
  Fields fields;
};

class AllowedSection : public testing::TestWithParam<Case> {};
class MalformedSection : public testing::TestWithParam<Case> {};

constexpr auto kRequest = SectionKind::request;
constexpr auto kResponse = SectionKind::response;
constexpr auto kTrailers = SectionKind::trailers;

TEST_P(AllowedSection, Passes) {
  SectionRules rules;
  EXPECT_TRUE(allowed(rules, GetParam().kind, GetParam().fields)) << GetParam().what;
}

TEST_P(MalformedSection, IsFoundOut) {
  SectionRules rules;
  EXPECT_FALSE(allowed(rules, GetParam().kind, GetParam().fields)) << GetParam().what;
}

INSTANTIATE_TEST_SUITE_P(
    Messages, AllowedSection,
    testing::Values(Case{"a request", kRequest, get()},
                    Case{"Host instead of :authority",
                         kRequest,
                         {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {"host", "a.test"}}},
                    Case{"OPTIONS *",
                         kRequest,
                         {{":method", "OPTIONS"}, {":scheme", "http"}, {":path", "*"}, {":authority", "a.test"}}},
                    Case{"CONNECT", kRequest, {{":method", "CONNECT"}, {":authority", "a.test:443"}}},
                    Case{"extended CONNECT (RFC 8441 4)",
                         kRequest,
                         {{":method", "CONNECT"},
                          {":protocol", "websocket"},
                          {":scheme", "https"},
                          {":path", "/"},
                          {":authority", "a.test"}}},
                    Case{"TE: trailers", kRequest, get({{"te", "trailers"}})},
                    Case{"a value with a tab and bytes above ASCII", kRequest, get({{"x", "a\tb\xc3\xa9"}})},
                    Case{"an empty value", kRequest, get({{"x", ""}})},
                    Case{"an answer", kResponse, answer("200", {{"content-length", "5"}})},
                    Case{"no content, and its length is 0", kResponse, answer("204", {{"content-length", "0"}})},
                    Case{"an interim answer", kResponse, answer("103", {{"link", "</a>"}})},
                    Case{"trailers", kTrailers, {{"grpc-status", "0"}}}, Case{"no trailers at all", kTrailers, {}}));

INSTANTIATE_TEST_SUITE_P(
    Messages, MalformedSection,
    testing::Values(
        Case{"no method (8.3.1)", kRequest, {{":scheme", "http"}, {":path", "/"}, {":authority", "a"}}},
        Case{"no scheme", kRequest, {{":method", "GET"}, {":path", "/"}, {":authority", "a"}}},
        Case{"no path", kRequest, {{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}}},
        Case{"neither :authority nor Host", kRequest, {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}}},
        Case{"an empty path", kRequest, {{":method", "GET"}, {":scheme", "http"}, {":path", ""}, {":authority", "a"}}},
        Case{"a path that begins otherwise",
             kRequest,
             {{":method", "GET"}, {":scheme", "http"}, {":path", "a"}, {":authority", "a"}}},
        Case{"* for another method",
             kRequest,
             {{":method", "GET"}, {":scheme", "http"}, {":path", "*"}, {":authority", "a"}}},
        Case{"CONNECT with a path (8.5)", kRequest, {{":method", "CONNECT"}, {":authority", "a:1"}, {":path", "/"}}},
        Case{":protocol without CONNECT (RFC 8441 4)", kRequest, get({{":protocol", "websocket"}})},
        Case{"extended CONNECT without a scheme",
             kRequest,
             {{":method", "CONNECT"}, {":protocol", "websocket"}, {":path", "/"}, {":authority", "a"}}},
        Case{"a pseudo-field twice (8.3)", kRequest, get({{":path", "/"}})},
        Case{"an unknown pseudo-field", kRequest, get({{":x", "y"}})},
        Case{"one of answers", kRequest, get({{":status", "200"}})},
        Case{"a pseudo-field behind a field",
             kRequest,
             {{":method", "GET"}, {":scheme", "http"}, {"x", "y"}, {":path", "/"}, {":authority", "a"}}},
        Case{"two Hosts", kRequest, get({{"host", "a.test"}, {"host", "a.test"}})},
        Case{"upper case (8.2.1)", kRequest, get({{"X", "y"}})},
        Case{"a name without characters", kRequest, get({{"", "y"}})},
        Case{"a space in a name", kRequest, get({{"x y", "z"}})}, Case{"CR in a value", kRequest, get({{"x", "a\rb"}})},
        Case{"LF in a value", kRequest, get({{"x", "a\nb"}})},
        Case{"NUL in a value", kRequest, get({{"x", std::string("a\0b", 3)}})},
        Case{"a space before a value", kRequest, get({{"x", " y"}})},
        Case{"a tab behind a value", kRequest, get({{"x", "y\t"}})},
        Case{"CR in a pseudo-field",
             kRequest,
             {{":method", "GET"}, {":scheme", "http"}, {":path", "/\r"}, {":authority", "a"}}},
        Case{"Connection (8.2.2)", kRequest, get({{"connection", "close"}})},
        Case{"Keep-Alive", kRequest, get({{"keep-alive", "1"}})},
        Case{"Proxy-Connection", kRequest, get({{"proxy-connection", "close"}})},
        Case{"Transfer-Encoding", kRequest, get({{"transfer-encoding", "chunked"}})},
        Case{"Upgrade", kRequest, get({{"upgrade", "h2c"}})},
        Case{"TE that asks for more", kRequest, get({{"te", "trailers, gzip"}})},
        Case{"a length that is none (8.1.1)", kRequest, get({{"content-length", "5x"}})},
        Case{"a negative length", kRequest, get({{"content-length", "-5"}})},
        Case{"two lengths", kRequest, get({{"content-length", "5"}, {"content-length", "5"}})},
        Case{"no status (8.3.2)", kResponse, {{"x", "y"}}},
        Case{"two statuses", kResponse, answer("200", {{":status", "200"}})},
        Case{"a status of two digits", kResponse, answer("20")}, Case{"a status of letters", kResponse, answer("2x0")},
        Case{"a status that does not exist", kResponse, answer("600")}, Case{"101 (8.6)", kResponse, answer("101")},
        Case{"a path in an answer", kResponse, answer("200", {{":path", "/"}})},
        Case{"an interim answer with a length (RFC 9110 8.6)", kResponse, answer("103", {{"content-length", "0"}})},
        Case{"no content, but a length", kResponse, answer("204", {{"content-length", "5"}})},
        Case{"a pseudo-field in trailers", kTrailers, {{":path", "/"}}},
        Case{"a status in trailers", kTrailers, {{":status", "200"}}},
        Case{"Connection in trailers", kTrailers, {{"connection", "close"}}}));

TEST(SectionRulesTest, TellsWhatItFound) {
  SectionRules rules;
  ASSERT_TRUE(allowed(rules, kRequest, get({{"content-length", "17"}, {"priority", "u=1, i"}})));
  EXPECT_EQ(rules.length(), 17U);
  EXPECT_EQ(rules.priority(), (Priority{1, true}));
  EXPECT_FALSE(rules.is_tunnel());

  ASSERT_TRUE(allowed(rules, kRequest, {{":method", "CONNECT"}, {":authority", "a.test:443"}}));
  EXPECT_TRUE(rules.is_tunnel());
  EXPECT_EQ(rules.length(), std::nullopt) << "of the section before";

  ASSERT_TRUE(allowed(rules, kResponse, answer("404")));
  EXPECT_EQ(rules.status(), 404);
  EXPECT_FALSE(rules.interim());
  ASSERT_TRUE(allowed(rules, kResponse, answer("103")));
  EXPECT_TRUE(rules.interim());
}

TEST(SectionRulesTest, TellsWhichFieldItWas) {
  SectionRules rules;
  rules.begin(kTrailers);
  ASSERT_TRUE(rules.add({.name = "content-type", .value = "a/b"}));
  EXPECT_EQ(rules.id(), FieldId::content_type);
  constexpr std::uint8_t kUserAgent = 58;  // in the static table
  ASSERT_TRUE(rules.add({.name = "user-agent", .value = "x", .static_name = kUserAgent}));
  EXPECT_EQ(rules.id(), FieldId::user_agent);
  ASSERT_TRUE(rules.add({.name = "x", .value = "y"}));
  EXPECT_EQ(rules.id(), FieldId::other);
}

}  // namespace
}  // namespace dao::http::h2

// HTTP/1 heads as DAO reads them (RFC 9112 sections 2 to 6): what is accepted, what is refused and by which rule.
#include "dao/http/h1/head_parser.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "dao/http/h1/syntax.h"

namespace dao::http::h1 {
namespace {

using Kind = BodyFraming::Kind;

constexpr BodyFraming kNoBody{};
constexpr BodyFraming kChunked{Kind::chunked, 0};
constexpr BodyFraming kUntilClose{Kind::until_close, 0};
constexpr BodyFraming length(std::uint64_t bytes) {
  return {Kind::length, bytes};
}

std::string fields_text(const Head& head) {
  std::string text;
  for (const Field& field : head.fields) {
    if (!field.dropped) text += std::string{field.name} + "=" + std::string{field.value} + ";";
  }
  return text;
}

std::string describe(const RequestHead& head) {
  return std::string{head.method_text} + "|" + std::string{head.target} + "|" + std::string{head.path} + "|" +
         std::string{head.authority} + "|" + fields_text(head) + "|" + std::to_string(head.version_minor) + "|" +
         std::to_string(static_cast<int>(head.framing.kind)) + "," + std::to_string(head.framing.length) + "|" +
         (head.keep_alive ? "keep" : "close") + (head.expect_continue ? "|expect" : "") +
         (head.absolute_form ? "|absolute" : "");
}

// As a connection reads it that gets one byte at a time: parsed again after each.
Result<ParsedBytes> parse_byte_by_byte(const std::string& text, const HeadLimits& limits, RequestHead& head) {
  for (std::size_t size = 1; size <= text.size(); ++size) {
    const std::string part = text.substr(0, size);
    head.clear();
    const Result<ParsedBytes> parsed = parse_request_head(part, limits, head);
    if (!parsed) return parsed;
    if (*parsed > 0) {
      head.clear();
      return parse_request_head(std::string_view(text).substr(0, size), limits, head);  // views that outlive `part`
    }
  }
  return ParsedBytes{0};
}

std::string get(const std::string& fields) {
  return "GET / HTTP/1.1\r\nHost: a.test\r\n" + fields + "\r\n";
}
std::string line(const std::string& start) {
  return start + "\r\nHost: a.test\r\n\r\n";
}

// --- requests ------------------------------------------------------------------------------------------------------

struct ValidRequest {
  const char* name;
  std::string text;
  const char* path = "/";
  const char* authority = "a.test";
  BodyFraming framing = kNoBody;
  bool keep_alive = true;
};

std::vector<ValidRequest> valid_requests() {
  return {
      {"simplest (3)", get("")},
      {"path and query (3.2.1)", line("GET /a/b?c=d&e HTTP/1.1"), "/a/b?c=d&e"},
      {"empty query (3.2.1)", line("GET /? HTTP/1.1"), "/?"},
      {"two slashes (3.2.1)", line("GET //b.test/x HTTP/1.1"), "//b.test/x"},
      {"dot segments are not ours (3.2.1)", line("GET /../%2e%2E/x HTTP/1.1"), "/../%2e%2E/x"},
      {"odd visible characters in the target", line("GET /\"<>\\^`{|} HTTP/1.1"), "/\"<>\\^`{|}"},
      {"absolute form (3.2.2)", line("GET http://b.test/x?y HTTP/1.1"), "/x?y", "b.test"},
      {"absolute form in any case (3.2.2)", line("GET HTTP://B.test/ HTTP/1.1"), "/", "B.test"},
      {"absolute form without a path (3.2.2)", line("GET http://b.test HTTP/1.1"), "/", "b.test"},
      {"absolute form with only a query (3.2.2)", line("GET http://b.test?q HTTP/1.1"), "/?q", "b.test"},
      {"absolute form with a port (3.2.2)", line("GET http://b.test:65535/ HTTP/1.1"), "/", "b.test:65535"},
      {"absolute form, IPv6 (3.2.2)", line("GET http://[2001:db8::1]:80/ HTTP/1.1"), "/", "[2001:db8::1]:80"},
      {"absolute form, https (3.2.2)", line("GET https://b.test/ HTTP/1.1"), "/", "b.test"},
      {"asterisk form (3.2.4)", line("OPTIONS * HTTP/1.1"), "*"},
      {"asterisk by absolute form (3.2.4)", line("OPTIONS http://b.test HTTP/1.1"), "*", "b.test"},
      {"OPTIONS of the root (3.2.4)", line("OPTIONS http://b.test/ HTTP/1.1"), "/", "b.test"},
      {"unknown method (9110 9.1)", line("M-SEARCH / HTTP/1.1")},
      {"method of every token character (9110 5.6.2)", line("!#$%&'*+-.^_`|~09AZaz / HTTP/1.1")},
      {"methods are case-sensitive (9110 9.1)", line("get / HTTP/1.1")},
      {"HTTP/1.0 needs no Host (3.2)", "GET / HTTP/1.0\r\n\r\n", "/", "", kNoBody, false},
      {"HTTP/1.0 with keep-alive (9.3)", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "/", "", kNoBody, true},
      {"close (9.6)", get("Connection: close\r\n"), "/", "a.test", kNoBody, false},
      {"close among others (9.6)", get("Connection: foo,,\tCLOSE , bar\r\n"), "/", "a.test", kNoBody, false},
      {"close wins (9.3)", get("Connection: keep-alive\r\nConnection: close\r\n"), "/", "a.test", kNoBody, false},
      {"Content-Length (6.2)", get("Content-Length: 5\r\n"), "/", "a.test", length(5)},
      {"Content-Length of nothing (6.2)", get("Content-Length: 0\r\n")},
      {"Content-Length with zeros (9110 8.6)", get("Content-Length: 007\r\n"), "/", "a.test", length(7)},
      {"greatest Content-Length", get("Content-Length: 9223372036854775807\r\n"), "/", "a.test",
       length(9223372036854775807U)},
      {"chunked (6.1)", get("Transfer-Encoding: chunked\r\n"), "/", "a.test", kChunked},
      {"chunked in any case (7)", get("transfer-encoding:ChUnKeD\r\n"), "/", "a.test", kChunked},
      {"chunked with white space around (5.1)", get("Transfer-Encoding: \t chunked\t \r\n"), "/", "a.test", kChunked},
      {"Host with port (9110 7.2)", "GET / HTTP/1.1\r\nHost: a.test:8080\r\n\r\n", "/", "a.test:8080"},
      {"Host with an empty port (3986 3.2.3)", "GET / HTTP/1.1\r\nHost: a.test:\r\n\r\n", "/", "a.test:"},
      {"Host, IPv6 (9110 7.2)", "GET / HTTP/1.1\r\nHost: [::ffff:1.2.3.4]:1\r\n\r\n", "/", "[::ffff:1.2.3.4]:1"},
      {"Host in any place (5.3)", "GET / HTTP/1.1\r\nA: 1\r\nhOsT:a.test\r\n\r\n"},
      {"empty value (9110 5.5)", get("A:\r\nB: \t \r\n")},
      {"obs-text in a value (9110 5.5)", get("A: \x80\xff\xe4\r\n")},
      {"tab in a value (9110 5.5)", get("A: b\tc\r\n")},
      {"name of every token character (9110 5.1)", get("!#$%&'*+-.^_`|~09AZaz: 1\r\n")},
      {"more follows (3)", get("") + "GET /next HTTP/1.1\r\n"},
  };
}

TEST(ParseRequestHead, Accepts) {
  for (const ValidRequest& sample : valid_requests()) {
    SCOPED_TRACE(sample.name);
    RequestHead head;
    const Result<ParsedBytes> parsed = parse_request_head(sample.text, {}, head);
    ASSERT_TRUE(parsed) << parsed.error().detail;
    EXPECT_EQ(*parsed, sample.text.find("\r\n\r\n") + 4);
    EXPECT_EQ(head.path, sample.path);
    EXPECT_EQ(head.authority, sample.authority);
    EXPECT_EQ(head.framing, sample.framing);
    EXPECT_EQ(head.keep_alive, sample.keep_alive);

    RequestHead slowly;
    const Result<ParsedBytes> parsed_slowly = parse_byte_by_byte(sample.text, {}, slowly);
    ASSERT_TRUE(parsed_slowly) << parsed_slowly.error().detail;
    EXPECT_EQ(*parsed_slowly, *parsed);
    EXPECT_EQ(describe(slowly), describe(head));
  }
}

struct RefusedRequest {
  const char* name;
  std::string text;
  ErrorKind kind = ErrorKind::malformed;
};

std::vector<RefusedRequest> refused_requests() {
  std::vector<RefusedRequest> samples = {
      // request line
      {"no method (3.1)", line(" / HTTP/1.1")},
      {"tab after the method (3)", line("GET\t/ HTTP/1.1")},
      {"two spaces (3)", line("GET  / HTTP/1.1")},
      {"two spaces before the version (3)", line("GET /  HTTP/1.1")},
      {"space after the version (3)", line("GET / HTTP/1.1 ")},
      {"method no token (3.1)", line("G(T / HTTP/1.1")},
      {"method too long (3)", line(std::string(33, 'M') + " / HTTP/1.1"), ErrorKind::unsupported},
      {"no target (3)", line("GET HTTP/1.1")},
      {"no version (3)", line("GET /")},
      {"HTTP/0.9 (3)", "GET /\r\n"},
      {"HTTP/2.0 (9110 15.6.6)", line("GET / HTTP/2.0"), ErrorKind::version},
      {"HTTP/1.2 (9110 15.6.6)", line("GET / HTTP/1.2"), ErrorKind::version},
      {"HTTP/2 preface (9113 3.4)", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ErrorKind::version},
      {"version in lower case (2.3)", line("GET / http/1.1")},
      {"version without minor (2.3)", line("GET / HTTP/1")},
      {"version with two digits (2.3)", line("GET / HTTP/1.10")},
      {"version of letters (2.3)", line("GET / HTTP/x.y")},
      {"relative target (3.2)", line("GET index.html HTTP/1.1")},
      {"fragment (3.2)", line("GET /x#y HTTP/1.1")},
      {"obs-text in the target (3.2)", line("GET /\xe4 HTTP/1.1")},
      {"NUL in the target (3.2)", line(std::string("GET /\0 HTTP/1.1", 15))},
      {"asterisk of another method (3.2.4)", line("GET * HTTP/1.1")},
      {"asterisk and more (3.2.4)", line("OPTIONS *x HTTP/1.1")},
      {"CONNECT (9110 9.3.6)", line("CONNECT a.test:443 HTTP/1.1"), ErrorKind::method_not_allowed},
      {"authority form (3.2.3)", line("GET a.test:80 HTTP/1.1")},
      {"another scheme (3.2.2)", line("GET ftp://a.test/ HTTP/1.1")},
      {"userinfo (9110 4.2.4)", line("GET http://u@a.test/ HTTP/1.1")},
      {"userinfo with password (9110 4.2.4)", line("GET http://u:p@a.test/ HTTP/1.1")},
      {"absolute form without a host (9110 4.2.1)", line("GET http:///x HTTP/1.1")},
      {"absolute form with only a port (9110 4.2.1)", line("GET http://:80/x HTTP/1.1")},
      {"absolute form with one slash (3.2.2)", line("GET http:/a.test/ HTTP/1.1")},
      {"port too great (3986 3.2.3)", line("GET http://a.test:65536/ HTTP/1.1")},
      {"port no number (3986 3.2.3)", line("GET http://a.test:8x/ HTTP/1.1")},
      {"backslash in the authority (3986 3.2)", line("GET http://a.test\\@b/ HTTP/1.1")},
      // line ends
      {"bare LF after the request line (2.2)", "GET / HTTP/1.1\nHost: a.test\r\n\r\n"},
      {"bare LF after a field (2.2)", get("A: 1\nB: 2\r\n")},
      {"bare LF at the end (2.2)", "GET / HTTP/1.1\r\nHost: a.test\r\n\n"},
      {"bare CR after the request line (2.2)", "GET / HTTP/1.1\rHost: a.test\r\n\r\n"},
      {"bare CR in a value (2.2)", get("A: b\rc\r\n")},
      {"bare CR at the end (2.2)", "GET / HTTP/1.1\r\nHost: a.test\r\n\rX"},
      {"CR CR LF (2.2)", get("A: 1\r\r\n")},
      {"empty line first (2.2)", "\r\n" + get("")},
      // fields
      {"line folding (5.2)", get("A: 1\r\n 2\r\n")},
      {"line folding with a tab (5.2)", get("A: 1\r\n\t2\r\n")},
      {"space before the first field (2.2)", "GET / HTTP/1.1\r\n Host: a.test\r\n\r\n"},
      {"space before the colon (5.1)", get("A : 1\r\n")},
      {"tab before the colon (5.1)", get("A\t: 1\r\n")},
      {"no name (5)", get(": 1\r\n")},
      {"no colon (5)", get("A\r\n")},
      {"NUL in a value (9110 5.5)", get(std::string("A: \0\r\n", 6))},
      {"control byte in a value (9110 5.5)", get("A: \x0b\r\n")},
      {"DEL in a value (9110 5.5)", get("A: \x7f\r\n")},
      // Host
      {"no Host (3.2)", "GET / HTTP/1.1\r\nA: 1\r\n\r\n"},
      {"no Host with absolute form (3.2)", "GET http://a.test/ HTTP/1.1\r\n\r\n"},
      {"two Hosts (3.2)", get("Host: a.test\r\n")},
      {"two Hosts in HTTP/1.0 (3.2)", "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"},
      // Content-Length
      {"two Content-Lengths (6.3)", get("Content-Length: 5\r\nContent-Length: 5\r\n")},
      {"2^63 (6.3)", get("Content-Length: 9223372036854775808\r\n")},
      {"2^64 (6.3)", get("Content-Length: 18446744073709551616\r\n")},
      {"Content-Length with Transfer-Encoding (6.3)", get("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")},
      {"the other way round (6.3)", get("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n")},
      {"Transfer-Encoding in HTTP/1.0 (6.1)", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {"two Transfer-Encodings (6.1)", get("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")},
      {"a coding we do not know (6.1)", get("Transfer-Encoding: gzip\r\n"), ErrorKind::unsupported},
      {"another expectation (9110 10.1.1)", get("Expect: 200-ok\r\n"), ErrorKind::expectation},
      {"an expectation among others (9110 10.1.1)", get("Expect: 100-continue, x\r\n"), ErrorKind::expectation},
  };
  std::string options = "Connection: o";
  for (int i = 0; i < 64; ++i) options += ",o";
  samples.push_back({"too many connection options", get(options + "\r\n")});
  for (const char* value : {"",
                            "a b",
                            "a,b c",
                            "user@a.test",
                            "a.test/x",
                            "a.test?x",
                            "a\\b",
                            "http://a.test",
                            "a.test:80:81",
                            "a.test:http",
                            "a.test:+80",
                            "a.test:65536",
                            "a.test:100000",
                            ":80",
                            "[::1",
                            "[zz::1]",
                            "[::1]x",
                            "[]",
                            "::1",
                            "\"a\"",
                            "<a>",
                            "\xe4.test",
                            "a]b",
                            "a[b"}) {
    samples.push_back({"Host that is none (3.2)", "GET / HTTP/1.1\r\nHost: " + std::string{value} + "\r\n\r\n"});
  }
  for (const char* value :
       {"", "5, 5", "5,5", "5,", "+5", "-5", "-0", "0x5", "5.0", "5e0", "5 5", "4_7", "\"5\"", "five"}) {
    samples.push_back({"Content-Length that is none (6.3)", get("Content-Length: " + std::string{value} + "\r\n")});
  }
  for (const char* value : {"", ",", "chunked,", ", chunked", "gzip, chunked", "chunked, gzip", "chunked, chunked",
                            "\"chunked\"", "chun ked", "chunked;q=1", "chunked\xa0"}) {
    samples.push_back({"Transfer-Encoding that is not one \"chunked\" (6.1)",
                       get("Transfer-Encoding: " + std::string{value} + "\r\n")});
  }
  return samples;
}

TEST(ParseRequestHead, Refuses) {
  for (const RefusedRequest& sample : refused_requests()) {
    SCOPED_TRACE(sample.name + std::string{": "} + sample.text);
    RequestHead head;
    const Result<ParsedBytes> parsed = parse_request_head(sample.text, {}, head);
    ASSERT_FALSE(parsed);
    EXPECT_EQ(parsed.error().kind, sample.kind) << parsed.error().detail;
    EXPECT_EQ(parsed.error().origin, Origin::client);
    EXPECT_FALSE(parsed.error().detail.empty()) << "operators are told the rule";

    RequestHead slowly;
    const Result<ParsedBytes> parsed_slowly = parse_byte_by_byte(sample.text, {}, slowly);
    ASSERT_FALSE(parsed_slowly);
    EXPECT_EQ(parsed_slowly.error().kind, sample.kind);
    EXPECT_EQ(parsed_slowly.error().detail, parsed.error().detail);
  }
}

TEST(ParseRequestHead, RefusesEveryByteThatMayNotBeWhereItIs) {
  for (unsigned byte = 0; byte < 256; ++byte) {
    const auto c = static_cast<char>(byte);
    SCOPED_TRACE(byte);
    RequestHead head;
    const bool token = is(c, kToken);
    EXPECT_EQ(parse_request_head(line(std::string("G") + c + "T / HTTP/1.1"), {}, head).has_value(), token);
    head.clear();
    if (c != ':') {
      EXPECT_EQ(parse_request_head(get(std::string("A") + c + "B: 1\r\n"), {}, head).has_value(), token);
    }
    // At every alignment of the sixteen-byte scan.
    for (std::size_t before = 0; before < 33; before += 4) {
      const std::string fill(before, 'x');
      head.clear();
      EXPECT_EQ(parse_request_head(get("A: " + fill + c + fill + "\r\n"), {}, head).has_value(),
                c == '\t' || (byte >= 0x20 && byte != 0x7f));
      if (c == ' ') continue;
      head.clear();
      EXPECT_EQ(parse_request_head(line("GET /" + fill + c + fill + " HTTP/1.1"), {}, head).has_value(),
                byte > 0x20 && byte < 0x7f && c != '#');
    }
  }
}

TEST(ParseRequestHead, KeepsWhatItUnderstoodForTheLog) {
  RequestHead head;
  const std::string text = line("GET /secret HTTP/9.9");
  ASSERT_FALSE(parse_request_head(text, {}, head));
  EXPECT_EQ(head.method_text, "GET");
  EXPECT_EQ(head.target, "/secret");
}

TEST(ParseRequestHead, FieldsKeepOrderAndSpelling) {
  RequestHead head;
  const std::string text = get("B: 2\r\na: 1 \r\nB:\t3\r\nVia: x\r\n");
  ASSERT_TRUE(parse_request_head(text, {}, head));
  EXPECT_EQ(fields_text(head), "Host=a.test;B=2;a=1;B=3;Via=x;");
  EXPECT_EQ(head.fields[4].id, FieldId::via);
  EXPECT_EQ(head.fields[1].id, FieldId::other);
}

TEST(ParseRequestHead, Expectation) {  // RFC 9110 section 10.1.1
  RequestHead head;
  ASSERT_TRUE(parse_request_head(get("Expect: 100-Continue\r\nContent-Length: 1\r\n"), {}, head));
  EXPECT_TRUE(head.expect_continue);
  head.clear();
  ASSERT_TRUE(parse_request_head("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", {}, head));
  EXPECT_FALSE(head.expect_continue);
}

struct Limit {
  const char* name;
  HeadLimits limits;
  std::string text;
  ErrorKind kind;  // none: accepted
};

TEST(ParseRequestHead, Limits) {
  const std::string target100 = "/" + std::string(99, 't');
  const HeadLimits target{.target_max_bytes = 100};
  const HeadLimits head{.head_max_bytes = 200};
  const HeadLimits fields{.fields_max = 3};
  const std::string frame = get("A: \r\n");
  const std::vector<Limit> samples = {
      {"target at the limit", target, line("GET " + target100 + " HTTP/1.1"), ErrorKind::none},
      {"target over it", target, line("GET " + target100 + "t HTTP/1.1"), ErrorKind::target_too_large},
      {"target without end", target, "GET " + target100 + "t", ErrorKind::target_too_large},
      {"head at the limit", head, get("A: " + std::string(200 - frame.size(), 'v') + "\r\n"), ErrorKind::none},
      {"head over it", head, get("A: " + std::string(201 - frame.size(), 'v') + "\r\n"), ErrorKind::head_too_large},
      {"head without end", head, "GET / HTTP/1.1\r\nA: " + std::string(200, 'v'), ErrorKind::head_too_large},
      {"fields at the limit", fields, get("A: 1\r\nB: 2\r\n"), ErrorKind::none},
      {"fields over it", fields, get("A: 1\r\nB: 2\r\nC: 3\r\n"), ErrorKind::head_too_large},
      {"method without end", {}, std::string(33, 'M'), ErrorKind::unsupported},
      {"version without end", {}, "GET / " + std::string(9, 'H'), ErrorKind::malformed},
  };
  for (const Limit& sample : samples) {
    SCOPED_TRACE(sample.name);
    RequestHead parsed_head;
    const Result<ParsedBytes> parsed = parse_request_head(sample.text, sample.limits, parsed_head);
    EXPECT_EQ(parsed ? ErrorKind::none : parsed.error().kind, sample.kind);
    RequestHead slowly;
    const Result<ParsedBytes> parsed_slowly = parse_byte_by_byte(sample.text, sample.limits, slowly);
    EXPECT_EQ(parsed_slowly ? ErrorKind::none : parsed_slowly.error().kind, sample.kind);
  }
}

TEST(LeadingCrlf, OneEmptyLineIsSkipped) {  // RFC 9112 section 2.2
  EXPECT_EQ(leading_crlf("\r\nGET"), 2U);
  EXPECT_EQ(leading_crlf("\r\n\r\nGET"), 2U);
  EXPECT_EQ(leading_crlf("\r"), 0U);
  EXPECT_EQ(leading_crlf("\nGET"), 0U);
  EXPECT_EQ(leading_crlf(""), 0U);
}

// --- responses -----------------------------------------------------------------------------------------------------

struct ValidResponse {
  const char* name;
  std::string text;
  std::uint16_t status = 200;
  BodyFraming framing = kUntilClose;
  bool keep_alive = true;
  Method method = Method::get;
};

std::vector<ValidResponse> valid_responses() {
  return {
      {"simplest (4)", "HTTP/1.1 200 OK\r\n\r\n"},
      {"no reason (4)", "HTTP/1.1 200 \r\n\r\n"},
      {"no reason and no space, as many servers send", "HTTP/1.1 200\r\n\r\n"},
      {"obs-text in the reason (4)", "HTTP/1.1 404 \xff \t!\r\n\r\n", 404},
      {"Content-Length (6.2)", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, length(5)},
      {"Content-Length of nothing (6.2)", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, kNoBody},
      {"equal Content-Lengths (6.3)", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", 200,
       length(5)},
      {"chunked (6.1)", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, kChunked},
      {"1xx has no body (6.3)", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 103, kNoBody},
      {"204 has no body (6.3)", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, kNoBody},
      {"304 has no body (6.3)", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, kNoBody},
      {"nor has an answer to HEAD (6.3)", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, kNoBody, true,
       Method::head},
      {"HEAD, chunked (6.1)", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, kNoBody, true,
       Method::head},
      {"HTTP/1.0 (9.3)", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", 200, length(5), false},
      {"HTTP/1.0 with keep-alive (9.3)", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n", 200,
       length(5)},
      {"close (9.6)", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n", 200, length(5), false},
  };
}

TEST(ParseResponseHead, Accepts) {
  for (const ValidResponse& sample : valid_responses()) {
    SCOPED_TRACE(sample.name);
    ResponseHead head;
    const Result<ParsedBytes> parsed = parse_response_head(sample.text + "body", {}, sample.method, head);
    ASSERT_TRUE(parsed) << parsed.error().detail;
    EXPECT_EQ(*parsed, sample.text.size());
    EXPECT_EQ(head.status, sample.status);
    EXPECT_EQ(head.framing, sample.framing);
    EXPECT_EQ(head.keep_alive, sample.keep_alive);
    for (std::size_t size = 0; size < sample.text.size(); ++size) {
      head.clear();
      const Result<ParsedBytes> part = parse_response_head(sample.text.substr(0, size), {}, sample.method, head);
      ASSERT_TRUE(part) << size;
      EXPECT_EQ(*part, 0U) << size;
    }
  }
}

TEST(ParseResponseHead, Lengths) {
  ResponseHead head;
  const std::string twice = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n";
  ASSERT_TRUE(parse_response_head(twice, {}, Method::get, head));
  EXPECT_EQ(fields_text(head), "Content-Length=5;") << "one of two equal lengths is passed on";
  head.clear();
  const std::string none = "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n";
  ASSERT_TRUE(parse_response_head(none, {}, Method::get, head));
  EXPECT_EQ(fields_text(head), "") << "RFC 9110 section 8.6";
}

TEST(ParseResponseHead, Refuses) {
  const std::vector<RefusedRequest> samples = {
      {"not HTTP (4)", "SSH-2.0-OpenSSH\r\n"},
      {"HTTP/2 (2.3)", "HTTP/2.0 200 OK\r\n\r\n"},
      {"HTTP/1.2 (2.3)", "HTTP/1.2 200 OK\r\n\r\n"},
      {"status of two digits (4)", "HTTP/1.1 20 OK\r\n\r\n"},
      {"status of four digits (4)", "HTTP/1.1 2000 OK\r\n\r\n"},
      {"status below 100 (9110 15)", "HTTP/1.1 099 OK\r\n\r\n"},
      {"status above 599 (9110 15)", "HTTP/1.1 600 OK\r\n\r\n"},
      {"two spaces (4)", "HTTP/1.1  200 OK\r\n\r\n"},
      {"control byte in the reason (4)", "HTTP/1.1 200 O\x01K\r\n\r\n"},
      {"bare LF (2.2)", "HTTP/1.1 200 OK\n\n"},
      {"bare CR in the reason (2.2)", "HTTP/1.1 200 O\rK\r\n\r\n"},
      {"line folding (5.2)", "HTTP/1.1 200 OK\r\nA: 1\r\n 2\r\n\r\n"},
      {"space before the colon (5.1)", "HTTP/1.1 200 OK\r\nA : 1\r\n\r\n"},
      {"differing Content-Lengths (6.3)", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n"},
      {"Content-Length list (6.3)", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n"},
      {"negative Content-Length (6.3)", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"},
      {"both framings (6.3)", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {"both framings, 304 (6.3)", "HTTP/1.1 304 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {"another coding (6.1)", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"},
      {"chunked twice (6.1)", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {"chunked in HTTP/1.0 (6.1)", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {"too large", "HTTP/1.1 200 OK\r\nA: " + std::string(32768, 'v'), ErrorKind::head_too_large},
  };
  for (const RefusedRequest& sample : samples) {
    SCOPED_TRACE(sample.name);
    ResponseHead head;
    const Result<ParsedBytes> parsed = parse_response_head(sample.text, {}, Method::get, head);
    ASSERT_FALSE(parsed);
    EXPECT_EQ(parsed.error().kind, sample.kind) << parsed.error().detail;
    EXPECT_EQ(parsed.error().origin, Origin::backend);
  }
}

// --- trailers ------------------------------------------------------------------------------------------------------

TEST(ParseTrailers, KeepsOnlyWhatMayComeAfterTheContent) {  // RFC 9110 section 6.5.1
  std::vector<Field> trailers;
  const std::string text =
      "Checksum: 1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: b.test\r\nConnection: close\r\n"
      "Authorization: x\r\nSet-Cookie: a=b\r\nCookie: a=b\r\nTE: x\r\nTrailer: x\r\nContent-Encoding: gzip\r\n"
      "X-Forwarded-For: 1.2.3.4\r\nForwarded: for=_x\r\nVia: 1.1 x\r\nETag: \"e\"\r\ngrpc-status: 0\r\n\r\n";
  ASSERT_TRUE(parse_trailers(text, 100, Origin::client, trailers));
  std::string kept;
  for (const Field& field : trailers) kept += std::string{field.name} + "=" + std::string{field.value} + ";";
  EXPECT_EQ(kept, "Checksum=1;ETag=\"e\";grpc-status=0;");
}

TEST(ParseTrailers, AreAsStrictAsFields) {
  std::vector<Field> trailers;
  for (const char* text :
       {"A : 1\r\n\r\n", "A: 1\n\r\n", " A: 1\r\n\r\n", "A\r\n\r\n", "A: \x01\r\n\r\n", ": 1\r\n\r\n"}) {
    const Result<> parsed = parse_trailers(text, 100, Origin::backend, trailers);
    ASSERT_FALSE(parsed) << text;
    EXPECT_EQ(parsed.error().kind, ErrorKind::malformed);
    EXPECT_EQ(parsed.error().origin, Origin::backend);
  }
  const Result<> many = parse_trailers("A: 1\r\nB: 2\r\n\r\n", 1, Origin::client, trailers);
  ASSERT_FALSE(many);
  EXPECT_EQ(many.error().kind, ErrorKind::head_too_large);
}

}  // namespace
}  // namespace dao::http::h1

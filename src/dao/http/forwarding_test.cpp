// What a gateway does to heads: RFC 9110 sections 7.6.1 to 7.6.3, RFC 7239.
#include "dao/http/forwarding.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <string>

#include "dao/http/h1/head_parser.h"

namespace dao::http {
namespace {

net::Peer peer_v4() {
  sockaddr_in raw{};
  raw.sin_family = AF_INET;
  raw.sin_port = htons(4711);
  inet_pton(AF_INET, "192.0.2.7", &raw.sin_addr);
  return net::Peer(reinterpret_cast<const sockaddr*>(&raw));
}

net::Peer peer_v6() {
  sockaddr_in6 raw{};
  raw.sin6_family = AF_INET6;
  inet_pton(AF_INET6, "2001:db8::7", &raw.sin6_addr);
  return net::Peer(reinterpret_cast<const sockaddr*>(&raw));
}

template <class AnyHead>
std::string forwarded_fields(const AnyHead& head) {
  std::string text;
  for (const Field& field : head.fields) {
    if (!field.dropped) text += std::string{field.name} + ": " + std::string{field.value} + "\n";
  }
  return text;
}

class Request {
 public:
  explicit Request(std::string fields, std::string line = "GET /path HTTP/1.1", std::string host = "Host: a.test\r\n")
      : text_(line + "\r\n" + host + fields + "\r\n") {
    const Result<h1::ParsedBytes> parsed = h1::parse_request_head(text_, {}, head);
    EXPECT_TRUE(parsed) << text_;
  }
  std::string forward(const ForwardingRules& rules, const net::Peer& peer, bool trusted = false) {
    prepare_request(head, rules, peer, trusted, "http");
    return forwarded_fields(head);
  }
  RequestHead head;

 private:
  std::string text_;
};

const ForwardingRules kQuiet{.via = "dao", .x_forwarded = false, .forwarded = false};
const ForwardingRules kXForwarded{.via = "dao", .x_forwarded = true, .forwarded = false};
const ForwardingRules kForwarded{.via = "dao", .x_forwarded = false, .forwarded = true};

struct HopByHop {
  const char* name;
  const char* fields;
  const char* passed;  // beside Host and Via
};

constexpr HopByHop kHopByHop[] = {
    {"nothing of it", "A: 1\r\n", "A: 1\n"},
    {"Connection itself", "Connection: close\r\nA: 1\r\n", "A: 1\n"},
    {"what Connection names", "Connection: X-Secret, close\r\nX-Secret: 1\r\nA: 1\r\n", "A: 1\n"},
    {"in any case", "Connection: x-SECRET\r\nX-Secret: 1\r\n", ""},
    {"by several fields, and named before and after",
     "B: 1\r\nConnection: B\r\nA: 1\r\nConnection: C,\t, A\r\nC: 1\r\n", ""},
    {"every field of the name", "Connection: B\r\nB: 1\r\nb: 2\r\n", ""},
    {"the known ones without being named",
     "Keep-Alive: timeout=5\r\nProxy-Connection: x\r\nTE: trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n", ""},
    {"authentication stays", "Proxy-Authorization: Basic x\r\nAuthorization: y\r\n",
     "Proxy-Authorization: Basic x\nAuthorization: y\n"},
    {"Connection cannot take Host", "Connection: host\r\n", ""},
    {"Connection cannot take Content-Length", "Connection: content-length\r\nContent-Length: 3\r\n",
     "Content-Length: 3\n"},
    {"values that only contain names", "Connection: X-Secrets\r\nX-Secret: 1\r\n", "X-Secret: 1\n"},
    {"Trailer stays", "Trailer: X\r\n", "Trailer: X\n"},
    {"unknown expectations do not get here, this one passes", "Expect: 100-continue\r\n", "Expect: 100-continue\n"},
};

TEST(PrepareRequest, TakesHopByHopFieldsAway) {  // RFC 9110 section 7.6.1
  for (const HopByHop& sample : kHopByHop) {
    EXPECT_EQ(Request(sample.fields).forward(kQuiet, peer_v4()),
              std::string{"Host: a.test\n"} + sample.passed + "Via: 1.1 dao\n")
        << sample.name;
  }
}

TEST(PrepareRequest, TransferEncodingIsNotPassedOn) {
  Request request("Transfer-Encoding: chunked\r\n");
  EXPECT_EQ(request.forward(kQuiet, peer_v4()), "Host: a.test\nVia: 1.1 dao\n");
  EXPECT_EQ(request.head.framing.kind, BodyFraming::Kind::chunked) << "how the body is framed is known all the same";
}

TEST(PrepareRequest, ViaIsAppendedWithTheVersionReceived) {  // RFC 9110 section 7.6.3
  EXPECT_EQ(Request("Via: 1.0 fred\r\n").forward(kQuiet, peer_v4()), "Host: a.test\nVia: 1.0 fred\nVia: 1.1 dao\n");
  EXPECT_EQ(Request("", "GET / HTTP/1.0", "").forward(kQuiet, peer_v4()), "Via: 1.0 dao\n");
  EXPECT_EQ(Request("Connection: via\r\nVia: 1.0 fred\r\n").forward(kQuiet, peer_v4()),
            "Host: a.test\nVia: 1.0 fred\nVia: 1.1 dao\n")
      << "a client cannot hide who was there before";
}

TEST(PrepareRequest, AnHttp10ExpectationIsDropped) {  // RFC 9110 section 10.1.1
  EXPECT_EQ(Request("Expect: 100-continue\r\n", "POST / HTTP/1.0").forward(kQuiet, peer_v4()),
            "Host: a.test\nVia: 1.0 dao\n");
}

TEST(PrepareRequest, TheAbsoluteFormDecidesHost) {  // RFC 9112 section 3.2.2
  EXPECT_EQ(Request("", "GET http://b.test:81/x HTTP/1.1").forward(kXForwarded, peer_v4()),
            "Host: b.test:81\nX-Forwarded-For: 192.0.2.7\nX-Forwarded-Proto: http\nX-Forwarded-Host: b.test:81\n"
            "Via: 1.1 dao\n");
  EXPECT_EQ(Request("", "GET http://b.test/x HTTP/1.0", "").forward(kQuiet, peer_v4()), "Host: b.test\nVia: 1.0 dao\n");
}

struct Forwarded {
  const char* name;
  const ForwardingRules& rules;
  net::Peer peer;
  bool trusted;
  const char* fields;
  const char* passed;  // beside Host and Via
};

TEST(PrepareRequest, TellsWhoAsked) {
  const Forwarded samples[] = {
      {"X-Forwarded", kXForwarded, peer_v4(), false, "",
       "X-Forwarded-For: 192.0.2.7\nX-Forwarded-Proto: http\nX-Forwarded-Host: a.test\n"},
      {"IPv6 without brackets", kXForwarded, peer_v6(), false, "",
       "X-Forwarded-For: 2001:db8::7\nX-Forwarded-Proto: http\nX-Forwarded-Host: a.test\n"},
      {"a stranger's word is not passed on", kXForwarded, peer_v4(), false,
       "X-Forwarded-For: 1.2.3.4\r\nx-forwarded-proto: https\r\nX-Forwarded-Host: evil\r\nForwarded: for=1.2.3.4\r\n",
       "X-Forwarded-For: 192.0.2.7\nX-Forwarded-Proto: http\nX-Forwarded-Host: a.test\n"},
      {"not even when nothing takes its place", kQuiet, peer_v4(), false,
       "X-Forwarded-For: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\n", ""},
      {"a trusted peer's list is extended", kXForwarded, peer_v4(), true,
       "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b.test\r\nX-Forwarded-For: "
       "5.6.7.8\r\n",
       "X-Forwarded-Proto: https\nX-Forwarded-Host: b.test\nX-Forwarded-For: 1.2.3.4, 5.6.7.8, 192.0.2.7\n"},
      {"an empty list is none", kXForwarded, peer_v4(), true, "X-Forwarded-For:\r\n",
       "X-Forwarded-For: 192.0.2.7\nX-Forwarded-Proto: http\nX-Forwarded-Host: a.test\n"},
      {"Connection cannot take it away", kXForwarded, peer_v4(), true,
       "Connection: x-forwarded-for\r\nX-Forwarded-For: 1.2.3.4\r\n",
       "X-Forwarded-For: 1.2.3.4, 192.0.2.7\nX-Forwarded-Proto: http\nX-Forwarded-Host: a.test\n"},
      {"Forwarded (RFC 7239 4)", kForwarded, peer_v4(), false, "", "Forwarded: for=192.0.2.7;host=a.test;proto=http\n"},
      {"IPv6 is quoted (RFC 7239 6)", kForwarded, peer_v6(), false, "",
       "Forwarded: for=\"[2001:db8::7]\";host=a.test;proto=http\n"},
      {"a unix peer has an obfuscated name (RFC 7239 6.3)", kForwarded, net::Peer{}, false, "",
       "Forwarded: for=_unix;host=a.test;proto=http\n"},
      {"a trusted peer's elements are kept", kForwarded, peer_v4(), true, "Forwarded: for=_a\r\nForwarded: for=_b\r\n",
       "Forwarded: for=_a, for=_b, for=192.0.2.7;host=a.test;proto=http\n"},
  };
  for (const Forwarded& sample : samples) {
    EXPECT_EQ(Request(sample.fields).forward(sample.rules, sample.peer, sample.trusted),
              std::string{"Host: a.test\n"} + sample.passed + "Via: 1.1 dao\n")
        << sample.name;
  }
  EXPECT_EQ(Request("", "GET / HTTP/1.1", "Host: [::1]:80\r\n").forward(kForwarded, peer_v4()),
            "Host: [::1]:80\nForwarded: for=192.0.2.7;host=\"[::1]:80\";proto=http\nVia: 1.1 dao\n")
      << "what is no token is quoted";
}

TEST(PrepareRequest, LongListsNeedNoMoreThanTheArena) {
  const std::string list(8000, '1');
  EXPECT_EQ(Request("X-Forwarded-For: " + list + "\r\n").forward(kXForwarded, peer_v4(), true),
            "Host: a.test\nX-Forwarded-For: " + list +
                ", 192.0.2.7\nX-Forwarded-Proto: http\nX-Forwarded-Host: a.test\nVia: 1.1 dao\n");
}

std::string forward_response(std::string_view fields, std::string_view date) {
  const std::string text = "HTTP/1.1 200 OK\r\n" + std::string{fields} + "\r\n";
  ResponseHead head;
  EXPECT_TRUE(h1::parse_response_head(text, {}, Method::get, head));
  prepare_response(head, kQuiet, date);
  return forwarded_fields(head);
}

TEST(PrepareResponse, TakesHopByHopFieldsAwayAndAddsViaAndDate) {
  constexpr std::string_view kDate = "Mon, 23 Nov 2026 04:00:00 GMT";
  EXPECT_EQ(forward_response("A: 1\r\n", kDate), "A: 1\nDate: Mon, 23 Nov 2026 04:00:00 GMT\nVia: 1.1 dao\n");
  EXPECT_EQ(forward_response("Date: then\r\n", kDate), "Date: then\nVia: 1.1 dao\n");
  EXPECT_EQ(forward_response("A: 1\r\n", ""), "A: 1\nVia: 1.1 dao\n") << "interim responses need none";
  EXPECT_EQ(forward_response("Connection: X, close\r\nX: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2\r\n", kDate),
            "Date: Mon, 23 Nov 2026 04:00:00 GMT\nVia: 1.1 dao\n");
  EXPECT_EQ(forward_response("Proxy-Authenticate: Basic\r\n", ""), "Proxy-Authenticate: Basic\nVia: 1.1 dao\n");
}

TEST(MaxForwards, IsCountedDownForTraceAndOptionsOnly) {  // RFC 9110 section 7.6.2
  struct Sample {
    const char* line;
    const char* value;
    Hops hops;
    const char* after;
  };
  constexpr Sample kSamples[] = {
      {"TRACE / HTTP/1.1", "7", Hops::forward, "6"},   {"OPTIONS * HTTP/1.1", "1", Hops::forward, "0"},
      {"OPTIONS / HTTP/1.1", "0", Hops::answer, "0"},  {"GET / HTTP/1.1", "0", Hops::forward, "0"},
      {"TRACE / HTTP/1.1", "x", Hops::invalid, "x"},   {"TRACE / HTTP/1.1", "-1", Hops::invalid, "-1"},
      {"TRACE / HTTP/1.1", "+1", Hops::invalid, "+1"}, {"TRACE / HTTP/1.1", "1 1", Hops::invalid, "1 1"},
      {"TRACE / HTTP/1.1", "", Hops::invalid, ""},     {"TRACE / HTTP/1.1", "99999999999", Hops::forward, "4294967294"},
      {"TRACE / HTTP/1.1", "10", Hops::forward, "9"},
  };
  for (const Sample& sample : kSamples) {
    SCOPED_TRACE(std::string{sample.line} + " Max-Forwards: " + sample.value);
    Request request("Max-Forwards: " + std::string{sample.value} + "\r\n", sample.line);
    EXPECT_EQ(count_down_max_forwards(request.head), sample.hops);
    const Field* field = request.head.find(FieldId::max_forwards);
    ASSERT_NE(field, nullptr);
    EXPECT_EQ(field->value, sample.after);
  }
  Request twice("Max-Forwards: 1\r\nMax-Forwards: 2\r\n", "TRACE / HTTP/1.1");
  EXPECT_EQ(count_down_max_forwards(twice.head), Hops::invalid);
  Request without("", "OPTIONS * HTTP/1.1");
  EXPECT_EQ(count_down_max_forwards(without.head), Hops::forward);
}

}  // namespace
}  // namespace dao::http

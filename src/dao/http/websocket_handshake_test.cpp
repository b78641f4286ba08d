#include "dao/http/websocket_handshake.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "dao/http/h1/head_parser.h"

namespace dao::http {
namespace {

constexpr std::string_view kSampleKey = "dGhlIHNhbXBsZSBub25jZQ==";  // RFC 6455 section 1.3
constexpr std::string_view kSampleAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

struct Request {
  explicit Request(std::string the_text) : text(std::move(the_text)) {
    const auto parsed = h1::parse_request_head(text, {}, head);
    EXPECT_TRUE(parsed && *parsed == text.size()) << text;
  }
  std::string text;
  RequestHead head;
};

std::string request(std::string_view line, std::string_view fields) {
  return std::string{line} + "\r\nHost: a.test\r\n" + std::string{fields} + "\r\n";
}
const std::string kGood =
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\n";

Upgrade asked(std::string_view line, std::string_view fields) {
  return Request(request(line, fields)).head.upgrade;
}

TEST(AsksForWebSocket, WellFormedRequests) {
  constexpr std::string_view kGet = "GET /chat HTTP/1.1";
  EXPECT_EQ(asked(kGet, kGood), Upgrade::websocket);
  EXPECT_EQ(asked(kGet,
                  "Connection: keep-alive, upgrade\r\nUpgrade: x/1, WebSocket\r\nsec-websocket-key: any\r\n"
                  "sec-websocket-version: 8\r\n"),
            Upgrade::websocket);
}

TEST(AsksForWebSocket, AnythingElseIsAnOrdinaryRequest) {
  constexpr std::string_view kGet = "GET /chat HTTP/1.1";
  const std::string key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  const std::string version = "Sec-WebSocket-Version: 13\r\n";
  const std::string upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
  for (const std::string& fields :
       {std::string{}, key + version, "Upgrade: websocket\r\n" + key + version,
        "Connection: Upgrade\r\n" + key + version, "Connection: Upgrade\r\nUpgrade: h2c\r\n" + key + version,
        upgrade + version, upgrade + key, upgrade + key + key + version, upgrade + key + version + version,
        upgrade + "Sec-WebSocket-Key:\r\n" + version, kGood + "Content-Length: 1\r\n",
        kGood + "Transfer-Encoding: chunked\r\n"}) {
    EXPECT_EQ(asked(kGet, fields), Upgrade::none) << fields;
  }
  EXPECT_EQ(asked("POST /chat HTTP/1.1", kGood), Upgrade::none);
  EXPECT_EQ(asked("GET /chat HTTP/1.0", kGood), Upgrade::none);
}

TEST(WebSocketAccept, IsThatOfTheRfc) {
  const auto accept = websocket_accept(kSampleKey);
  EXPECT_EQ(std::string_view(accept.data(), accept.size()), kSampleAccept);
}

TEST(EnsureWebSocketKey, KeepsTheClientsOrMakesOne) {
  Random random(1);
  Request with(request("GET / HTTP/1.1", kGood));
  const std::size_t before = with.head.fields.size();
  ensure_websocket_key(with.head, random);
  EXPECT_EQ(with.head.fields.size(), before);
  EXPECT_EQ(with.head.find("Sec-WebSocket-Key")->value, kSampleKey);

  Request without(request("GET / HTTP/1.1", ""));
  ensure_websocket_key(without.head, random);
  EXPECT_EQ(without.head.find("Sec-WebSocket-Version")->value, "13");
  const std::string key{without.head.find("Sec-WebSocket-Key")->value};
  EXPECT_EQ(key.size(), 24U);
  EXPECT_TRUE(key.ends_with("=="));
  Request other(request("GET / HTTP/1.1", ""));
  ensure_websocket_key(other.head, random);
  EXPECT_NE(other.head.find("Sec-WebSocket-Key")->value, key);
}

Result<> check(std::string_view version, const std::string& fields) {
  const Request asking(request("GET / HTTP/1.1", kGood));
  const std::string text = std::string{version} + " 101 Switching Protocols\r\n" + fields + "\r\n";
  ResponseHead answer;
  const auto parsed = h1::parse_response_head(text, {}, Method::get, answer);
  EXPECT_TRUE(parsed && *parsed == text.size()) << text;
  return check_websocket_answer(asking.head, answer);
}

TEST(CheckWebSocketAnswer, TheAnswerToThisKey) {
  const std::string accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
  EXPECT_TRUE(check("HTTP/1.1", "Upgrade: websocket\r\nConnection: Upgrade\r\n" + accept));
  EXPECT_TRUE(check("HTTP/1.1", "Upgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n" + accept));
  for (const std::string& fields :
       {std::string{}, "Connection: Upgrade\r\n" + accept, "Upgrade: websocket\r\n" + accept,
        "Upgrade: h2c\r\nConnection: Upgrade\r\n" + accept,
        "Upgrade: websocket\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" + accept,
        "Upgrade: websocket\r\nConnection: close\r\n" + accept,
        std::string{"Upgrade: websocket\r\nConnection: Upgrade\r\n"},
        std::string{"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
                    "S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"},
        "Upgrade: websocket\r\nConnection: Upgrade\r\n" + accept + accept}) {
    const Result<> checked = check("HTTP/1.1", fields);
    ASSERT_FALSE(checked) << fields;
    EXPECT_EQ(checked.error().kind, ErrorKind::unexpected_upgrade);
    EXPECT_EQ(checked.error().origin, Origin::backend);
  }
  EXPECT_FALSE(check("HTTP/1.0", "Upgrade: websocket\r\nConnection: Upgrade\r\n" + accept));
}

TEST(BecomeConnectAnswer, KeepsWhatHasAMeaningInHttp2) {
  ResponseHead answer;
  answer.status = 101;
  answer.add("sec-websocket-accept", kSampleAccept);
  answer.add("Content-Length", "0", FieldId::content_length);
  answer.add("Sec-WebSocket-Protocol", "chat");
  answer.add("Sec-WebSocket-Extensions", "x");
  become_connect_answer(answer);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.find("Sec-WebSocket-Accept"), nullptr);
  EXPECT_EQ(answer.find(FieldId::content_length), nullptr);
  EXPECT_NE(answer.find("Sec-WebSocket-Protocol"), nullptr);
  EXPECT_NE(answer.find("Sec-WebSocket-Extensions"), nullptr);
}

}  // namespace
}  // namespace dao::http

#include "dao/server/grpc.h"

#include <gtest/gtest.h>

#include "dao/http/h1/head_parser.h"

namespace dao::server {
namespace {

http::RequestHead request_with(std::string_view fields, std::string_view method = "POST") {
  static std::string text;
  text = std::string(method) + " /s/m HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n" + std::string(fields) + "\r\n";
  http::RequestHead head;
  EXPECT_TRUE(http::h1::parse_request_head(text, {}, head)) << text;
  return head;
}

TEST(Grpc, KnowsACallByMethodAndContentType) {
  EXPECT_TRUE(is_grpc(request_with("Content-Type: application/grpc\r\n")));
  EXPECT_TRUE(is_grpc(request_with("Content-Type: application/grpc+proto\r\n")));
  EXPECT_TRUE(is_grpc(request_with("Content-Type: Application/GRPC; x=y\r\n")));
  EXPECT_FALSE(is_grpc(request_with("Content-Type: application/grpc-web\r\n")));
  EXPECT_FALSE(is_grpc(request_with("Content-Type: application/json\r\n")));
  EXPECT_FALSE(is_grpc(request_with("")));
  EXPECT_FALSE(is_grpc(request_with("Content-Type: application/grpc\r\n", "GET")));
}

TEST(Grpc, ReadsTheTimeout) {
  const auto timeout = [](std::string_view value) {
    return grpc_timeout(request_with("grpc-timeout: " + std::string(value) + "\r\n"));
  };
  EXPECT_EQ(timeout("1H"), std::chrono::hours(1));
  EXPECT_EQ(timeout("2M"), std::chrono::minutes(2));
  EXPECT_EQ(timeout("30S"), std::chrono::seconds(30));
  EXPECT_EQ(timeout("250m"), std::chrono::milliseconds(250));
  EXPECT_EQ(timeout("7u"), std::chrono::microseconds(7));
  EXPECT_EQ(timeout("99999999n"), Nanoseconds(99999999));
  EXPECT_GT(timeout("99999999H").value(), std::chrono::hours(100'000));
  for (const char* bad : {"1", "S", "123456789S", "-1S", "1.5S", "1 S", "1s"}) EXPECT_FALSE(timeout(bad)) << bad;
  EXPECT_FALSE(grpc_timeout(request_with("")));
}

TEST(Grpc, TellsErrorsByTheirOwnCodes) {
  EXPECT_EQ(grpc_status_for(504), 4);
  EXPECT_EQ(grpc_status_for(502), 14);
  EXPECT_EQ(grpc_status_for(503), 14);
  EXPECT_EQ(grpc_status_for(404), 12);
  EXPECT_EQ(grpc_status_for(413), 8);
  EXPECT_EQ(grpc_status_for(500), 13);
  EXPECT_EQ(grpc_status_for(400), 13);
}

}  // namespace
}  // namespace dao::server

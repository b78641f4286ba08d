#include "dao/admin/order_request.h"

#include <gmock/gmock.h>

namespace dao::admin {
namespace {

using server::ConfigOrder;

struct Asked {
  std::string target = "/v1/config";
  std::string type = "application/toml";
  std::string body = "[server]\n";
  std::string if_match{};
  std::string in_use = "abc";
};

template <class Make>
auto ask(const Asked& asked, const Make& make) {
  const auto target = parse_target(asked.target);
  return make({.target = target.value(),
               .media_type = asked.type,
               .body = asked.body,
               .if_match = asked.if_match,
               .peer = "127.0.0.1",
               .etag_in_use = asked.in_use});
}

auto apply(const Asked& asked) {
  return ask(asked, apply_order);
}

std::string error_of(const std::expected<ConfigOrder, Answer>& order) {
  return order ? std::string() : order.error().body.at("error").get<std::string>();
}

TEST(OrderRequest, ABodyOfTomlIsTheConfiguration) {
  for (const char* type : {"application/toml", "text/plain", "Text/X-Toml", "text/toml"}) {
    const auto order = apply({.target = "/v1/config?reason=new%20disk&by=ada&dry_run=1", .type = type});
    ASSERT_TRUE(order) << type;
    EXPECT_EQ(order->from, ConfigOrder::From::text);
    EXPECT_EQ(order->text, "[server]\n");
    EXPECT_EQ(order->author, "api: ada (127.0.0.1)");
    EXPECT_EQ(order->reason, "new disk");
    EXPECT_TRUE(order->dry_run);
    EXPECT_EQ(order->if_match, "");
  }
}

TEST(OrderRequest, ABodyOfJsonHasItInIt) {
  const auto order = apply({.type = "application/json", .body = R"({"text":"a = 1\n","by":"ada","dry_run":false})"});
  ASSERT_TRUE(order);
  EXPECT_EQ(order->text, "a = 1\n");
  EXPECT_EQ(order->author, "api: ada (127.0.0.1)");
  EXPECT_FALSE(order->dry_run);
}

TEST(OrderRequest, WithoutANameThePeerIsTheAuthor) {
  EXPECT_EQ(apply({})->author, "api: 127.0.0.1");
}

TEST(OrderRequest, NothingIsGuessed) {
  EXPECT_EQ(error_of(apply({.body = ""})), "bad_body");
  EXPECT_EQ(error_of(apply({.type = ""})), "unsupported_media_type");
  EXPECT_EQ(error_of(apply({.type = "application/x-www-form-urlencoded"})), "unsupported_media_type");
  for (const char* body :
       {"x", "[]", "{}", R"({"text":1})", R"({"text":"","dry_run":"yes"})", R"({"text":"","t":1})"}) {
    EXPECT_EQ(error_of(apply({.type = "application/json", .body = body})), "bad_body") << body;
  }
  EXPECT_EQ(
      error_of(apply({.target = "/v1/config?by=a", .type = "application/json", .body = R"({"text":"x","by":"b"})"})),
      "bad_body");
  EXPECT_EQ(error_of(apply({.target = "/v1/config?what=1"})), "bad_query");
  EXPECT_EQ(error_of(apply({.target = "/v1/config?dry_run=maybe"})), "bad_query");
}

TEST(OrderRequest, WordsAreOneShortLine) {
  EXPECT_TRUE(apply({.target = "/v1/config?reason=" + std::string(256, 'x') + "&by=" + std::string(64, 'y')}));
  EXPECT_EQ(error_of(apply({.target = "/v1/config?reason=" + std::string(257, 'x')})), "bad_reason");
  EXPECT_EQ(error_of(apply({.target = "/v1/config?by=" + std::string(65, 'x')})), "bad_name");
  EXPECT_TRUE(apply({.target = "/v1/config?by=J%C3%B6rg"}));
  for (const char* bad : {"%ff", "%c3", "%c2%9b", "%ed%a0%80"}) {
    EXPECT_EQ(error_of(apply({.target = std::string("/v1/config?by=") + bad})), "bad_name") << bad;
  }
  EXPECT_EQ(error_of(apply({.type = "application/json", .body = R"({"text":"x","reason":"a\nb"})"})), "bad_reason");
}

TEST(OrderRequest, IfMatchIsComparedStrongly) {
  EXPECT_EQ(apply({.if_match = "*"})->if_match, "");
  EXPECT_EQ(apply({.if_match = "\"abc\""})->if_match, "abc");
  EXPECT_EQ(apply({.if_match = "\"x\", \"abc\""})->if_match, "abc");
  EXPECT_EQ(apply({.if_match = "\"x\",\"y\""})->if_match, "x");
  for (const char* never : {"W/\"abc\"", "\"\"", ","}) {
    const auto order = apply({.if_match = never});
    ASSERT_TRUE(order) << never;
    EXPECT_NE(order->if_match, "") << never;
    EXPECT_NE(order->if_match, "abc") << never;
  }
  for (const char* bad : {"abc", "\"abc", "'abc'", "\"x\", abc"}) {
    EXPECT_EQ(error_of(apply({.if_match = bad})), "bad_if_match") << bad;
  }
}

TEST(OrderRequest, ReloadAndRollbackNeedNoBody) {
  const auto reload = ask({.target = "/v1/config/reload", .type = "", .body = ""}, reload_order);
  ASSERT_TRUE(reload);
  EXPECT_EQ(reload->from, ConfigOrder::From::file);
  const auto back = [](OrderRequest request) { return rollback_order(std::move(request), 7); };
  const auto rollback = ask({.target = "/v1/config/rollback/7?reason=slow", .type = "", .body = ""}, back);
  ASSERT_TRUE(rollback);
  EXPECT_EQ(rollback->from, ConfigOrder::From::snapshot);
  EXPECT_EQ(rollback->snapshot, 7U);
  EXPECT_EQ(rollback->reason, "slow");
  EXPECT_EQ(error_of(ask({.type = "application/json", .body = R"({"text":"x"})"}, back)), "bad_body");
  EXPECT_EQ(error_of(ask({}, back)), "unsupported_media_type");
}

TEST(OrderRequest, SnapshotsAreNumbersFromOne) {
  EXPECT_EQ(parse_snapshot("1"), 1U);
  EXPECT_EQ(parse_snapshot("18446744073709551615"), 18446744073709551615U);
  for (const char* bad : {"", "0", "-1", "+1", " 1", "1x", "18446744073709551616"}) {
    EXPECT_EQ(parse_snapshot(bad), 0U) << bad;
  }
}

}  // namespace
}  // namespace dao::admin

#include "dao/base/json_text.h"

#include <gtest/gtest.h>

namespace dao {
namespace {

TEST(JsonText, WhatIsNoJsonIsDiscarded) {
  EXPECT_TRUE(parse_json("{").is_discarded());
  EXPECT_TRUE(parse_ordered_json("").is_discarded());
  EXPECT_EQ(parse_json("[1]"), nlohmann::json::array({1}));
}

TEST(JsonText, OrderedJsonKeepsTheOrder) {
  constexpr auto kText = R"({"b":1,"a":[true,null]})";
  EXPECT_EQ(json_text(parse_ordered_json(kText)), kText);
  EXPECT_EQ(json_text(parse_json(kText)), R"({"a":[true,null],"b":1})");
  EXPECT_EQ(json_text(parse_ordered_json(R"({"b":1})"), 2), "{\n  \"b\": 1\n}");
}

TEST(JsonText, BytesThatAreNoUtf8AreReplaced) {
  EXPECT_EQ(json_text(nlohmann::json("a\xff")), "\"a\xef\xbf\xbd\"");
}

}  // namespace
}  // namespace dao

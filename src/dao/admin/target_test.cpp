#include <cstddef>

#include "dao/admin/target.h"

#include <gmock/gmock.h>

namespace dao::admin {
namespace {

using testing::ElementsAre;
using testing::Pair;

TEST(ParseTarget, TakesPathAndQueryApart) {
  const auto target = parse_target("/v1/explain/a%20b%2Fc?intent=x%26y&key=+&empty=&bare");
  ASSERT_TRUE(target);
  EXPECT_THAT(target->path, ElementsAre("v1", "explain", "a b/c"));
  EXPECT_THAT(target->query, ElementsAre(Pair("intent", "x&y"), Pair("key", "+"), Pair("empty", ""), Pair("bare", "")));
  EXPECT_EQ(*target->find("intent"), "x&y");
  EXPECT_EQ(target->find("other"), nullptr);
}

TEST(ParseTarget, KeepsEmptySegments) {
  EXPECT_THAT(parse_target("/")->path, ElementsAre(""));
  EXPECT_THAT(parse_target("//v1/")->path, ElementsAre("", "v1", ""));
  EXPECT_THAT(parse_target("/?")->path, ElementsAre(""));
  EXPECT_THAT(parse_target("/..%2f..")->path, ElementsAre("../.."));
}

TEST(ParseTarget, RefusesWhatIsNotWellFormed) {
  for (const char* text : {"", "*", "v1", "/%", "/%2", "/%zz", "/%00", "/a%0d%0aX", "/%7f", "/?a=1&a=2", "/?=1", "/?&",
                           "/?a=%f", "/?%61=1&a=2"}) {
    EXPECT_FALSE(parse_target(text)) << text;
  }
}

TEST(ParseTarget, GivesBackEveryByteThatWasEncoded) {
  std::string encoded;
  std::string all;
  constexpr std::string_view kHex = "0123456789abcdef";
  for (int byte = 0x20; byte <= 0xff; ++byte) {
    if (byte == 0x7f) continue;
    all += static_cast<char>(byte);
    encoded += {'%', kHex[static_cast<std::size_t>(byte / 16)], kHex[static_cast<std::size_t>(byte % 16)]};
  }
  const auto target = parse_target("/" + encoded + "?k=" + encoded);
  ASSERT_TRUE(target);
  EXPECT_THAT(target->path, ElementsAre(all));
  EXPECT_EQ(*target->find("k"), all);
}

}  // namespace
}  // namespace dao::admin

// What the TOML library itself is trusted with: text beyond ASCII where it looks for white space.
#include "dao/config/document.h"

#include <gtest/gtest.h>

namespace dao::config {
namespace {

constexpr std::size_t kDepth = 8;

TEST(Document, TakesTextInAnyScriptBehindTheContinuationOfALine) {
  const auto document = parse_document("a = \"\"\"one \\\n  \u0436\u3041\u00e4\"\"\"\n", kDepth, 0);
  ASSERT_TRUE(document.has_value()) << document.error().message;
  EXPECT_EQ(document->find("a")->value.text, "one \u0436\u3041\u00e4");
}

TEST(Document, RefusesAStringThatBeginsInAnotherValue) {
  for (const std::string text : {"a=1\"\u040a", "a = 1.\"\u040a\"\n", "a = [2026-11-28 \"\u040a\"]\n"}) {
    const auto document = parse_document(text, kDepth, 0);
    ASSERT_FALSE(document.has_value()) << text;
    EXPECT_TRUE(document.error().message.starts_with("syntax: ")) << document.error().message;
  }
}

}  // namespace
}  // namespace dao::config

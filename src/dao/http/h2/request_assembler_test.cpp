// What of HTTP/2 an HTTP/1.1 head cannot say. The rest is in the tests of the session, and of the parser of HTTP/1.
#include <utility>

#include "dao/http/h2/request_assembler.h"

#include <gtest/gtest.h>

namespace dao::http::h2 {
namespace {

TEST(RequestAssemblerTest, MarksWhatMustBeInNobodysTable) {
  const HeadLimits limits;
  RequestAssembler assembler(limits);
  for (const bool secret : {true, false}) {
    assembler.begin();
    for (const auto& [name, value] : {std::pair{":method", "GET"}, {":scheme", "https"}, {":path", "/"}}) {
      ASSERT_TRUE(assembler.add({.name = name, .value = value}, FieldId::other));
    }
    ASSERT_TRUE(assembler.add({.name = "x", .value = "y", .never_indexed = secret}, FieldId::other));
    ASSERT_TRUE(assembler.add({.name = "x-other", .value = "y"}, FieldId::other));
    ASSERT_TRUE(assembler.add({.name = "host", .value = "a.test"}, FieldId::host));
    ASSERT_TRUE(assembler.add({.name = "cookie", .value = "z=1", .never_indexed = secret}, FieldId::other));
    RequestHead head;
    ASSERT_TRUE(assembler.finish(true, head));
    EXPECT_EQ(head.find("x")->never_indexed, secret);
    EXPECT_EQ(head.find("cookie")->never_indexed, secret);
    EXPECT_FALSE(head.find("x-other")->never_indexed);
    EXPECT_FALSE(head.find("host")->never_indexed);
  }
}

TEST(RequestAssemblerTest, MarksTrailersToo) {
  const HeadLimits limits;
  RequestAssembler assembler(limits);
  assembler.begin();
  ASSERT_TRUE(assembler.add({.name = "x", .value = "y", .never_indexed = true}, FieldId::other));
  std::string text;
  std::vector<Field> trailers;
  ASSERT_TRUE(assembler.finish_trailers(text, trailers));
  ASSERT_EQ(trailers.size(), 1U);
  EXPECT_TRUE(trailers[0].never_indexed);
}

}  // namespace
}  // namespace dao::http::h2

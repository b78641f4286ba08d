#include "dao/http/grpc_status.h"

#include <gtest/gtest.h>

#include <array>

namespace dao::http {
namespace {

std::optional<std::uint8_t> status_of(std::string_view value, std::string_view name = "grpc-status") {
  const std::array<Field, 2> fields = {Field{.name = "x", .value = "1"}, Field{.name = name, .value = value}};
  return find_grpc_status(fields);
}

TEST(GrpcStatus, IsReadFromItsField) {
  EXPECT_EQ(status_of("0"), 0);
  EXPECT_EQ(status_of("9"), 9);
  EXPECT_EQ(status_of("16", "Grpc-Status"), 16);
  EXPECT_EQ(kGrpcStatusNames[4], "DEADLINE_EXCEEDED");
}

TEST(GrpcStatus, IsNoneIfThereIsNoSuchCode) {
  for (const char* bad : {"", "17", "99", "-1", "+1", "1 ", "0x", "000", "OK"}) EXPECT_FALSE(status_of(bad)) << bad;
  EXPECT_FALSE(status_of("0", "grpc-message"));
}

}  // namespace
}  // namespace dao::http

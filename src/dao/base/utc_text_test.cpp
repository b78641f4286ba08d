#include "dao/base/utc_text.h"

#include <gtest/gtest.h>

#include <array>

namespace dao {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr WallTime kSometime{seconds(1'795'875'711)};  // date -u -d @1795875711

TEST(UtcText, IsWhatStrftimeWrites) {
  EXPECT_EQ(utc_text(kSometime, "%Y-%m-%dT%H:%M:%SZ"), "2026-11-28T14:21:51Z");
  EXPECT_EQ(utc_text(kSometime, "%a, %d %b %Y %H:%M:%S GMT"), "Sat, 28 Nov 2026 14:21:51 GMT");
}

TEST(UtcText, NeverRunsAheadOfTheSecond) {
  EXPECT_EQ(utc_text(kSometime + milliseconds(999), "%S"), "51");
  EXPECT_EQ(utc_text(WallTime{milliseconds(-1)}, "%Y-%m-%dT%H:%M:%S"), "1969-12-31T23:59:59");
}

TEST(UtcText, IsNothingWhereItDoesNotFit) {
  std::array<char, 5> four_digits_and_the_end;
  EXPECT_EQ(utc_text(kSometime, "%Y", four_digits_and_the_end), 4U);
  std::array<char, 4> too_small;
  EXPECT_EQ(utc_text(kSometime, "%Y", too_small), 0U);
}

}  // namespace
}  // namespace dao

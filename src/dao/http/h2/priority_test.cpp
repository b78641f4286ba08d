#include "dao/http/h2/priority.h"

#include <gtest/gtest.h>

namespace dao::http::h2 {
namespace {

TEST(PriorityTest, ReadsUrgencyAndIncremental) {
  EXPECT_EQ(read_priority("u=5, i", {}), (Priority{5, true}));
  EXPECT_EQ(read_priority("i=?1,u=0", {}), (Priority{0, true}));
  EXPECT_EQ(read_priority("u=7;x=1, i=?0;y", {.incremental = true}), (Priority{7, false}));
}

TEST(PriorityTest, TheLastMemberOfAKeyCounts) {
  EXPECT_EQ(read_priority("u=5, u=2", {}), (Priority{2, false}));
}

TEST(PriorityTest, WhatIsMissingOrOddStandsAsItWas) {
  const Priority before{6, true};
  for (const char* const text : {"", "u", "u=8", "u=-1", "u=55", "i=1", "U=2", "x=1", "u=\"2\"", ",,", "=", "u =2"}) {
    EXPECT_EQ(read_priority(text, before), before) << text;
  }
}

}  // namespace
}  // namespace dao::http::h2

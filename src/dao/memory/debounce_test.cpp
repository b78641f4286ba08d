// When the watcher looks, in virtual time.
#include "dao/memory/debounce.h"

#include <gtest/gtest.h>

namespace dao::memory {
namespace {

using std::chrono_literals::operator""ms;
using std::chrono_literals::operator""s;

constexpr Instant at(Nanoseconds since_start) {
  return Instant{1000s} + since_start;
}

TEST(Debounce, NothingHappensOfItself) {
  const Debounce debounce;
  EXPECT_EQ(debounce.due(), kNever);
}

TEST(Debounce, LooksWhenItHasBeenQuiet) {
  Debounce debounce;
  debounce.changed(at(0ms));
  EXPECT_EQ(debounce.due(), at(200ms));
  debounce.changed(at(150ms));
  EXPECT_EQ(debounce.due(), at(350ms));
  debounce.looked();
  EXPECT_EQ(debounce.due(), kNever);
  debounce.changed(at(5s));
  EXPECT_EQ(debounce.due(), at(5200ms));
}

TEST(Debounce, AStormIsNotWaitedForLongerThanTwoSeconds) {
  Debounce debounce;
  Nanoseconds now{};
  for (; at(now) < debounce.due(); now += 100ms) debounce.changed(at(now));
  EXPECT_EQ(now, 2s);
  EXPECT_EQ(debounce.due(), at(2s));
}

TEST(Debounce, AFileThatIsBeingWrittenIsWaitedFor) {
  Debounce debounce;
  debounce.writing("a", at(0ms));
  EXPECT_EQ(debounce.due(), at(10s));
  debounce.writing("a", at(4s));
  EXPECT_EQ(debounce.due(), at(10s)) << "and no longer than that";
  debounce.changed(at(5s));
  EXPECT_EQ(debounce.due(), at(10s)) << "whatever else changes";
  debounce.finished("a", at(6s));
  EXPECT_EQ(debounce.due(), at(2s)) << "the storm has lasted long enough";
}

TEST(Debounce, AllFilesMustBeWhole) {
  Debounce debounce;
  debounce.writing("a", at(0ms));
  debounce.writing("b", at(10ms));
  debounce.finished("a", at(20ms));
  EXPECT_TRUE(debounce.writing());
  EXPECT_EQ(debounce.due(), at(10s));
  debounce.finished("b", at(30ms));
  EXPECT_FALSE(debounce.writing());
  EXPECT_EQ(debounce.due(), at(230ms));
}

TEST(Debounce, WhatIsGoneIsNotWaitedFor) {
  Debounce debounce;
  debounce.writing("a", at(0ms));
  debounce.forget("a");
  EXPECT_EQ(debounce.due(), at(200ms));
  debounce.forget("never heard of");
  EXPECT_EQ(debounce.due(), at(200ms));
}

TEST(Debounce, AfterALookNobodyIsHeldToBeWriting) {
  Debounce debounce;
  debounce.writing("a", at(0ms));
  debounce.looked();
  debounce.changed(at(11s));
  EXPECT_EQ(debounce.due(), at(11200ms));
}

}  // namespace
}  // namespace dao::memory

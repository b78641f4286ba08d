// The retry budget as a bucket, and what it is for: an outage is not made worse by its victims.
#include "dao/upstream/retry_budget.h"

#include <gtest/gtest.h>

namespace dao::upstream {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

const Instant kStart{hours(1)};

// Retries that are allowed one after the other at `now`.
int drain(RetryBudget& budget, Instant now) {
  int allowed = 0;
  for (; budget.available(now); ++allowed) budget.spend();
  return allowed;
}

TEST(RetryBudget, AShareOfTheRequestsMayBeRetried) {
  RetryBudget budget(20, 0, kStart);
  EXPECT_FALSE(budget.available(kStart)) << "nothing was asked yet";
  for (int request = 0; request < 4; ++request) budget.request_began();
  EXPECT_FALSE(budget.available(kStart));
  budget.request_began();
  EXPECT_TRUE(budget.available(kStart));
  for (int request = 0; request < 995; ++request) budget.request_began();
  EXPECT_NEAR(drain(budget, kStart), 200, 1);
}

TEST(RetryBudget, AskingSpendsNothing) {
  RetryBudget budget(0, 1, kStart);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(budget.available(kStart));
  EXPECT_EQ(drain(budget, kStart), 1);
}

TEST(RetryBudget, ATrickleLetsAQuietProxyRetry) {
  RetryBudget budget(0, 10, kStart);
  EXPECT_EQ(drain(budget, kStart), 10) << "one second's worth at the start";
  EXPECT_EQ(drain(budget, kStart + milliseconds(100)), 1);
  EXPECT_EQ(drain(budget, kStart + milliseconds(150)), 0);
  EXPECT_EQ(drain(budget, kStart + milliseconds(200)), 1) << "halves are kept";
  EXPECT_EQ(drain(budget, kStart + milliseconds(1200)), 10);
}

TEST(RetryBudget, WhatIsSavedUpIsBounded) {
  RetryBudget quiet(20, 10, kStart);
  EXPECT_EQ(drain(quiet, kStart + hours(24)), 2100) << "ten seconds of trickle and a share of ten thousand requests";

  RetryBudget busy(20, 0, kStart);
  for (int request = 0; request < 1'000'000; ++request) busy.request_began();
  EXPECT_NEAR(drain(busy, kStart), 2000, 1);
}

TEST(RetryBudget, NothingIsAllowedWithoutABudget) {
  RetryBudget budget(0, 0, kStart);
  for (int request = 0; request < 1000; ++request) budget.request_began();
  EXPECT_EQ(drain(budget, kStart + hours(1)), 0);
}

// Every attempt fails from one moment on; each request would retry as often as it may.
TEST(RetryBudget, AnOutageIsNotAmplified) {
  constexpr int kPerSecond = 1000;
  constexpr int kRetriesWanted = 2;
  RetryBudget budget(20, 10, kStart);
  Instant now = kStart;
  const auto run = [&](seconds duration, bool outage) {
    int retries = 0;
    for (const Instant end = now + duration; now < end; now += Nanoseconds(seconds(1)) / kPerSecond) {
      budget.request_began();
      if (!outage) continue;
      for (int retry = 0; retry < kRetriesWanted && budget.available(now); ++retry) {
        budget.spend();
        ++retries;
      }
    }
    return retries;
  };
  run(seconds(60), false);
  const int first_minute = run(seconds(60), true);
  const int second_minute = run(seconds(60), true);
  constexpr int kRequests = 60 * kPerSecond;
  EXPECT_LE(first_minute, kRequests * 20 / 100 + 60 * 10 + 2100) << "at most the share, the trickle and what was saved";
  EXPECT_NEAR(second_minute, kRequests * 20 / 100 + 60 * 10, 5) << "then the share and the trickle";
}

}  // namespace
}  // namespace dao::upstream

#include "dao/flow/gcra.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "dao/base/random.h"
#include "dao/flow/hash.h"

namespace dao::flow {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr Instant kStart{std::chrono::hours(100)};

TEST(Gcra, ABurstComesAtOnceAndThenOneForEachInterval) {
  GcraCell cell({.requests = 10, .period = seconds(1), .burst = 3});
  EXPECT_TRUE(cell.admit(kStart).admitted);
  EXPECT_TRUE(cell.admit(kStart).admitted);
  const Admission third = cell.admit(kStart);
  EXPECT_TRUE(third.admitted);
  EXPECT_EQ(third.remaining, 0U);
  EXPECT_EQ(third.full_after, milliseconds(300));
  const Admission refused = cell.admit(kStart);
  EXPECT_FALSE(refused.admitted);
  EXPECT_EQ(refused.retry_after, milliseconds(100));
  EXPECT_FALSE(cell.admit(kStart + milliseconds(99)).admitted);
  EXPECT_TRUE(cell.admit(kStart + milliseconds(100)).admitted);
  EXPECT_FALSE(cell.admit(kStart + milliseconds(100)).admitted);
}

TEST(Gcra, APauseFillsTheBurstAndNoMore) {
  GcraCell cell({.requests = 10, .period = seconds(1), .burst = 4});
  int admitted = 0;
  for (int i = 0; i < 20; ++i) admitted += cell.admit(kStart).admitted ? 1 : 0;
  EXPECT_EQ(admitted, 4);
  for (int i = 0; i < 20; ++i) admitted += cell.admit(kStart + minutes(5)).admitted ? 1 : 0;
  EXPECT_EQ(admitted, 8);
}

TEST(Gcra, RefusalsCostNothing) {
  GcraCell cell({.requests = 1, .period = minutes(1), .burst = 1});
  EXPECT_TRUE(cell.admit(kStart).admitted);
  for (int i = 1; i < 60; ++i) EXPECT_FALSE(cell.admit(kStart + seconds(i)).admitted) << i;
  EXPECT_TRUE(cell.admit(kStart + seconds(60)).admitted);
}

TEST(Gcra, TheRateIsNotRounded) {
  // 7 per second: 142857142.857 ns each.
  GcraCell cell({.requests = 7, .period = seconds(1), .burst = 1});
  int admitted = 0;
  for (int i = 0; i < 700'000; ++i) admitted += cell.admit(kStart + milliseconds(i)).admitted ? 1 : 0;
  // A step of 1 ms delays each one by up to 1 ms.
  EXPECT_NEAR(admitted, 4900, 4900 * 0.01);
}

// From 100 to 50 a second and back to 400: what was counted goes on, and the burst with the rate.
TEST(Gcra, ALimitThatBecomesAnotherOneForgetsNothing) {
  GcraCell cell({.requests = 100, .period = seconds(1), .burst = 10});
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(cell.admit(kStart).admitted);
  EXPECT_FALSE(cell.admit(kStart).admitted);
  const auto admitted_from = [&](Instant begin, const Terms& terms) {
    int admitted = 0;
    for (int i = 0; i < 10'000; ++i) admitted += cell.admit(begin + milliseconds(i), terms).admitted ? 1 : 0;
    return admitted;
  };
  EXPECT_FALSE(cell.admit(kStart, cell.clock().terms(50, 5)).admitted) << "the burst is used up";
  EXPECT_NEAR(admitted_from(kStart, cell.clock().terms(50, 5)), 500, 5);
  EXPECT_NEAR(admitted_from(kStart + seconds(10), cell.clock().terms(400, 40)), 4000, 45);
  const Admission one = cell.admit(kStart + minutes(5), cell.clock().terms(400, 40));
  EXPECT_EQ(one.remaining, 39U);
  EXPECT_EQ(one.full_after, std::chrono::microseconds(2500));
}

TEST(GcraTable, ALimitOfAPartIsThatPart) {
  GcraTable table({.requests = 1000, .period = seconds(1), .burst = 100}, 64);
  const Terms tenth = RateClock({.requests = 1000, .period = seconds(1), .burst = 100}).terms(1, 1);
  int admitted = 0;
  for (int i = 0; i < 60'000; ++i) admitted += table.admit(1, kStart + milliseconds(i), tenth).admitted ? 1 : 0;
  EXPECT_EQ(admitted, 60);
}

// Workers with clocks of their own, at three times the limit for a minute of virtual time, in parallel.
std::uint64_t admitted_in_a_minute(auto admit, std::uint32_t rps, unsigned workers) {
  std::vector<std::uint64_t> counts(workers);
  std::vector<std::thread> threads;
  std::vector<std::atomic<std::int64_t>> at(workers);
  for (unsigned worker = 0; worker < workers; ++worker) {
    threads.emplace_back([&, worker] {
      const std::uint64_t requests = std::uint64_t{3} * rps * 60 / workers;
      const std::int64_t step = 60'000'000'000 / static_cast<std::int64_t>(requests);
      constexpr std::int64_t kBatch = 1'000'000;  // a worker takes the time once for a batch of events
      for (std::uint64_t i = 0; i < requests; ++i) {
        const std::int64_t now = static_cast<std::int64_t>(i) * step / kBatch * kBatch;
        at[worker].store(now, std::memory_order_relaxed);
        // Virtual clocks run apart, by more than those of real workers would.
        constexpr std::int64_t kApart = 100'000'000;
        for (const auto& other : at) {
          while (other.load(std::memory_order_relaxed) + kApart < now) std::this_thread::yield();
        }
        counts[worker] += admit(kStart + nanoseconds(now)).admitted ? 1 : 0;
      }
      at[worker].store(60'000'000'000, std::memory_order_relaxed);
    });
  }
  std::uint64_t sum = 0;
  for (unsigned worker = 0; worker < workers; ++worker) {
    threads[worker].join();
    sum += counts[worker];
  }
  return sum;
}

TEST(Gcra, OverAMinuteAtThreeTimesTheLimitOnePercentAcrossWorkers) {
  for (const std::uint32_t rps : {50U, 1000U}) {
    GcraCell cell({.requests = rps, .period = seconds(1), .burst = std::max(1U, rps / 10)});
    const auto admitted = admitted_in_a_minute([&](Instant now) { return cell.admit(now); }, rps, 4);
    EXPECT_NEAR(static_cast<double>(admitted), rps * 60.0, rps * 60.0 * 0.01) << rps;
  }
}

TEST(Gcra, TheSameForAKeyInTheTable) {
  for (const std::uint32_t rps : {50U, 1000U}) {
    GcraTable table({.requests = rps, .period = seconds(1), .burst = std::max(1U, rps / 10)}, 1024);
    const auto admitted =
        admitted_in_a_minute([&](Instant now) { return table.admit(hash("client", 7), now); }, rps, 4);
    EXPECT_NEAR(static_cast<double>(admitted), rps * 60.0, rps * 60.0 * 0.01) << rps;
  }
}

TEST(GcraTable, KeysHaveLimitsOfTheirOwn) {
  GcraTable table({.requests = 1, .period = seconds(1), .burst = 2}, 65'536);
  for (std::uint64_t key = 0; key < 1000; ++key) {
    const std::uint64_t hashed = hash(std::to_string(key), 42);
    EXPECT_TRUE(table.admit(hashed, kStart).admitted) << key;
    EXPECT_TRUE(table.admit(hashed, kStart).admitted) << key;
    EXPECT_FALSE(table.admit(hashed, kStart).admitted) << key;
  }
}

TEST(GcraTable, IsAsLargeAsItSays) {
  EXPECT_EQ(GcraTable({}, 65'536).memory_bytes(), 65'536U * 8);
  EXPECT_EQ(GcraTable({}, 65'537).memory_bytes(), 131'072U * 8);
}

TEST(GcraTable, AFullBucketForgetsTheKeyWithTheLeastDebt) {
  GcraTable table({.requests = 1, .period = seconds(1), .burst = 4}, 8);  // one bucket
  const auto key = [](std::uint64_t number) { return number << 41U; };
  EXPECT_TRUE(table.admit(key(1), kStart).admitted);  // the least debt
  for (std::uint64_t number = 2; number <= 8; ++number) {
    for (int i = 0; i < 4; ++i) EXPECT_TRUE(table.admit(key(number), kStart).admitted);
  }
  EXPECT_TRUE(table.admit(key(9), kStart).admitted);
  for (std::uint64_t number = 2; number <= 8; ++number) EXPECT_FALSE(table.admit(key(number), kStart).admitted);
  // Forgotten, it has a whole burst again; never less than its rate.
  int admitted = 0;
  for (int i = 0; i < 8; ++i) admitted += table.admit(key(1), kStart).admitted ? 1 : 0;
  EXPECT_EQ(admitted, 4);
}

TEST(GcraTable, AKeyWithAFullBurstTakesNoRoom) {
  GcraTable table({.requests = 10, .period = seconds(1), .burst = 1}, 8);
  for (std::uint64_t number = 1; number <= 8; ++number) EXPECT_TRUE(table.admit(number << 41U, kStart).admitted);
  // A tenth of a second later all of them are free for others, and none of the new ones is lost.
  const Instant later = kStart + milliseconds(100);
  for (std::uint64_t number = 11; number <= 18; ++number) EXPECT_TRUE(table.admit(number << 41U, later).admitted);
  for (std::uint64_t number = 11; number <= 18; ++number) EXPECT_FALSE(table.admit(number << 41U, later).admitted);
}

TEST(GcraTable, AKeyFromBeforeTheClockWentRoundIsNoDebt) {
  GcraTable table({.requests = 1'000'000, .period = seconds(1), .burst = 10}, 64);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(table.admit(1U << 20U, kStart).admitted);
  EXPECT_FALSE(table.admit(1U << 20U, kStart).admitted);
  int admitted = 0;
  for (int i = 0; i < 20; ++i) admitted += table.admit(1U << 20U, kStart + seconds(2000)).admitted ? 1 : 0;
  EXPECT_EQ(admitted, 10);
}

TEST(GcraTable, AWorkerWhoseClockIsBehindSeesTheDebt) {
  GcraTable table({.requests = 100, .period = seconds(1), .burst = 2}, 64);
  EXPECT_TRUE(table.admit(5, kStart + milliseconds(500)).admitted);
  EXPECT_TRUE(table.admit(5, kStart + milliseconds(500)).admitted);
  EXPECT_FALSE(table.admit(5, kStart).admitted);
}

}  // namespace
}  // namespace dao::flow

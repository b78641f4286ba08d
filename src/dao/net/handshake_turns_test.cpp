#include "dao/net/handshake_turns.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "dao/rt/cancel.h"
#include "dao/rt/task.h"

namespace dao::net {
namespace {

using testing::ElementsAre;

Instant at(int seconds) {
  return Instant(std::chrono::seconds(seconds));
}

TEST(HandshakeTurns, HaveSoMuchTimeInABatchAndAtLeastOneStep) {
  HandshakeTurns turns;
  EXPECT_TRUE(turns.has_time(at(1)));
  turns.spend(HandshakeTurns::kBudget / 2);
  EXPECT_TRUE(turns.has_time(at(1)));
  turns.spend(HandshakeTurns::kBudget * 10);
  EXPECT_FALSE(turns.has_time(at(1)));
  EXPECT_TRUE(turns.has_time(at(2)));
}

class LineTest : public testing::Test {
 protected:
  rt::Task<> stand(int number, rt::Cancel* cancel = nullptr) {
    HandshakeTurns::Place place(turns);
    if (!place.first()) {
      const rt::Wake wake = co_await place.wait(loop, deadline, cancel);
      if (wake != rt::Wake::ready) {
        left.push_back(number);
        co_return;
      }
    }
    served.push_back(number);
  }

  rt::VirtualLoop loop;
  HandshakeTurns turns;
  Instant deadline = kNever;
  std::vector<int> served;
  std::vector<int> left;
};

TEST_F(LineTest, FirstComeFirstServed) {
  std::optional<HandshakeTurns::Place> front(turns);
  for (int number = 0; number < 4; ++number) loop.spawn(stand(number));
  loop.run();
  EXPECT_THAT(served, ElementsAre());
  EXPECT_TRUE(turns.anybody_waits());
  front.reset();
  loop.run();
  EXPECT_THAT(served, ElementsAre(0, 1, 2, 3));
  EXPECT_FALSE(turns.anybody_waits());
}

TEST_F(LineTest, WhoLeavesIsNotWaitedFor) {
  std::optional<HandshakeTurns::Place> front(turns);
  rt::Cancel gone;
  loop.spawn(stand(0, &gone));
  loop.spawn(stand(1));
  loop.spawn(stand(2, &gone));
  loop.run();
  gone.request();
  loop.run();
  EXPECT_THAT(left, ElementsAre(0, 2));
  front.reset();
  loop.run();
  EXPECT_THAT(served, ElementsAre(1));
  EXPECT_FALSE(turns.anybody_waits());
}

TEST_F(LineTest, WaitsHaveADeadline) {
  const HandshakeTurns::Place front(turns);
  deadline = loop.now() + std::chrono::seconds(1);
  loop.spawn(stand(0));
  loop.run();
  EXPECT_THAT(left, ElementsAre(0));
}

}  // namespace
}  // namespace dao::net

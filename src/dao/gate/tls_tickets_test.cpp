#include "dao/gate/tls_tickets.h"

#include <gtest/gtest.h>

namespace dao::gate {
namespace {

using std::chrono::seconds;

TEST(TicketKeys, ChangeOnceInALifetimeAndServeTwoOfThem) {
  TicketKeys keys(seconds(10));
  const Instant start{};
  const auto first = keys.current(start);
  ASSERT_TRUE(first);
  EXPECT_EQ(keys.current(start + seconds(9))->name, first->name);
  const auto second = keys.current(start + seconds(10));
  EXPECT_NE(second->name, first->name);
  EXPECT_NE(second->cipher, first->cipher);
  const auto old = keys.find(first->name.data(), start + seconds(19));
  ASSERT_TRUE(old);
  EXPECT_EQ(old->mac, first->mac);
  EXPECT_FALSE(keys.find(first->name.data(), start + seconds(20)));
  EXPECT_TRUE(keys.find(second->name.data(), start + seconds(20)));
}

TEST(TicketKeys, DoNotKnowAnothersTicket) {
  TicketKeys keys(seconds(10));
  TicketKeys others(seconds(10));
  ASSERT_TRUE(keys.current(Instant{}));
  EXPECT_FALSE(keys.find(others.current(Instant{})->name.data(), Instant{}));
}

}  // namespace
}  // namespace dao::gate

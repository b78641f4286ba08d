#include "dao/gate/client_limit.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <vector>

namespace dao::gate {
namespace {

net::Peer client(const std::string& ip, std::uint16_t port = 1) {
  return net::Peer(net::SocketAddress::from_ip(ip, port)->raw());
}

TEST(ClientLimit, CountsAddressesAndNotPorts) {
  ClientLimit limit(2, 64, 1);
  EXPECT_TRUE(limit.enter(client("192.0.2.1", 1)));
  EXPECT_TRUE(limit.enter(client("::ffff:192.0.2.1", 2)));
  EXPECT_FALSE(limit.enter(client("192.0.2.1", 3)));
  EXPECT_TRUE(limit.enter(client("192.0.2.2", 1)));
  limit.leave(client("192.0.2.1", 9));
  EXPECT_TRUE(limit.enter(client("192.0.2.1", 3)));
  EXPECT_FALSE(limit.enter(client("192.0.2.1", 4)));
}

TEST(ClientLimit, ANetworkOfIpv6IsOneClient) {
  ClientLimit limit(1, 64, 1);
  EXPECT_TRUE(limit.enter(client("2001:db8:0:1::1")));
  EXPECT_FALSE(limit.enter(client("2001:db8:0:1:ffff:ffff:ffff:ffff")));
  EXPECT_TRUE(limit.enter(client("2001:db8:0:2::1")));
  // Four bytes and sixteen that begin with them are different clients.
  EXPECT_TRUE(limit.enter(client("32.1.13.184")));

  ClientLimit odd(1, 61, 1);
  EXPECT_TRUE(odd.enter(client("2001:db8:0:7::")));
  EXPECT_FALSE(odd.enter(client("2001:db8:0:1::")));
  EXPECT_TRUE(odd.enter(client("2001:db8:0:8::")));

  ClientLimit whole(1, 128, 1);
  EXPECT_TRUE(whole.enter(client("2001:db8::1")));
  EXPECT_TRUE(whole.enter(client("2001:db8::2")));
  EXPECT_FALSE(whole.enter(client("2001:db8::2")));
}

TEST(ClientLimit, GoesOnOverConfigurationsWithWhatItHasCounted) {
  EXPECT_EQ(client_limit(0, 64, nullptr), nullptr);
  const auto first = client_limit(1, 64, nullptr);
  EXPECT_TRUE(first->enter(client("192.0.2.1")));
  const auto second = client_limit(2, 64, first);
  EXPECT_EQ(second, first);
  EXPECT_TRUE(second->enter(client("192.0.2.1")));
  EXPECT_FALSE(second->enter(client("192.0.2.1")));
  EXPECT_EQ(client_limit(1, 64, second), first);
  first->leave(client("192.0.2.1"));
  EXPECT_FALSE(first->enter(client("192.0.2.1"))) << "there is still one";
  // Another prefix makes clients of others.
  const auto third = client_limit(1, 56, first);
  EXPECT_NE(third, first);
  EXPECT_TRUE(third->enter(client("192.0.2.1")));
  EXPECT_EQ(client_limit(0, 56, third), nullptr);
}

TEST(ClientLimit, HoldsNothingForThoseThatAreGone) {
  ClientLimit limit(1, 64, 1);
  for (int i = 0; i < 1000; ++i) {
    const net::Peer peer = client("10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250));
    ASSERT_TRUE(limit.enter(peer));
    ASSERT_FALSE(limit.enter(peer));
  }
  EXPECT_EQ(limit.clients(), 1000U);
  for (int i = 0; i < 1000; ++i) {
    limit.leave(client("10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250)));
  }
  EXPECT_EQ(limit.clients(), 0U);
}

TEST(ClientLimit, IsExactOverThreads) {
  constexpr std::size_t kMost = 100;
  ClientLimit limit(kMost, 64, 1);
  std::vector<std::size_t> entered(4);
  {
    std::vector<std::jthread> threads;
    for (std::size_t& count : entered) {
      threads.emplace_back([&] {
        for (int i = 0; i < 1000; ++i) count += limit.enter(client("192.0.2.1")) ? 1 : 0;
      });
    }
  }
  EXPECT_EQ(entered[0] + entered[1] + entered[2] + entered[3], kMost);
}

TEST(ClientPlace, GivesBackWhatItTook) {
  ClientLimit process(2, 64, 1);
  ClientLimit listener(1, 64, 1);
  {
    ClientPlace first;
    EXPECT_EQ(first.take(client("192.0.2.1"), &process, &listener), nullptr);
    ClientPlace second;
    EXPECT_EQ(second.take(client("192.0.2.1"), &process, &listener), &listener);
    ClientPlace elsewhere;
    EXPECT_EQ(elsewhere.take(client("192.0.2.1"), &process, nullptr), nullptr) << "nothing was taken by the second";
    ClientPlace third;
    EXPECT_EQ(third.take(client("192.0.2.1"), &process, nullptr), &process);
  }
  EXPECT_EQ(process.clients(), 0U);
  EXPECT_EQ(listener.clients(), 0U);
}

}  // namespace
}  // namespace dao::gate

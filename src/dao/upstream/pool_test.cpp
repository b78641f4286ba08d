// The keep-alive connections of one upstream, over MemoryStreams in virtual time. After each test the gauges are at
// zero.
#include "dao/upstream/pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "dao/upstream/memory_connector.h"

namespace dao::upstream {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;

net::SocketAddress at(const char* ip) {
  return *net::SocketAddress::from_ip(ip, 80);
}

class Connector final : public MemoryConnector {
 public:
  std::vector<Opened> connections;

 private:
  void opened(Opened connection) override { connections.push_back(std::move(connection)); }
};

class PoolTest : public testing::Test {
 protected:
  PoolTest() { pool.set_addresses({at("192.0.2.1")}); }

  Pool::Lease acquire(bool fresh = false, bool verify = false) {
    Result<Pool::Lease> lease = pool.acquire({.fresh = fresh, .verify = verify});
    EXPECT_TRUE(lease);
    return lease ? std::move(*lease) : Pool::Lease{};
  }
  // Opens `count` connections at once and gives them back in that order.
  void fill(int count) {
    std::vector<Pool::Lease> leases;
    for (int i = 0; i < count; ++i) leases.push_back(acquire(true));
    for (Pool::Lease& lease : leases) pool.release(std::move(lease), true, std::nullopt);
  }
  // The far end of a lease's connection. What is written at one end comes out at the other.
  std::size_t number_of(Pool::Lease& lease) {
    iovec mark{const_cast<char*>("!"), 1};
    static_cast<void>(lease.connection().stream().try_write({&mark, 1}));
    const auto found = std::ranges::find_if(connector.connections, [](const auto& opened) {
      char byte = 0;
      return opened.backend != nullptr && opened.backend->try_read({&byte, 1}).status == net::IoStatus::ok;
    });
    return static_cast<std::size_t>(found - connector.connections.begin());
  }
  // Connections that DAO has not closed.
  std::size_t open() {
    return static_cast<std::size_t>(std::ranges::count_if(connector.connections, [](const auto& opened) {
      return opened.backend != nullptr && !opened.backend->peer_closed();
    }));
  }
  void pass(Nanoseconds time) { loop.run_for(time); }

  void TearDown() override {
    pool.close_idle();
    EXPECT_EQ(counters.connections_idle.value(), 0);
    EXPECT_EQ(counters.connections_active.value(), 0);
    EXPECT_EQ(buffers.in_use(), 0U);
    EXPECT_EQ(open(), 0U);
  }

  rt::VirtualLoop loop;
  Connector connector;
  http::BufferPool buffers;
  sense::UpstreamCounters counters;
  Pool pool{loop, connector, buffers, counters, {.max_idle = 4, .idle_timeout = seconds(60)}};
};

TEST_F(PoolTest, OpensAndReuses) {
  Pool::Lease first = acquire();
  EXPECT_FALSE(first.reused());
  EXPECT_EQ(*first.address(), "192.0.2.1:80");
  EXPECT_EQ(counters.connections_active.value(), 1);
  pool.release(std::move(first), true, std::nullopt);
  EXPECT_EQ(counters.connections_active.value(), 0);
  EXPECT_EQ(counters.connections_idle.value(), 1);

  Pool::Lease again = acquire();
  EXPECT_TRUE(again.reused());
  EXPECT_EQ(counters.connections_idle.value(), 0);
  pool.release(std::move(again), true, std::nullopt);
  EXPECT_EQ(connector.connections.size(), 1U);
  EXPECT_EQ(counters.connects.value(), 1U);
}

TEST_F(PoolTest, WhatCannotBeUsedAgainIsClosed) {
  pool.release(acquire(), false, std::nullopt);
  EXPECT_EQ(open(), 0U);
  EXPECT_EQ(counters.connections_idle.value(), 0);
  Pool::Lease next = acquire();
  EXPECT_FALSE(next.reused());
  pool.release(std::move(next), false, std::nullopt);
}

TEST_F(PoolTest, TheConnectionUsedLastIsUsedNext) {
  fill(3);
  Pool::Lease last = acquire();
  Pool::Lease second = acquire();
  EXPECT_EQ(number_of(last), 2U);
  EXPECT_EQ(number_of(second), 1U);
  pool.release(std::move(second), true, std::nullopt);
  pool.release(std::move(last), true, std::nullopt);
  Pool::Lease again = acquire();
  EXPECT_EQ(number_of(again), 2U);
  pool.release(std::move(again), true, std::nullopt);
}

TEST_F(PoolTest, KeepsAtMostMaxIdle) {
  fill(7);
  EXPECT_EQ(open(), 4U);
  EXPECT_EQ(counters.connections_idle.value(), 4);
}

TEST_F(PoolTest, MaxIdleCountsOverAllAddresses) {
  pool.set_addresses({at("192.0.2.1"), at("192.0.2.2"), at("192.0.2.3")});
  fill(7);
  EXPECT_EQ(open(), 4U);
}

TEST_F(PoolTest, AFreshConnectionLeavesTheIdleOnesAlone) {
  fill(1);
  Pool::Lease lease = acquire(true);
  EXPECT_FALSE(lease.reused());
  EXPECT_EQ(counters.connections_idle.value(), 1);
  pool.release(std::move(lease), true, std::nullopt);
}

TEST_F(PoolTest, IdleConnectionsAreClosedAfterTheirTime) {
  fill(1);
  pass(seconds(59));
  pool.sweep();
  EXPECT_EQ(open(), 1U);
  pass(seconds(1));
  pool.sweep();
  EXPECT_EQ(open(), 0U);
  EXPECT_EQ(counters.connections_idle.value(), 0);
}

TEST_F(PoolTest, AnExpiredConnectionIsNotUsedEvenBeforeTheSweep) {
  fill(1);
  pass(seconds(60));
  Pool::Lease lease = acquire();
  EXPECT_FALSE(lease.reused());
  EXPECT_EQ(open(), 1U) << "the expired one is closed";
  pool.release(std::move(lease), false, std::nullopt);
}

TEST_F(PoolTest, UseStartsTheTimeAnew) {
  fill(1);
  for (int i = 0; i < 3; ++i) {
    pass(seconds(50));
    Pool::Lease lease = acquire();
    EXPECT_TRUE(lease.reused());
    pool.release(std::move(lease), true, std::nullopt);
  }
}

TEST_F(PoolTest, TheBackendsKeepAliveIsHonouredWithAMargin) {
  pool.release(acquire(), true, seconds(5));
  pass(milliseconds(3900));
  pool.sweep();
  EXPECT_EQ(open(), 1U);
  pass(milliseconds(100));
  pool.sweep();
  EXPECT_EQ(open(), 0U) << "a second before the backend closes";

  pool.release(acquire(), true, seconds(3600));
  pass(seconds(60));
  pool.sweep();
  EXPECT_EQ(open(), 0U) << "our own time is the shorter one";

  for (const int too_short : {0, 1}) pool.release(acquire(), true, seconds(too_short));
  EXPECT_EQ(open(), 0U);
}

TEST_F(PoolTest, ConnectionsThatDiedAreDropped) {
  fill(4);
  iovec rubbish{const_cast<char*>("HTTP/1.1 408 Request Timeout\r\n\r\n"), 32};
  connector.connections[3].backend.reset();                                       // closed
  connector.connections[2].backend->reset();                                      // reset
  static_cast<void>(connector.connections[1].backend->try_write({&rubbish, 1}));  // talks out of turn
  Pool::Lease lease = acquire();
  EXPECT_TRUE(lease.reused());
  EXPECT_EQ(number_of(lease), 0U);
  EXPECT_EQ(counters.connections_idle.value(), 0);
  pool.release(std::move(lease), true, std::nullopt);
}

TEST_F(PoolTest, TheSweepDropsConnectionsThatDied) {
  fill(4);
  connector.connections[0].backend.reset();
  connector.connections[1].backend->shutdown_write();
  connector.connections[3].backend->reset();
  pool.sweep();
  EXPECT_EQ(counters.connections_idle.value(), 1);
  Pool::Lease lease = acquire();
  EXPECT_EQ(number_of(lease), 2U);
  pool.release(std::move(lease), true, std::nullopt);
}

TEST_F(PoolTest, WhatItsBackendClosesIsDroppedAtOnce) {
  fill(4);
  connector.connections[0].backend.reset();
  connector.connections[2].backend->reset();
  pass(milliseconds(2));
  EXPECT_EQ(counters.connections_idle.value(), 2);
  connector.connections[3].backend->shutdown_write();
  pass(milliseconds(2));
  EXPECT_EQ(counters.connections_idle.value(), 1) << "and what comes later as well";
}

TEST_F(PoolTest, AConnectionInUseIsItsExchangesMatter) {
  fill(2);
  Pool::Lease lease = acquire();
  connector.connections[number_of(lease)].backend->shutdown_write();
  pass(milliseconds(2));
  EXPECT_EQ(counters.connections_idle.value(), 1);
  EXPECT_EQ(counters.connections_active.value(), 1);
  pool.release(std::move(lease), false, std::nullopt);
}

TEST_F(PoolTest, SessionsThatEndAreDroppedAtOnce) {
  Pool of_h2{loop, connector, buffers, counters, {.protocol = Protocol::h2}};
  of_h2.set_addresses({at("192.0.2.1")});
  Result<Pool::Lease> lease = of_h2.acquire({});
  ASSERT_TRUE(lease);
  pass(milliseconds(1));
  of_h2.release(std::move(*lease), true, std::nullopt);
  EXPECT_EQ(counters.connections_idle.value(), 1);
  connector.connections[0].backend.reset();
  pass(milliseconds(2));
  EXPECT_EQ(counters.connections_idle.value(), 0);
}

TEST_F(PoolTest, SessionsOfAPastPeakAreNotUsed) {
  Pool of_h2{loop, connector, buffers, counters, {.protocol = Protocol::h2, .h2 = {.max_streams = 2}}};
  of_h2.set_addresses({at("192.0.2.1")});
  std::vector<Pool::Lease> leases;
  for (int i = 0; i < 4; ++i) leases.push_back(*of_h2.acquire({}));
  pass(milliseconds(1));
  ASSERT_EQ(open(), 2U) << "two exchanges each";
  for (const std::size_t ended : {0U, 2U, 3U}) of_h2.release(std::move(leases[ended]), true, std::nullopt);
  EXPECT_EQ(counters.connections_idle.value(), 1);
  leases[0] = *of_h2.acquire({});
  EXPECT_EQ(counters.connections_idle.value(), 1) << "the busier one has room";
  leases[2] = *of_h2.acquire({});
  EXPECT_EQ(counters.connections_idle.value(), 0) << "now it has not";
  for (const std::size_t ended : {0U, 1U, 2U}) of_h2.release(std::move(leases[ended]), true, std::nullopt);
  of_h2.close_idle();
  pass(milliseconds(1));
}

// A stream whose end the kernel knows of and the loop does not yet.
class QuietlyDead final : public net::Stream {
 public:
  net::IoResult try_read(std::span<char>) override { return {net::IoStatus::would_block}; }
  [[nodiscard]] bool may_read() const override { return false; }
  net::IoResult try_write(std::span<const iovec>) override { return {net::IoStatus::would_block}; }
  [[nodiscard]] std::size_t unread_by_peer() const override { return 0; }
  void write_first(std::string_view) override {}
  bool idle_and_open() override { return false; }
  void shutdown_write() override {}
};

TEST_F(PoolTest, VerifyAsksTheKernel) {
  class DeadConnector final : public upstream::Connector {
   public:
    Result<std::unique_ptr<net::Stream>> connect(const net::SocketAddress&) override {
      return std::make_unique<QuietlyDead>();
    }
  } dead;
  Pool quiet{loop, dead, buffers, counters, {}};
  quiet.set_addresses({at("192.0.2.1")});
  quiet.release(*quiet.acquire({}), true, std::nullopt);
  Result<Pool::Lease> unverified = quiet.acquire({});
  EXPECT_TRUE(unverified->reused());
  quiet.release(std::move(*unverified), true, std::nullopt);
  Result<Pool::Lease> verified = quiet.acquire({.verify = true});
  EXPECT_FALSE(verified->reused());
  EXPECT_EQ(counters.connections_idle.value(), 0);
  quiet.release(std::move(*verified), false, std::nullopt);
}

TEST_F(PoolTest, WithoutAddressesThereIsNoUpstream) {
  pool.set_addresses({});
  const Result<Pool::Lease> lease = pool.acquire({});
  ASSERT_FALSE(lease);
  EXPECT_EQ(lease.error().kind, ErrorKind::no_upstream);
  EXPECT_EQ(lease.error().sent, Sent::nothing);
  EXPECT_EQ(counters.connects.value(), 0U);
}

TEST_F(PoolTest, SeveralAddressesAreTakenInTurn) {
  pool.set_addresses({at("192.0.2.1"), at("192.0.2.2"), at("192.0.2.3")});
  for (int i = 0; i < 6; ++i) pool.release(acquire(true), false, std::nullopt);
  EXPECT_THAT(connector.tried, ElementsAre("192.0.2.1:80", "192.0.2.2:80", "192.0.2.3:80", "192.0.2.1:80",
                                           "192.0.2.2:80", "192.0.2.3:80"));
}

TEST_F(PoolTest, IdleConnectionsOfAllAddressesAreUsedInTurn) {
  pool.set_addresses({at("192.0.2.1"), at("192.0.2.2")});
  fill(2);
  std::vector<std::string> used;
  for (int i = 0; i < 4; ++i) {
    Pool::Lease lease = acquire();
    EXPECT_TRUE(lease.reused());
    used.push_back(*lease.address());
    pool.release(std::move(lease), true, std::nullopt);
  }
  std::ranges::sort(used);
  EXPECT_THAT(used, ElementsAre("192.0.2.1:80", "192.0.2.1:80", "192.0.2.2:80", "192.0.2.2:80"));
}

TEST_F(PoolTest, AnAddressThatRefusedIsAvoidedForAMoment) {
  pool.set_addresses({at("192.0.2.1"), at("192.0.2.2")});
  connector.reach["192.0.2.1:80"] = Reach::refuses;
  const Result<Pool::Lease> refused = pool.acquire({.fresh = true});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, ErrorKind::refused);
  EXPECT_EQ(counters.connect_failures.value(), 1U);
  connector.tried.clear();
  for (int i = 0; i < 3; ++i) pool.release(acquire(true), false, std::nullopt);
  EXPECT_THAT(connector.tried, ElementsAre("192.0.2.2:80", "192.0.2.2:80", "192.0.2.2:80"));

  connector.reach.clear();
  connector.tried.clear();
  pass(seconds(1));
  for (int i = 0; i < 2; ++i) pool.release(acquire(true), false, std::nullopt);
  EXPECT_THAT(connector.tried, testing::UnorderedElementsAre("192.0.2.1:80", "192.0.2.2:80"));
}

TEST_F(PoolTest, WhenEveryAddressFailedTheyAreStillTried) {
  pool.set_addresses({at("192.0.2.1"), at("192.0.2.2")});
  for (int i = 0; i < 2; ++i) {
    Pool::Lease lease = acquire(true);
    pool.connect_failed(lease);
    pool.release(std::move(lease), false, std::nullopt);
  }
  connector.tried.clear();
  for (int i = 0; i < 2; ++i) pool.release(acquire(true), false, std::nullopt);
  EXPECT_THAT(connector.tried, testing::UnorderedElementsAre("192.0.2.1:80", "192.0.2.2:80"));
}

TEST_F(PoolTest, NewAddressesKeepTheConnectionsOfThoseThatStay) {
  pool.set_addresses({at("192.0.2.1"), at("192.0.2.2")});
  fill(4);
  pool.set_addresses({at("192.0.2.3"), at("192.0.2.2")});
  EXPECT_EQ(pool.endpoints(), 2U);
  EXPECT_EQ(open(), 2U);
  EXPECT_EQ(counters.connections_idle.value(), 2);
  for (const auto& connection : connector.connections) {
    EXPECT_EQ(connection.backend->peer_closed(), connection.to == "192.0.2.1:80");
  }
  Pool::Lease kept = acquire();
  EXPECT_TRUE(kept.reused());
  EXPECT_EQ(*kept.address(), "192.0.2.2:80");
  pool.release(std::move(kept), true, std::nullopt);
}

TEST_F(PoolTest, AnExchangeOutlivesItsAddress) {
  Pool::Lease lease = acquire();
  pool.set_addresses({at("192.0.2.2")});
  EXPECT_EQ(open(), 1U) << "what is under way goes on";
  EXPECT_EQ(*lease.address(), "192.0.2.1:80");
  pool.release(std::move(lease), true, std::nullopt);
  EXPECT_EQ(open(), 0U) << "and is not kept";
  EXPECT_EQ(counters.connections_idle.value(), 0);
}

TEST_F(PoolTest, AnAddressThatComesBackIsNew) {
  Pool::Lease lease = acquire();
  pool.set_addresses({at("192.0.2.2")});
  pool.set_addresses({at("192.0.2.1")});
  pool.release(std::move(lease), true, std::nullopt);
  EXPECT_EQ(counters.connections_idle.value(), 0);
  Pool::Lease next = acquire();
  EXPECT_FALSE(next.reused());
  pool.release(std::move(next), false, std::nullopt);
}

TEST_F(PoolTest, AnIdleConnectionHoldsNoBuffer) {
  Pool::Lease lease = acquire();
  iovec answer{const_cast<char*>("HTTP/1.1 204 No Content\r\n\r\n"), 27};
  static_cast<void>(connector.connections[0].backend->try_write({&answer, 1}));
  http::ResponseHead head;
  const http::HeadLimits limits;
  auto reading = lease.connection().read_head(head, http::Method::get, limits, kNever, nullptr);
  EXPECT_TRUE(loop.run_task(std::move(reading)));
  EXPECT_GT(buffers.in_use(), 0U);
  pool.release(std::move(lease), true, std::nullopt);
  EXPECT_EQ(buffers.in_use(), 0U);
}

TEST_F(PoolTest, CloseIdleLeavesExchangesAlone) {
  fill(3);
  Pool::Lease lease = acquire();
  pool.close_idle();
  EXPECT_EQ(open(), 1U);
  pool.release(std::move(lease), true, std::nullopt);
  EXPECT_EQ(open(), 1U);
}

// A pool whose backend is told of clients.
class AnnouncingPoolTest : public PoolTest {
 protected:
  AnnouncingPoolTest() { announcing.set_addresses({at("192.0.2.1")}); }
  void TearDown() override {
    announcing.close_idle();
    PoolTest::TearDown();
  }
  static net::Peer peer(const char* ip, std::uint16_t port) {
    return net::Peer(net::SocketAddress::from_ip(ip, port)->raw());
  }
  // One exchange, after which the connection is kept; true if it went over one that stood already.
  bool exchange(const net::Peer& client, const net::TlsFacts* tls = nullptr) {
    Result<Pool::Lease> lease = announcing.acquire({.client = {&client, tls}});
    EXPECT_TRUE(lease);
    const bool reused = lease->reused();
    announcing.release(std::move(*lease), true, std::nullopt);
    return reused;
  }
  // What the backend has read on the connection of that number.
  std::string received(std::size_t number) {
    std::array<char, 256> buffer;
    const net::IoResult got = connector.connections.at(number).backend->try_read(buffer);
    return {buffer.data(), got.bytes};
  }

  net::Peer a = peer("192.0.2.7", 1000);
  net::Peer b = peer("192.0.2.8", 1000);
  Pool announcing{loop,
                  connector,
                  buffers,
                  counters,
                  {.max_idle = 3, .idle_timeout = seconds(60), .proxy_header = net::ProxyVersion::v1}};
};

TEST_F(AnnouncingPoolTest, AConnectionServesTheClientThatItAnnounced) {
  EXPECT_FALSE(exchange(a));
  EXPECT_EQ(received(0), "PROXY TCP4 192.0.2.7 0.0.0.0 1000 0\r\n");
  EXPECT_FALSE(exchange(b));
  EXPECT_EQ(received(1), "PROXY TCP4 192.0.2.8 0.0.0.0 1000 0\r\n");
  EXPECT_TRUE(exchange(a));
  EXPECT_TRUE(exchange(b));
  EXPECT_EQ(received(0) + received(1), "") << "announced once";
  EXPECT_FALSE(exchange(peer("192.0.2.7", 1001))) << "another connection of the same host";
  EXPECT_EQ(connector.connections.size(), 3U);
}

TEST_F(AnnouncingPoolTest, ClientsWithoutAddressAnnounceNobodyAndShare) {
  EXPECT_FALSE(exchange(net::Peer()));
  EXPECT_EQ(received(0), "PROXY UNKNOWN\r\n");
  EXPECT_TRUE(exchange(net::Peer()));
  announcing.client_left(net::Peer());
  EXPECT_TRUE(exchange(net::Peer()));
  EXPECT_FALSE(exchange(a));
}

TEST_F(AnnouncingPoolTest, WhatIsSaidOfTlsMustBeTheSameToo) {
  Pool& pool_v1 = announcing;
  Pool pool_v2{loop, connector, buffers, counters, {.max_idle = 3, .proxy_header = net::ProxyVersion::v2}};
  pool_v2.set_addresses({at("192.0.2.1")});
  net::TlsFacts one;
  one.server_name = "one.test";
  net::TlsFacts other;
  other.server_name = "other.test";
  for (Pool* each : {&pool_v1, &pool_v2}) {
    Result<Pool::Lease> first = each->acquire({.client = {&a, &one}});
    each->release(std::move(*first), true, std::nullopt);
    Result<Pool::Lease> second = each->acquire({.client = {&a, &other}});
    EXPECT_EQ(second->reused(), each == &pool_v1) << "version 1 says nothing of TLS";
    each->release(std::move(*second), true, std::nullopt);
  }
}

TEST_F(AnnouncingPoolTest, IdleConnectionsGoWithTheirClient) {
  exchange(a);
  exchange(b);
  announcing.client_left(a);
  EXPECT_EQ(open(), 1U);
  EXPECT_EQ(counters.connections_idle.value(), 1);
  EXPECT_TRUE(exchange(b));
  EXPECT_FALSE(exchange(a));
}

TEST_F(AnnouncingPoolTest, WhenFullTheOldestGoes) {
  for (std::uint16_t port = 1; port <= 4; ++port) {
    exchange(peer("192.0.2.7", port));
    pass(milliseconds(1));
  }
  EXPECT_EQ(counters.connections_idle.value(), 3);
  EXPECT_FALSE(exchange(peer("192.0.2.7", 1)));
  EXPECT_TRUE(exchange(peer("192.0.2.7", 4)));
}

TEST_F(AnnouncingPoolTest, SessionsOfHttp2AreOfOneClientToo) {
  Pool streams{loop,
               connector,
               buffers,
               counters,
               {.protocol = Protocol::h2, .proxy_header = net::ProxyVersion::v1, .max_sessions = 1}};
  streams.set_addresses({at("192.0.2.1")});
  Result<Pool::Lease> first = streams.acquire({.client = {&a, nullptr}});
  Result<Pool::Lease> second = streams.acquire({.client = {&a, nullptr}});
  Result<Pool::Lease> other = streams.acquire({.client = {&b, nullptr}});
  ASSERT_TRUE(first && second && other);
  EXPECT_EQ(connector.connections.size(), 2U) << "the bound on sessions is one for each client";
  pass(milliseconds(1));
  EXPECT_TRUE(received(0).starts_with("PROXY TCP4 192.0.2.7 0.0.0.0 1000 0\r\nPRI * HTTP/2.0"));
  EXPECT_TRUE(received(1).starts_with("PROXY TCP4 192.0.2.8 0.0.0.0 1000 0\r\nPRI * HTTP/2.0"));
  streams.client_left(a);
  EXPECT_EQ(open(), 2U) << "what is under way goes on";
  for (Result<Pool::Lease>* lease : {&first, &second, &other}) streams.release(std::move(**lease), true, std::nullopt);
  EXPECT_EQ(counters.connections_idle.value(), 2);
  streams.client_left(a);
  pass(milliseconds(1));
  EXPECT_EQ(open(), 1U);
  streams.close_idle();
  pass(milliseconds(1));
}

}  // namespace
}  // namespace dao::upstream

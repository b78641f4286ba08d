// Connections whose protocol ALPN tells: requests that wait for a handshake together, over MemoryStreams in virtual
// time. After each test the gauges are at zero.
#include <gtest/gtest.h>

#include <deque>
#include <optional>
#include <string>

#include "dao/upstream/memory_connector.h"
#include "dao/upstream/pool.h"

namespace dao::upstream {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class Connector final : public MemoryConnector {
 public:
  std::deque<Opened> connections;

 private:
  void opened(Opened connection) override { connections.push_back(std::move(connection)); }
};

// A request up to the moment when it has its exchange.
struct Asker {
  Pool::Lease lease;
  rt::Cancel cancel;
  std::optional<Result<>> settled;
};

class PoolNegotiationTest : public testing::Test {
 protected:
  PoolNegotiationTest() {
    connector.tls = true;
    make_pool();
  }
  void make_pool() {
    pool = std::make_unique<Pool>(loop, connector, buffers, counters, settings);
    pool->set_addresses({*net::SocketAddress::from_ip("192.0.2.1", 443)});
  }
  Asker& ask(Pool::Need need = {}) {
    Asker& asker = askers.emplace_back();
    Result<Pool::Lease> lease = pool->acquire(need);
    EXPECT_TRUE(lease);
    if (!lease) return asker;
    asker.lease = std::move(*lease);
    if (asker.lease.unsettled()) {
      loop.spawn(settle(asker));
      turn();
    } else {
      asker.settled = Result<>{};
    }
    return asker;
  }
  rt::Task<> settle(Asker& asker) {
    auto settling = pool->settle(asker.lease, seconds(1), &asker.cancel);
    asker.settled = co_await std::move(settling);
    if (!*asker.settled && asker.settled->error().kind != ErrorKind::cancelled) pool->connect_failed(asker.lease);
  }
  void turn() { loop.run_for(Nanoseconds::zero()); }
  void agree(std::size_t connection, const char* protocol) {
    net::TlsFacts facts;
    facts.alpn = protocol;
    connector.connections.at(connection).near->agree(facts);
    turn();
  }
  [[nodiscard]] static bool is_h2(const Asker& asker) {
    return asker.settled && *asker.settled && dynamic_cast<http::h2::ClientStream*>(&asker.lease.exchange()) != nullptr;
  }
  [[nodiscard]] static bool is_h1(const Asker& asker) {
    return asker.settled && *asker.settled &&
           dynamic_cast<http::h1::ClientConnection*>(&asker.lease.exchange()) != nullptr;
  }
  [[nodiscard]] static http::h2::ClientSession* session_of(const Asker& asker) {
    return &dynamic_cast<http::h2::ClientStream&>(asker.lease.exchange()).session();
  }
  void release(Asker& asker, bool reusable = true) {
    pool->release(std::move(asker.lease), reusable, std::nullopt);
    asker.lease = {};
  }

  void TearDown() override {
    for (Asker& asker : askers) {
      if (!asker.settled) asker.cancel.request();
    }
    turn();
    for (Asker& asker : askers) release(asker, false);
    pool->close_idle();
    turn();
    EXPECT_EQ(counters.connections_idle.value(), 0);
    EXPECT_EQ(counters.connections_active.value(), 0);
    EXPECT_EQ(buffers.in_use(), 0U);
    EXPECT_EQ(loop.live_tasks(), 0U);
    EXPECT_EQ(loop.timers().size(), 0U);
    for (const auto& connection : connector.connections) EXPECT_TRUE(connection.backend->peer_closed());
  }

  rt::VirtualLoop loop;
  Connector connector;
  http::BufferPool buffers;
  sense::UpstreamCounters counters;
  PoolSettings settings{
      .max_idle = 4, .protocol = Protocol::negotiated, .max_sessions = 2, .h2 = {.max_streams = 3, .secure = true}};
  std::unique_ptr<Pool> pool;
  std::deque<Asker> askers;
};

TEST_F(PoolNegotiationTest, RequestsThatWaitForAHandshakeShareItsConnection) {
  for (int i = 0; i < 3; ++i) ask();
  turn();
  ASSERT_EQ(connector.connections.size(), 1U);
  EXPECT_FALSE(connector.connections[0].only_h1);
  for (const Asker& asker : askers) EXPECT_FALSE(asker.settled);
  EXPECT_FALSE(connector.connections[0].backend->may_read()) << "nothing is written before the protocol is known";
  agree(0, "h2");
  for (const Asker& asker : askers) {
    ASSERT_TRUE(is_h2(asker));
    EXPECT_EQ(session_of(asker), session_of(askers[0]));
    EXPECT_FALSE(asker.lease.reused());
  }
  EXPECT_EQ(counters.connections_active.value(), 1);
  release(askers[0]);
  EXPECT_TRUE(is_h2(ask())) << "no handshake: the connection has room again";
  EXPECT_EQ(connector.connections.size(), 1U);
}

TEST_F(PoolNegotiationTest, WithHttp1TheFirstHasTheConnectionAndTheOthersOpenTheirOwn) {
  for (int i = 0; i < 3; ++i) ask();
  turn();
  agree(0, "http/1.1");
  EXPECT_TRUE(is_h1(askers[0]));
  EXPECT_FALSE(askers[1].settled || askers[2].settled);
  ASSERT_EQ(connector.connections.size(), 3U);
  agree(2, "");  // without ALPN
  EXPECT_TRUE(is_h1(askers[2]));
  agree(1, "http/1.1");
  EXPECT_TRUE(is_h1(askers[1]));
  // What is known now: nobody waits for another one's handshake any more, and idle connections are used.
  ask();
  ask();
  turn();
  EXPECT_EQ(connector.connections.size(), 5U);
  agree(3, "http/1.1");
  agree(4, "http/1.1");
  release(askers[0]);
  EXPECT_TRUE(is_h1(ask()));
  EXPECT_TRUE(askers.back().lease.reused());
  EXPECT_EQ(connector.connections.size(), 5U);
}

TEST_F(PoolNegotiationTest, ABackendThatLearnsHttp2IsNoticed) {
  ask();
  turn();
  agree(0, "http/1.1");
  for (int i = 0; i < 4; ++i) ask();
  turn();
  ASSERT_EQ(connector.connections.size(), 5U);
  for (std::size_t i = 1; i < 5; ++i) agree(i, "h2");
  for (std::size_t i = 1; i < 5; ++i) EXPECT_TRUE(is_h2(askers[i])) << i;
  EXPECT_EQ(counters.connections_active.value(), 3) << "one of HTTP/1.1, and no more of HTTP/2 than max_sessions";
}

TEST_F(PoolNegotiationTest, TheSecondOpensWhatTheFirstLeavesOut) {
  for (int i = 0; i < 4; ++i) ask();
  turn();
  ASSERT_EQ(connector.connections.size(), 2U) << "three on the first are enough";
  for (int i = 0; i < 5; ++i) ask();
  turn();
  EXPECT_EQ(connector.connections.size(), 2U) << "two are enough: the rest wait for a stream of them";
  agree(1, "h2");
  agree(0, "h2");
  for (const Asker& asker : askers) EXPECT_TRUE(is_h2(asker));
}

TEST_F(PoolNegotiationTest, AFailedHandshakeFailsAllAndCountsOnce) {
  for (int i = 0; i < 3; ++i) ask();
  turn();
  connector.connections[0].backend->reset();
  turn();
  for (const Asker& asker : askers) {
    ASSERT_TRUE(asker.settled);
    ASSERT_FALSE(*asker.settled);
    EXPECT_EQ(asker.settled->error().kind, ErrorKind::connect_failed);
    EXPECT_EQ(asker.settled->error().origin, Origin::backend);
    EXPECT_EQ(asker.settled->error().sent, Sent::nothing);
  }
  EXPECT_EQ(counters.connect_failures.value(), 1U);
}

TEST_F(PoolNegotiationTest, ARefusedConnectIsTold) {
  connector.reach["192.0.2.1:443"] = Reach::refuses_later;
  EXPECT_EQ(ask().settled->error().kind, ErrorKind::refused);
  EXPECT_EQ(counters.connect_failures.value(), 1U);
}

TEST_F(PoolNegotiationTest, WhoOpenedItMayLeaveAndTheOthersStillGetIt) {
  for (const char* protocol : {"h2", "http/1.1"}) {
    make_pool();
    const std::size_t connection = connector.connections.size();
    Asker& opener = ask();
    Asker& other = ask();
    turn();
    opener.cancel.request();
    turn();
    ASSERT_TRUE(opener.settled);
    EXPECT_EQ(opener.settled->error().kind, ErrorKind::cancelled);
    agree(connection, protocol);
    EXPECT_EQ(is_h2(other), std::string_view(protocol) == "h2");
    EXPECT_EQ(is_h1(other), std::string_view(protocol) != "h2");
    release(other, false);
    pool->close_idle();
    turn();
  }
}

TEST_F(PoolNegotiationTest, WhenNobodyWaitsTheConnectionIsClosed) {
  ask();
  ask();
  turn();
  for (Asker& asker : askers) asker.cancel.request();
  turn();
  EXPECT_TRUE(connector.connections[0].backend->peer_closed());
  EXPECT_EQ(counters.connections_active.value(), 0);
  ask();
  turn();
  EXPECT_EQ(connector.connections.size(), 2U) << "the next request begins anew";
}

TEST_F(PoolNegotiationTest, EachWaitsForItsOwnTime) {
  ask();
  loop.run_for(milliseconds(600));
  ask();
  loop.run_for(milliseconds(600));
  ASSERT_TRUE(askers[0].settled);
  EXPECT_EQ(askers[0].settled->error().kind, ErrorKind::timeout_connect);
  EXPECT_EQ(askers[0].settled->error().sent, Sent::nothing);
  EXPECT_FALSE(askers[1].settled);
  agree(0, "h2");
  EXPECT_TRUE(is_h2(askers[1]));
}

TEST_F(PoolNegotiationTest, WithoutHttp1ABackendMustAgreeToHttp2) {
  settings.h1_allowed = false;
  make_pool();
  for (const char* protocol : {"http/1.1", ""}) {
    const std::size_t connection = connector.connections.size();
    Asker& asker = ask({.h1 = true});
    turn();
    EXPECT_FALSE(connector.connections[connection].only_h1);
    agree(connection, protocol);
    ASSERT_TRUE(asker.settled && !*asker.settled);
    EXPECT_EQ(asker.settled->error().kind, ErrorKind::tls_protocol);
    EXPECT_EQ(asker.settled->error().sent, Sent::nothing);
    EXPECT_FALSE(connector.connections[connection].backend->may_read() &&
                 !connector.connections[connection].backend->peer_closed());
  }
}

TEST_F(PoolNegotiationTest, ARequestThatNeedsHttp1GetsAConnectionThatOffersNothingElse) {
  ask();
  turn();
  agree(0, "h2");
  const Asker& upgrade = ask({.h1 = true});
  EXPECT_TRUE(is_h1(upgrade));
  ASSERT_EQ(connector.connections.size(), 2U);
  EXPECT_TRUE(connector.connections[1].only_h1);
  EXPECT_TRUE(is_h2(ask())) << "the others go on sharing";
  EXPECT_EQ(connector.connections.size(), 2U);
}

TEST_F(PoolNegotiationTest, AnAddressThatGoesLeavesTheHandshakeToThoseWhoWait) {
  ask();
  turn();
  pool->set_addresses({*net::SocketAddress::from_ip("192.0.2.2", 443)});
  agree(0, "h2");
  ASSERT_TRUE(is_h2(askers[0]));
  EXPECT_FALSE(session_of(askers[0])->usable()) << "nobody else may join";
  release(askers[0]);
  turn();
  EXPECT_TRUE(connector.connections[0].backend->peer_closed());
}

}  // namespace
}  // namespace dao::upstream

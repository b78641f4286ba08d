// What an idle connection costs in memory. Under sanitizers every allocation is larger than it is, and without
// optimisation every frame.
#if !defined(DAO_SANITIZED) && defined(NDEBUG)

#include "dao/gate/serve_connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <vector>

namespace dao::gate {
namespace {

class NoRequests final : public http::RequestHandler {
 public:
  rt::Task<> handle(http::Exchange&, const Error*) override {
    ADD_FAILURE() << "nobody asks for anything";
    co_return;
  }
  std::unique_ptr<http::RequestHead> borrow_request_head() override { return std::make_unique<http::RequestHead>(); }
  void return_request_head(std::unique_ptr<http::RequestHead>) override {}
  [[nodiscard]] bool draining() const override { return false; }
  void connection_idle(bool idle) override { waiting += idle ? 1 : -1; }

  int waiting = 0;
};

TEST(ServeConnectionTest, AnIdleConnectionIsSmall) {
  const SystemClock clock;
  rt::EpollLoop loop(clock);
  config::Listener listener;
  listener.name = "a";
  listener.protocols = {.h1 = true, .h2 = true};
  const http::ServerSettings settings;
  http::BufferPool buffers;
  NoRequests handler;
  rt::Cancel drain;
  sense::Shard shard(0, 0);
  net::HandshakeTurns turns;
  const config::TrustedProxies trusted;
  Refusals refusals;
  Door door{.loop = loop,
            .listener = listener,
            .settings = settings,
            .buffers = buffers,
            .handler = handler,
            .drain = drain,
            .shard = shard,
            .tls = nullptr,
            .handshake_turns = turns,
            .trusted_proxies = trusted,
            .process_clients = nullptr,
            .listener_clients = nullptr,
            .refusals = refusals,
            .tells_destinations = false};

  constexpr std::size_t kConnections = 200;
  std::vector<int> clients;
  std::vector<int> servers;
  for (std::size_t i = 0; i < kConnections; ++i) {
    std::array<int, 2> ends{};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
    clients.push_back(ends[0]);
    servers.push_back(ends[1]);
  }
  const auto run_batch = [&loop] {
    loop.request_stop();
    loop.run();
  };
  run_batch();
  const std::size_t before = mallinfo2().uordblks;
  for (const int fd : servers) loop.spawn(serve_connection(door, fd, net::Peer()));
  run_batch();
  ASSERT_EQ(handler.waiting, static_cast<int>(kConnections));
  const std::size_t each = (mallinfo2().uordblks - before) / kConnections;
  constexpr std::size_t kAtMost = 1536;
  EXPECT_LE(each, kAtMost);
  EXPECT_GE(each, sizeof(net::SocketStream)) << "the measure measures nothing";

  for (const int fd : clients) close(fd);
  while (loop.live_tasks() > 0) run_batch();
  EXPECT_EQ(handler.waiting, 0);
}

}  // namespace
}  // namespace dao::gate

#endif

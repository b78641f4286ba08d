// Listening sockets on loopback and in a directory of their own.
#include "dao/net/listener.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace dao::net {
namespace {

class Sockets {
 public:
  explicit Sockets(const ListenSockets& sockets) : fds_(sockets.fds) {}
  Sockets(const Sockets&) = delete;
  Sockets& operator=(const Sockets&) = delete;
  ~Sockets() {
    for (const int fd : fds_) close(fd);
  }

 private:
  std::vector<int> fds_;
};

// A blocking client; -1 when nobody accepts.
int dial(const SocketAddress& to) {
  const int fd = socket(to.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connect(fd, to.raw(), to.length()) == 0) return fd;
  close(fd);
  return -1;
}

class ListenerTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string path = testing::TempDir() + "daoXXXXXX";
    ASSERT_NE(mkdtemp(path.data()), nullptr);
    directory = path;
  }
  void TearDown() override { std::filesystem::remove_all(directory); }
  SocketAddress unix_address() const { return *SocketAddress::from_path(directory.string() + "/s"); }
  std::filesystem::path directory;
};

const SocketAddress kAnyPort = *SocketAddress::from_ip("127.0.0.1", 0);

TEST_F(ListenerTest, TheKernelPicksOnePortForAllWorkers) {
  const auto opened = open_listeners(kAnyPort, 3);
  ASSERT_TRUE(opened) << opened.error();
  const Sockets closing(*opened);
  ASSERT_EQ(opened->fds.size(), 3U);
  EXPECT_NE(opened->address.port(), 0);
  for (const int fd : opened->fds) EXPECT_EQ(SocketAddress::local_of(fd), opened->address);
}

TEST_F(ListenerTest, ATakenPortIsSaidToBeTaken) {
  const auto first = open_listeners(kAnyPort, 1);
  ASSERT_TRUE(first);
  const Sockets closing(*first);
  const auto second = open_listeners(first->address, 1);
  ASSERT_FALSE(second) << "although both would share the port";
  EXPECT_NE(second.error().find(first->address.text()), std::string::npos) << second.error();
  EXPECT_NE(second.error().find("another process is listening there"), std::string::npos) << second.error();
}

TEST_F(ListenerTest, AnAddressOfAnotherMachineIsSaidToBeOne) {
  const auto opened = open_listeners(*SocketAddress::from_ip("192.0.2.1", 0), 1);
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().find("no such address"), std::string::npos) << opened.error();
}

TEST_F(ListenerTest, AUnixSocketIsSharedByTheWorkers) {
  const auto opened = open_listeners(unix_address(), 2);
  ASSERT_TRUE(opened) << opened.error();
  const Sockets closing(*opened);
  EXPECT_EQ(opened->fds.size(), 2U);
  const int client = dial(unix_address());
  EXPECT_GE(client, 0);
  close(client);
}

TEST_F(ListenerTest, ADeadUnixSocketIsReplacedALivingOneIsNot) {
  {
    const auto dead = open_listeners(unix_address(), 1);
    ASSERT_TRUE(dead);
    const Sockets closing(*dead);
    EXPECT_FALSE(open_listeners(unix_address(), 1)) << "somebody listens";
    const int client = dial(unix_address());
    EXPECT_GE(client, 0) << "and still does";
    close(client);
  }
  const auto opened = open_listeners(unix_address(), 1);
  ASSERT_TRUE(opened) << opened.error();
  const Sockets closing(*opened);
}

TEST_F(ListenerTest, AFileThatIsNoSocketIsLeftAlone) {
  const std::filesystem::path path = directory / "s";
  std::ofstream(path) << "data";
  EXPECT_FALSE(open_listeners(unix_address(), 1));
  EXPECT_TRUE(std::filesystem::is_regular_file(path)) << "it may be somebody's data";
}

TEST_F(ListenerTest, TheAcceptorHandsOutConnections) {
  const auto opened = open_listeners(kAnyPort, 1);
  ASSERT_TRUE(opened);
  SystemClock clock;
  rt::EpollLoop loop(clock);
  struct Accepted {
    rt::EpollLoop* loop;
    int count = 0;
    std::string peer;
  };
  Accepted accepted{.loop = &loop, .peer = {}};
  Acceptor acceptor(
      loop, opened->fds[0],
      [](void* context, int fd, const sockaddr* peer) {
        auto* into = static_cast<Accepted*>(context);
        into->peer = Peer(peer).ip_text();
        close(fd);
        if (++into->count == 3) into->loop->stop();
      },
      &accepted);
  int clients[3];
  for (int& client : clients) client = dial(opened->address);
  loop.run();
  EXPECT_EQ(accepted.count, 3);
  EXPECT_EQ(accepted.peer, "127.0.0.1");
  EXPECT_EQ(acceptor.failures(), 0U);
  for (const int client : clients) close(client);
}

TEST_F(ListenerTest, WhatIsQueuedWhenTheAcceptorClosesIsStillAccepted) {
  const auto opened = open_listeners(kAnyPort, 1);
  ASSERT_TRUE(opened);
  SystemClock clock;
  rt::EpollLoop loop(clock);
  int accepted = 0;
  Acceptor acceptor(
      loop, opened->fds[0],
      [](void* context, int fd, const sockaddr*) {
        ++*static_cast<int*>(context);
        close(fd);
      },
      &accepted);
  const int client = dial(opened->address);
  ASSERT_GE(client, 0);
  acceptor.close();
  EXPECT_EQ(accepted, 1);
  EXPECT_EQ(dial(opened->address), -1) << "nobody listens any more";
  close(client);
}

}  // namespace
}  // namespace dao::net

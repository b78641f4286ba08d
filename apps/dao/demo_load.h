// A light HTTP/1.1 load from within the process: a steady rate over a few keep-alive connections, on a thread of its
// own. What became of the requests is read from DAO's metrics, not from here.
#pragma once

#include <memory>
#include <thread>

#include "dao/base/clock.h"
#include "dao/base/random.h"
#include "dao/http/buffer.h"
#include "dao/net/address.h"
#include "dao/rt/cancel.h"
#include "dao/rt/epoll_loop.h"
#include "dao/rt/task.h"

namespace dao {

class DemoLoad {
 public:
  // Starts at once.
  DemoLoad(const net::SocketAddress& to, double requests_per_second);
  ~DemoLoad();  // ends it, and waits until it has
  DemoLoad(const DemoLoad&) = delete;
  DemoLoad& operator=(const DemoLoad&) = delete;

 private:
  // One of the clients; asks again and again, with its share of the rate.
  rt::Task<> client(std::size_t index);
  // Waits for the client's next turn. False: the load is to end.
  rt::Task<bool> wait_for_turn(Instant& turn);

  net::SocketAddress to_;
  std::string host_;
  Nanoseconds interval_;  // of one client, on average
  Random random_{1};
  SystemClock clock_;
  rt::EpollLoop loop_{clock_};
  http::BufferPool buffers_;
  rt::Cancel ending_;
  std::thread thread_;
};

}  // namespace dao

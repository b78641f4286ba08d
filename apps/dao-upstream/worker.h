// One thread of the server: its loop, its listening sockets and the connections accepted from them.
#pragma once

#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_set>
#include <vector>

#include "behaviour.h"
#include "dao/base/random.h"
#include "dao/http/buffer.h"
#include "dao/net/listener.h"
#include "dao/rt/epoll_loop.h"
#include "service_slots.h"
#include "stats.h"

namespace dao::fault {

class Connection;
class Server;

// Everything but the constructor, start(), request_stop() and join() belongs to the worker's thread.
class Worker {
 public:
  struct Settings {
    std::size_t index = 0;
    std::size_t slots = 0;
    std::uint64_t seed = 0;
    Behaviour defaults;
  };

  Worker(Server& server, const Settings& settings);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Before start(), or on the thread. `control`: stays open when the others are closed, and is never reset at accept.
  void listen(int fd, bool control);
  void start();
  // Any thread: ends all connections, then the thread.
  void request_stop();
  void join();

  void close_listeners();
  // Resets all connections but one.
  void drop_connections(const Connection* spared);
  void connection_ended(Connection& connection);

  [[nodiscard]] std::size_t index() const { return settings_.index; }
  [[nodiscard]] Server& server() { return server_; }
  [[nodiscard]] rt::EpollLoop& loop() { return loop_; }
  [[nodiscard]] http::BufferPool& buffers() { return buffers_; }
  [[nodiscard]] ServiceSlots& slots() { return slots_; }
  [[nodiscard]] Stats& stats() { return stats_; }
  [[nodiscard]] Stats stats_now() const;
  [[nodiscard]] Behaviour& defaults() { return settings_.defaults; }
  void restore_defaults() { settings_.defaults = first_defaults_; }

  // True with this probability.
  [[nodiscard]] bool chance(double probability) { return random_.unit() < probability; }
  [[nodiscard]] Nanoseconds exponential(double mean_ms);
  // How long a request of this behaviour is in service.
  [[nodiscard]] Nanoseconds service_time(const Behaviour& behaviour);
  // As if the server had started now.
  void start_cold() { started_ = loop_.now(); }
  // An IMF-fixdate (RFC 9110 section 5.6.7), renewed every second.
  [[nodiscard]] std::string_view date();

 private:
  static void accepted(void* worker, int fd, const sockaddr* peer);
  static void accepted_for_control(void* worker, int fd, const sockaddr* peer);
  void serve(int fd);
  void stop();

  Server& server_;
  Settings settings_;
  const Behaviour first_defaults_;
  SystemClock clock_;
  rt::EpollLoop loop_{clock_};
  http::BufferPool buffers_;
  ServiceSlots slots_;
  Random random_;
  Stats stats_;
  std::vector<std::unique_ptr<net::Acceptor>> acceptors_;
  std::unique_ptr<net::Acceptor> control_acceptor_;
  std::unordered_set<Connection*> connections_;
  Instant started_ = loop_.now();  // for cold_start_ms
  bool stopping_ = false;
  std::time_t date_second_ = 0;
  char date_[32] = {};
  std::size_t date_length_ = 0;
  std::thread thread_;
};

}  // namespace dao::fault

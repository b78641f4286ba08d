// The whole server: its workers, its listening addresses, and what /_control can change while it runs.
#pragma once

#include <atomic>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dao/net/address.h"
#include "dao/net/listener.h"
#include "dao/rt/task.h"
#include "worker.h"

namespace dao::fault {

class Server {
 public:
  struct Settings {
    std::string name;
    std::vector<net::SocketAddress> listen;
    std::optional<net::SocketAddress> control;
    std::size_t threads = 1;
    std::size_t slots = 0;
    std::uint64_t seed = 0;
    Behaviour defaults;
  };

  explicit Server(Settings settings) : settings_(std::move(settings)) {}
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Opens the listening sockets and starts the threads. The error is a sentence for the operator.
  std::expected<void, std::string> start();
  // Ends everything, and waits until it has.
  void stop();

  [[nodiscard]] const std::string& name() const { return settings_.name; }
  [[nodiscard]] const std::vector<net::SocketAddress>& addresses() const { return settings_.listen; }  // as bound
  [[nodiscard]] const std::optional<net::SocketAddress>& control_address() const { return settings_.control; }

  // The two below run on the thread of `home`, the worker that was asked.
  rt::Task<std::string> stats_json(Worker& home, rt::Cancel& cancel);
  // Obeys the query of a control request that came by `asking`. The error is for the client.
  rt::Task<std::expected<void, std::string>> control(Worker& home, std::string_view query, const Connection* asking,
                                                     rt::Cancel& cancel);

 private:
  // Runs `what` on each worker's thread; ends when all have, or with `cancel`.
  rt::Task<> on_every_worker(Worker& home, std::function<void(Worker&)> what, rt::Cancel& cancel);
  // Listening sockets for one address, one a worker.
  [[nodiscard]] std::expected<net::ListenSockets, std::string> open(const net::SocketAddress& address) const;

  Settings settings_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::atomic<bool> refusing_ = false;
};

}  // namespace dao::fault

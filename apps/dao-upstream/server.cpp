#include "server.h"

#include <unistd.h>

#include <cstring>
#include <utility>

#include "dao/net/listener.h"

namespace dao::fault {

Server::~Server() {
  stop();
}

std::expected<net::ListenSockets, std::string> Server::open(const net::SocketAddress& address) const {
  return net::open_listeners(address, static_cast<unsigned>(settings_.threads));
}

std::expected<void, std::string> Server::start() {
  for (std::size_t i = 0; i < settings_.threads; ++i) {
    workers_.push_back(std::make_unique<Worker>(
        *this, Worker::Settings{
                   .index = i, .slots = settings_.slots, .seed = settings_.seed + i, .defaults = settings_.defaults}));
  }
  const auto listen = [this](net::SocketAddress& address, bool control) -> std::expected<void, std::string> {
    const auto opened = open(address);
    if (!opened) return std::unexpected(opened.error());
    address = opened->address;
    for (std::size_t i = 0; i < workers_.size(); ++i) workers_[i]->listen(opened->fds[i], control);
    return {};
  };
  for (net::SocketAddress& address : settings_.listen) {
    if (auto listening = listen(address, false); !listening) return listening;
  }
  if (settings_.control) {
    if (auto listening = listen(*settings_.control, true); !listening) return listening;
  }
  for (auto& worker : workers_) worker->start();
  return {};
}

void Server::stop() {
  for (auto& worker : workers_) worker->request_stop();
  for (auto& worker : workers_) worker->join();
  workers_.clear();
  for (const net::SocketAddress& address : settings_.listen) {
    if (address.is_unix()) unlink(address.text().substr(std::strlen("unix:")).c_str());
  }
}

rt::Task<> Server::on_every_worker(Worker& home, std::function<void(Worker&)> what, rt::Cancel& cancel) {
  struct Shared {
    std::function<void(Worker&)> what;
    std::size_t left;
    rt::Event done{};
    Shared(std::function<void(Worker&)> action, std::size_t workers) : what(std::move(action)), left(workers) {}
  };
  // Shared, because a worker that has ended never answers, and then this task ends by `cancel`.
  const auto shared = std::make_shared<Shared>(std::move(what), workers_.size());
  for (auto& worker : workers_) {
    if (worker.get() == &home) {
      shared->what(home);
      --shared->left;
      continue;
    }
    worker->loop().post([shared, worker = worker.get(), home = &home] {
      shared->what(*worker);
      home->loop().post([shared] {
        if (--shared->left == 0) shared->done.set();
      });
    });
  }
  if (shared->left > 0) (void)co_await shared->done.wait(home.loop(), kNever, &cancel);
}

rt::Task<std::string> Server::stats_json(Worker& home, rt::Cancel& cancel) {
  const auto parts = std::make_shared<std::vector<Stats>>(workers_.size());
  auto gathering =
      on_every_worker(home, [parts](Worker& worker) { (*parts)[worker.index()] = worker.stats_now(); }, cancel);
  co_await std::move(gathering);
  Stats sum;
  for (const Stats& part : *parts) sum.add(part);
  co_return sum.json(settings_.name);
}

rt::Task<std::expected<void, std::string>> Server::control(Worker& home, std::string_view query,
                                                           const Connection* asking, rt::Cancel& cancel) {
  bool refuse = false;
  bool resume = false;
  bool drop = false;
  bool reset_stats = false;
  bool restore = false;
  bool cold = false;
  Behaviour checked;
  std::string behaviour;
  const auto understood =
      for_each_parameter(query, [&](std::string_view key, std::string_view value) -> std::expected<void, std::string> {
        const std::pair<std::string_view, bool*> orders[] = {{"refuse", &refuse},
                                                             {"resume", &resume},
                                                             {"drop", &drop},
                                                             {"reset_stats", &reset_stats},
                                                             {"restore_defaults", &restore},
                                                             {"cold_start", &cold}};
        for (const auto& [name, order] : orders) {
          if (key != name) continue;
          if (value != "1") return std::unexpected("parameter " + std::string{key} + ": expected 1");
          *order = true;
          return {};
        }
        behaviour += std::string{key} + "=" + std::string{value} + "&";
        return set_parameter(checked, key, value);
      });
  if (!understood) co_return std::unexpected(understood.error());

  if (refuse && !refusing_.exchange(true)) {
    auto closing = on_every_worker(home, [](Worker& worker) { worker.close_listeners(); }, cancel);
    co_await std::move(closing);
  }
  auto changing = on_every_worker(
      home,
      [=](Worker& worker) {
        if (restore) worker.restore_defaults();
        if (!behaviour.empty()) (void)apply_query(worker.defaults(), behaviour);  // checked above
        if (cold) worker.start_cold();
        if (drop) worker.drop_connections(asking);
        if (reset_stats) {
          worker.stats().reset();
          worker.slots().reset_queued_max();
        }
      },
      cancel);
  co_await std::move(changing);
  if (resume && refusing_.exchange(false)) {
    for (const net::SocketAddress& address : settings_.listen) {
      const auto opened = open(address);
      if (!opened) co_return std::unexpected(opened.error());
      auto listening = on_every_worker(
          home, [fds = opened->fds](Worker& worker) { worker.listen(fds[worker.index()], false); }, cancel);
      co_await std::move(listening);
    }
  }
  co_return std::expected<void, std::string>{};
}

}  // namespace dao::fault

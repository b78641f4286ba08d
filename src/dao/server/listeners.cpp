#include "dao/server/listeners.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "dao/base/log.h"
#include "dao/server/open_sockets.h"

namespace dao::server {

Listeners::Plan::~Plan() {
  for (const auto& [index, anew] : opened_) {
    for (const int fd : listeners_[index].fds) close(fd);
    const config::Address& address = listeners_[index].settings.address;
    if (anew && address.kind == config::Address::Kind::unix_socket) unlink(address.path.c_str());
  }
}

// The listener that each of the wanted is now; null: none.
std::vector<const Listeners::Listener*> Listeners::same_as(const std::vector<config::Listener>& wanted) const {
  std::vector<const Listener*> same(wanted.size());
  std::vector<bool> taken(listeners_.size());
  for (const bool by_name : {true, false}) {
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const std::string key = InheritedSockets::key_of(wanted[i].address);
      for (std::size_t known = 0; known < listeners_.size() && same[i] == nullptr; ++known) {
        const Listener& listener = listeners_[known];
        if (taken[known] || listener.key != key || (by_name && listener.settings.name != wanted[i].name)) continue;
        same[i] = &listener;
        taken[known] = true;
      }
    }
  }
  return same;
}

std::expected<Listeners::Plan, std::string> Listeners::plan(const config::Server& server,
                                                            InheritedSockets* inherited) const {
  Plan plan;
  const std::vector<const Listener*> same = same_as(server.listeners);
  for (std::size_t place = 0; place < server.listeners.size(); ++place) {
    const config::Listener& wanted = server.listeners[place];
    if (const Listener* known = same[place]; known != nullptr) {
      plan.listeners_.push_back(*known);
      plan.listeners_.back().settings = wanted;
    } else {
      auto sockets = open_sockets(wanted.address, static_cast<unsigned>(workers_), inherited);
      if (!sockets) return std::unexpected(std::move(sockets.error()));
      plan.opened_.push_back({.listener = plan.listeners_.size(), .anew = sockets->anew});
      plan.listeners_.push_back({.key = InheritedSockets::key_of(wanted.address),
                                 .settings = wanted,
                                 .bound = sockets->address,
                                 .fds = std::move(sockets->fds)});
      // Every worker accepts from a socket.
      std::vector<int>& fds = plan.listeners_.back().fds;
      for (std::size_t i = 0; fds.size() < workers_; ++i) {
        const int copy = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
        if (copy < 0) return std::unexpected(fmt::format("cannot share a socket: {}", std::strerror(errno)));
        fds.push_back(copy);
      }
    }
    Listener& listener = plan.listeners_.back();
    if (wanted.tls.certificates.empty()) {
      listener.tls = nullptr;
    } else if (!listener.tls || !listener.tls->is_for(wanted)) {
      auto made = gate::TlsListener::make(wanted, listener.tls.get());
      if (!made) return std::unexpected(std::move(made.error()));
      listener.tls = *std::move(made);
    }
  }
  return plan;
}

std::vector<std::vector<Entry>> Listeners::adopt(Plan plan, const config::Server& server) {
  for (const Listener& known : listeners_) {
    if (std::ranges::find(plan.listeners_, known.id, &Listener::id) != plan.listeners_.end()) continue;
    log::info("no longer listening", {{"listener", known.settings.name}, {"address", known.bound.text()}});
    if (known.settings.address.kind == config::Address::Kind::unix_socket) {
      unlink(known.settings.address.path.c_str());
    }
  }
  clients_ = gate::client_limit(server.max_connections_per_client, server.ipv6_client_prefix, clients_);
  std::vector<std::vector<Entry>> entries(workers_);
  std::vector<std::shared_ptr<gate::TlsListener>> followed;
  for (std::size_t i = 0; i < plan.listeners_.size(); ++i) {
    Listener& listener = plan.listeners_[i];
    const config::Listener& settings = listener.settings;
    const bool opened = listener.id == 0;
    const auto most =
        settings.max_connections == 0 ? ConnectionLimit::kNone : static_cast<std::int64_t>(settings.max_connections);
    if (opened) {
      listener.id = ++ids_;
      listener.limit = std::make_shared<ConnectionLimit>(most);
      log::info("listening", {{"listener", settings.name}, {"address", listener.bound.text()}});
    } else {
      listener.limit->set_most(most);
    }
    listener.clients =
        gate::client_limit(settings.max_connections_per_client, server.ipv6_client_prefix, listener.clients);
    if (listener.tls) followed.push_back(listener.tls);
    for (std::size_t worker = 0; worker < workers_; ++worker) {
      Entry entry{.listener = listener.id,
                  .index = i,
                  .new_fds = {},
                  .limit = listener.limit,
                  .clients = listener.clients,
                  .tls = listener.tls};
      // Every socket has a worker: what waits in it would wait for ever.
      for (std::size_t fd = worker; opened && fd < listener.fds.size(); fd += workers_) {
        entry.new_fds.push_back(listener.fds[fd]);
      }
      entries[worker].push_back(std::move(entry));
    }
  }
  plan.opened_.clear();
  listeners_ = std::exchange(plan.listeners_, {});
  tls_follower_.follow(std::move(followed));
  return entries;
}

std::vector<HandedOver> Listeners::sockets() const {
  std::vector<HandedOver> sockets;
  for (const Listener& listener : listeners_) sockets.push_back({listener.key, listener.fds});
  return sockets;
}

std::vector<std::string> Listeners::unix_paths() const {
  std::vector<std::string> paths;
  for (const Listener& listener : listeners_) {
    if (listener.settings.address.kind == config::Address::Kind::unix_socket) {
      paths.push_back(listener.settings.address.path);
    }
  }
  return paths;
}

}  // namespace dao::server

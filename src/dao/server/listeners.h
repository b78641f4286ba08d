// Where the process listens for clients: the sockets, and what belongs to each of them for as long as it is open,
// whatever the configurations say of it meanwhile. A listener is the same as long as its address is; of several with
// one address in the file, such as port 0, its name tells which. The main thread.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "dao/config/config.h"
#include "dao/gate/client_limit.h"
#include "dao/gate/tls_listener.h"
#include "dao/server/connection_limit.h"
#include "dao/server/inherited_sockets.h"
#include "dao/server/successor.h"
#include "dao/server/worker.h"

namespace dao::server {

class Listeners {
 public:
  struct Listener {
    std::uint64_t id = 0;
    std::string key;  // InheritedSockets::key_of its address
    config::Listener settings;
    net::SocketAddress bound;
    std::vector<int> fds;  // of all workers, who close them
    std::shared_ptr<ConnectionLimit> limit{};
    std::shared_ptr<gate::ClientLimit> clients{};
    std::shared_ptr<gate::TlsListener> tls{};
  };
  // What a configuration makes of the listeners; closes what it opened, and removes the files that it made, unless it
  // comes into force.
  class Plan {
   public:
    Plan() = default;
    Plan(Plan&&) noexcept = default;
    Plan& operator=(Plan&&) = delete;
    ~Plan();

   private:
    friend class Listeners;
    struct Opened {
      std::size_t listener;  // of these
      bool anew;             // as in OpenedSockets
    };
    std::vector<Listener> listeners_;
    std::vector<Opened> opened_;
  };

  explicit Listeners(std::size_t workers) : workers_(workers) {}

  // Opens what is new, and reads certificates. Changes nothing. `inherited`: as for open_sockets(). The error is a
  // sentence for the operator.
  [[nodiscard]] std::expected<Plan, std::string> plan(const config::Server& server, InheritedSockets* inherited) const;
  // The plan comes into force. For each worker, what it must be told; for listeners that are left out, their workers
  // let in who waits, and close.
  std::vector<std::vector<Entry>> adopt(Plan plan, const config::Server& server);

  [[nodiscard]] const std::vector<Listener>& all() const { return listeners_; }
  // For connections of one client over all listeners; null: no limit.
  [[nodiscard]] const std::shared_ptr<gate::ClientLimit>& clients() const { return clients_; }
  // For a successor.
  [[nodiscard]] std::vector<HandedOver> sockets() const;
  // The files of unix sockets, for the end.
  [[nodiscard]] std::vector<std::string> unix_paths() const;

 private:
  [[nodiscard]] std::vector<const Listener*> same_as(const std::vector<config::Listener>& wanted) const;

  const std::size_t workers_;
  std::uint64_t ids_ = 0;
  std::vector<Listener> listeners_;  // in the order of the configuration
  std::shared_ptr<gate::ClientLimit> clients_;
  gate::TlsFollower tls_follower_;
};

}  // namespace dao::server

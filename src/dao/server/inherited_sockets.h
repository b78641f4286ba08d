// Listening sockets that somebody opened for this process: the one it replaces (SIGUSR2), or systemd (socket
// activation, sd_listen_fds(3)). The main thread, at its start, before other threads exist.
#pragma once

#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "dao/config/config.h"
#include "dao/net/listener.h"

namespace dao::server {

class InheritedSockets {
 public:
  // Reads the environment, and takes what concerns us out of it. The error is a sentence for the operator.
  static std::expected<std::unique_ptr<InheritedSockets>, std::string> from_environment();
  InheritedSockets(const InheritedSockets&) = delete;
  InheritedSockets& operator=(const InheritedSockets&) = delete;
  // Closes what nobody took: listeners that the config no longer has.
  ~InheritedSockets();

  // The sockets for `address`, at least one; none when they must be opened anew. The caller closes them.
  std::vector<int> take(const config::Address& address);
  // Tells the process that started this one that it may step back. Once; does nothing if there is none.
  void report_ready();

  // The process that this one replaces still works.
  [[nodiscard]] bool has_predecessor() const { return ready_fd_ >= 0; }

  // How a handed over group is called: equal for addresses that are the same place.
  static std::string key_of(const config::Address& address);
  static constexpr const char* kSocketsVariable = "DAO_UPGRADE_SOCKETS";  // lines "FD,FD,... KEY"
  static constexpr const char* kReadyVariable = "DAO_UPGRADE_READY_FD";   // gets one byte when the successor is ready

 private:
  struct Group {
    std::string key;
    std::vector<int> fds;
  };
  InheritedSockets() = default;
  std::expected<void, std::string> add(int fd, std::string key);
  std::expected<void, std::string> read_upgrade();
  std::expected<void, std::string> read_activation();

  std::vector<Group> groups_;
  int ready_fd_ = -1;
};

}  // namespace dao::server

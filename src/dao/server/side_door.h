// The address of a side service (telemetry, admin), which may change while the process runs. The main thread.
#pragma once

#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "dao/config/config.h"
#include "dao/net/address.h"
#include "dao/server/inherited_sockets.h"
#include "dao/server/side_service.h"

namespace dao::server {

class SideDoor {
 public:
  // A socket for the service that a configuration wants; closed unless it is taken, and then its file is removed, if
  // it has one that was not there before.
  struct Opened {
    Opened() = default;
    Opened(Opened&& other) noexcept
        : fd(std::exchange(other.fd, -1)), address(std::move(other.address)), new_file(std::move(other.new_file)) {}
    Opened& operator=(Opened&&) = delete;
    ~Opened();
    int fd = -1;  // -1: there is to be none
    net::SocketAddress address{};
    std::string new_file{};  // of a unix socket; empty: none
  };
  ~SideDoor() { close(false); }

  // Opens the socket if it is another one than now; else, if the service is to be made anew, another descriptor of it.
  // Nothing if all can stay as it is. The error is a sentence for the operator.
  std::expected<std::optional<Opened>, std::string> open(const std::optional<config::Address>& wanted, bool make_anew,
                                                         InheritedSockets* inherited);
  // The service that was made with it, and owns it now, replaces the one there is; null and -1: none.
  void replace(const std::optional<config::Address>& address, int fd, std::unique_ptr<SideService> service);
  // `handed_over`: another process listens on the same socket.
  void close(bool handed_over);

  // Null: there is none.
  [[nodiscard]] SideService* service() const { return service_.get(); }
  // For a successor: the key and the descriptor; -1 without.
  [[nodiscard]] const std::string& key() const { return key_; }
  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] const std::string& unix_path() const { return unix_path_; }

 private:
  std::string key_;
  int fd_ = -1;
  std::string unix_path_;
  std::unique_ptr<SideService> service_;
};

}  // namespace dao::server

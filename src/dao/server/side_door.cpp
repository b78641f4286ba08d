#include "dao/server/side_door.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "dao/server/open_sockets.h"

namespace dao::server {

SideDoor::Opened::~Opened() {
  if (fd < 0) return;
  ::close(fd);
  if (!new_file.empty()) unlink(new_file.c_str());
}

std::expected<std::optional<SideDoor::Opened>, std::string> SideDoor::open(const std::optional<config::Address>& wanted,
                                                                           bool make_anew,
                                                                           InheritedSockets* inherited) {
  const std::string key = wanted ? InheritedSockets::key_of(*wanted) : std::string();
  if (key == key_ && !make_anew) return std::nullopt;
  Opened opened;
  if (key == key_ && fd_ >= 0) {
    opened.fd = fcntl(fd_, F_DUPFD_CLOEXEC, 0);
    if (opened.fd < 0) return std::unexpected(fmt::format("cannot share a socket: {}", std::strerror(errno)));
    opened.address = net::SocketAddress::local_of(opened.fd);
  } else if (wanted) {
    auto sockets = open_sockets(*wanted, 1, inherited);
    if (!sockets) return std::unexpected(std::move(sockets.error()));
    opened.fd = sockets->fds.front();
    opened.address = sockets->address;
    if (sockets->anew && wanted->kind == config::Address::Kind::unix_socket) opened.new_file = wanted->path;
  }
  return opened;
}

void SideDoor::replace(const std::optional<config::Address>& address, int fd, std::unique_ptr<SideService> service) {
  const std::string key = address ? InheritedSockets::key_of(*address) : std::string();
  const bool same_socket = key == key_;
  if (service_) service_->stop(same_socket);
  const bool leaves_file = !same_socket && !unix_path_.empty();
  if (leaves_file) unlink(unix_path_.c_str());
  key_ = key;
  fd_ = fd;
  unix_path_ = address && address->kind == config::Address::Kind::unix_socket ? address->path : std::string();
  service_ = std::move(service);
  if (service_) service_->start();
}

void SideDoor::close(bool handed_over) {
  if (service_) service_->stop(handed_over);
}

}  // namespace dao::server

// Opening a listening socket that a configuration names: taken over from whoever had it before us, or opened anew.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "dao/config/config.h"
#include "dao/net/listener.h"
#include "dao/server/inherited_sockets.h"

namespace dao::server {

struct OpenedSockets {
  std::vector<int> fds;        // as in net::ListenSockets
  net::SocketAddress address;  // as bound
  bool anew = false;           // not taken over: the file of a unix socket is ours to remove
};

// `inherited`: what was handed to this process at its start; null later. `workers`: how many sockets. The error is a
// sentence for the operator.
std::expected<OpenedSockets, std::string> open_sockets(const config::Address& address, unsigned workers,
                                                       InheritedSockets* inherited);

}  // namespace dao::server

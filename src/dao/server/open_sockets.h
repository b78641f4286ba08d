// Opening a listening socket that a configuration names: taken over from whoever had it before us, or opened anew.
#pragma once

#include <expected>
#include <string>

#include "dao/config/config.h"
#include "dao/net/listener.h"
#include "dao/server/inherited_sockets.h"

namespace dao::server {

// `inherited`: what was handed to this process at its start; null later. `workers`: how many sockets. The error is a
// sentence for the operator.
std::expected<net::ListenSockets, std::string> open_sockets(const config::Address& address, unsigned workers,
                                                            InheritedSockets* inherited);

}  // namespace dao::server

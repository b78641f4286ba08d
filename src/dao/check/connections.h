// `dao check --deep`: asks the network. Does every upstream have an address, and does somebody accept connections
// there?
#pragma once

#include "dao/config/config.h"
#include "dao/config/load.h"

namespace dao::check {

// Warnings: a name that resolves nowhere, and why; an upstream at none of whose addresses anybody accepts a connection,
// or not at all of them. Looks names up as DAO does ([dns] of the configuration), each once, and connects once to each
// address with the connect timeout of [proxy]; nothing is sent. Names and addresses are asked many at a time. Takes
// about as long as the slowest, times one for each kConnectionsAtOnce addresses that do not answer.
inline constexpr std::size_t kConnectionsAtOnce = 256;
[[nodiscard]] config::Diagnostics check_connections(const config::Config& config);

}  // namespace dao::check

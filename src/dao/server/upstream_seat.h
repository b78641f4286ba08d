// What a worker has of one upstream for as long as that has its number: its connections, and what of its configuration
// never changes meanwhile. One thread, the worker's; it may be made by another.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "dao/base/error.h"
#include "dao/config/config.h"
#include "dao/http/buffer.h"
#include "dao/net/resolver.h"
#include "dao/rt/loop.h"
#include "dao/sense/shard.h"
#include "dao/upstream/pool.h"

namespace dao::server {

// How an upstream is called in Host.
[[nodiscard]] std::string host_field_of(const config::Url& url);
// Where it is, if that needs no resolving.
[[nodiscard]] std::optional<net::SocketAddress> address_without_lookup(const config::Url& url);

struct UpstreamSeat {
  // `connector`: opens its streams; a null one of `own` means that `shared`, which outlives the seat, does. What needs
  // no resolving has its address from the start.
  UpstreamSeat(rt::Loop& loop, http::BufferPool& buffers, sense::UpstreamCounters& counters,
               const config::Config& config, const config::Upstream& upstream, upstream::Connector& shared,
               std::unique_ptr<upstream::Connector> own);

  // The settings of a configuration that has the same upstream.
  void configure(const config::Config& config, const config::Upstream& upstream);
  // Where it is now.
  void resolved(const net::Resolution& resolution) {
    resolution_error = resolution.error;
    pool.set_addresses(resolution.addresses);
  }

  const std::string name;
  const std::string base_path;  // as in config::Url
  const std::string host_field;
  std::unique_ptr<upstream::Connector> own_connector;  // null: it has none of its own
  std::optional<Error> resolution_error{};             // why it has no address
  upstream::Pool pool;
};

}  // namespace dao::server

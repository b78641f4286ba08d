#include "dao/server/new_side.h"

#include "dao/flow/client_address.h"
#include "dao/server/hash_key.h"

namespace dao::server {

SideTaken side_for(const NewSide& new_side, http::Exchange& exchange) {
  const config::Config& config = new_side.generation->config;
  const config::HashKey& key = config.liminal.metamorphic.key;
  const liminal::TransitionView& view = new_side.view;
  // A request without the header or the cookie goes by its address.
  const std::uint64_t hash =
      key.kind == config::HashKey::Kind::client ? 0 : hash_of(key, exchange.request(), std::span<const std::uint8_t>());
  liminal::ClientPoint point = 0;
  if (hash != 0) {
    point = liminal::point_of_hash(hash, view.seed);
  } else {
    const flow::ClientAddress client =
        flow::client_address(exchange.peer(), exchange.request(), config.server.trusted_proxies);
    point = liminal::point_of_address(client.span(), config.server.ipv6_client_prefix, view.seed);
  }
  return {
      .transition = new_side.number, .side = liminal::side_of(point, view.threshold), .cell = liminal::cell_of(point)};
}

}  // namespace dao::server

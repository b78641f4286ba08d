#include "dao/gate/serve_connection.h"

#include <memory>
#include <utility>

#include "dao/http/h1/server_connection.h"
#include "dao/net/socket_stream.h"

namespace dao::gate {

rt::Task<> serve_connection(Door& door, int fd, net::Peer peer) {
  auto stream = std::make_unique<net::SocketStream>(door.loop, fd, net::SocketStream::Watch::when_needed);
  http::h1::ServerConnection connection(door.loop, std::move(stream), peer, door.buffers, door.settings, door.handler,
                                        door.drain);
  auto serving = connection.serve();
  co_await std::move(serving);
}

}  // namespace dao::gate

#include "dao/gate/serve_connection.h"

#include <memory>
#include <string>
#include <utility>

#include "dao/base/log.h"
#include "dao/gate/proxy_header.h"
#include "dao/http/h1/server_connection.h"
#include "dao/http/h2/server_session.h"
#include "dao/net/socket_stream.h"

namespace dao::gate {

namespace {

// The connection is closed without a word: nobody knows what its client speaks.
void refused(Door& door, const net::Peer& peer, const Error& error) {
  // Closed before the first byte is a check of the port; drains call off too.
  if (error.origin != Origin::client || error.kind == ErrorKind::closed) return;
  door.shard.record(error);
  static log::RateLimit rate{1};
  log::warning(rate, "connection refused: no PROXY header",
               {{"listener", door.listener.name}, {"peer", peer.ip_text()}, {"error", describe(error)}});
}

// A coroutine of its own, so that connections of HTTP/1 do not pay for its frame.
rt::Task<> serve_http2(Door& door, std::unique_ptr<net::Stream> stream, net::Peer peer, std::string already_read) {
  http::h2::ServerSession session(door.loop, std::move(stream), peer, door.buffers, door.settings, door.handler,
                                  door.drain);
  auto serving = session.serve(std::move(already_read));
  co_await std::move(serving);
}

}  // namespace

rt::Task<> serve_connection(Door& door, int fd, net::Peer peer) {
  auto socket = std::make_unique<net::SocketStream>(door.loop, fd, net::SocketStream::Watch::when_needed);
  if (door.listener.proxy_protocol == config::ProxyHeader::required) {
    auto taking = take_proxy_header(door.loop, *socket, door.loop.now() + door.settings.header_timeout, &door.drain);
    const Result<net::ProxyHeader> header = co_await std::move(taking);
    if (!header) {
      refused(door, peer, header.error());
      co_return;
    }
    peer = header->source.value_or(peer);
  }
  std::unique_ptr<net::Stream> stream = std::move(socket);
  const config::Protocols& protocols = door.listener.protocols;
  std::string already_read;
  if (protocols.h1) {
    http::h1::ServerConnection connection(door.loop, std::move(stream), peer, door.buffers, door.settings, door.handler,
                                          door.drain);
    if (protocols.h2) connection.allow_http2();
    auto serving = connection.serve();
    co_await std::move(serving);
    if (!connection.is_http2()) co_return;
    already_read = connection.unread();
    stream = connection.take_stream();
  }
  auto serving = serve_http2(door, std::move(stream), peer, std::move(already_read));
  co_await std::move(serving);
}

}  // namespace dao::gate

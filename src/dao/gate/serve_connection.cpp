#include "dao/gate/serve_connection.h"

#include <array>
#include <memory>
#include <string>
#include <utility>

#include "dao/base/log.h"
#include "dao/gate/proxy_header.h"
#include "dao/http/h1/message_io.h"
#include "dao/http/h1/server_connection.h"
#include "dao/http/h2/server_session.h"
#include "dao/net/socket_stream.h"
#include "dao/net/tls_stream.h"

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

// Tells the handler when everything about the connection is over.
struct Leaving {
  Leaving(http::RequestHandler& the_handler, const net::Peer& the_peer) : handler(the_handler), peer(the_peer) {}
  Leaving(const Leaving&) = delete;
  Leaving& operator=(const Leaving&) = delete;
  ~Leaving() { handler.client_left(peer); }
  http::RequestHandler& handler;
  const net::Peer& peer;
};

// False: the client has as many connections as it may.
bool let_in(Door& door, const net::Peer& peer, ClientPlace& place) {
  if (door.process_clients == nullptr && door.listener_clients == nullptr) return true;
  if (peer.is_unix() || door.trusted_proxies.contain(peer.bytes())) return true;
  const ClientLimit* reached = place.take(peer, door.process_clients, door.listener_clients);
  if (reached == nullptr) return true;
  door.shard.record(Error{.origin = Origin::us, .kind = ErrorKind::client_connection_limit});
  static log::RateLimit rate{1};
  log::warning(rate, "connection refused: max_connections_per_client reached",
               {{"listener", door.listener.name},
                {"client", peer.ip_text()},
                {"max_connections_per_client", static_cast<std::int64_t>(reached->most())}});
  return false;
}

// A coroutine of its own, so that connections of HTTP/1 do not pay for its frame.
DAO_FRAME_OF_ITS_OWN rt::Task<> serve_http2(Door& door, std::unique_ptr<net::Stream> stream, net::Peer peer,
                                            std::string already_read) {
  http::h2::ServerSession session(door.loop, std::move(stream), peer, door.buffers, door.settings, door.handler,
                                  door.drain);
  auto serving = session.serve(std::move(already_read));
  co_await std::move(serving);
}

// A client that was refused reads why before the connection is gone: bytes of its own that we leave unread would make
// the kernel reset it.
DAO_FRAME_OF_ITS_OWN rt::Task<> read_out(Door& door, net::TlsStream& stream) {
  constexpr std::size_t kAtMost = 65536;
  constexpr Nanoseconds kTime = std::chrono::seconds(1);
  stream.stop_tls();
  stream.shutdown_write();
  std::array<char, 1024> discarded;
  const Instant deadline = door.loop.now() + kTime;
  for (std::size_t total = 0; total < kAtMost;) {
    auto reading = http::h1::read_some(door.loop, stream, discarded, Origin::client, deadline, ErrorKind::timeout_idle,
                                       &door.drain);
    const Result<std::size_t> got = co_await std::move(reading);
    if (!got || *got == 0) break;
    total += *got;
  }
}

// False: the connection is over.
DAO_FRAME_OF_ITS_OWN rt::Task<bool> shake_hands(Door& door, net::TlsStream& stream, const net::Peer& peer) {
  const std::shared_ptr<const TlsServer> server = door.tls->server();
  const Instant deadline = door.loop.now() + door.settings.header_timeout;
  auto accepting = stream.accept(door.loop, server->context(), door.handshake_turns, deadline, &door.drain);
  const Result<> done = co_await std::move(accepting);
  sense::WorkerCounters& counters = door.shard.worker();
  if (done) {
    (stream.tls()->resumed ? counters.tls_resumed : counters.tls_full).add();
    co_return true;
  }
  const Error& error = done.error();
  if (error.kind == ErrorKind::cancelled) co_return false;
  counters.tls_failures[static_cast<std::size_t>(error.kind)].add();
  if (error.kind != ErrorKind::closed && error.kind != ErrorKind::reset) {  // who leaves says nothing of us
    static log::RateLimit rate{1};
    log::info(rate, "TLS handshake failed",
              {{"listener", door.listener.name},
               {"client", peer.ip_text()},
               {"error", name_of(error.kind)},
               {"detail", error.detail}});
  }
  if (error.kind == ErrorKind::tls_protocol || error.kind == ErrorKind::tls_certificate) {
    auto reading = read_out(door, stream);
    co_await std::move(reading);
  }
  co_return false;
}

}  // namespace

rt::Task<> serve_connection(Door& door, int fd, net::Peer peer) {
  std::unique_ptr<net::SocketStream> socket;
  net::TlsStream* secured = nullptr;
  if (door.tls != nullptr) {
    auto made = std::make_unique<net::TlsStream>(door.loop, fd, net::SocketStream::Watch::when_needed);
    secured = made.get();
    socket = std::move(made);
  } else {
    socket = std::make_unique<net::SocketStream>(door.loop, fd, net::SocketStream::Watch::when_needed);
  }
  if (door.tells_destinations) peer.set_destination(net::SocketAddress::local_of(fd).raw());
  if (door.listener.proxy_protocol == config::ProxyHeader::required) {
    auto taking = take_proxy_header(door.loop, *socket, door.loop.now() + door.settings.header_timeout, &door.drain);
    const Result<net::ProxyHeader> header = co_await std::move(taking);
    if (!header) {
      refused(door, peer, header.error());
      co_return;
    }
    peer = header->source.value_or(peer);
  }
  ClientPlace place;
  if (!let_in(door, peer, place)) {
    if (secured != nullptr || !door.refusals.begin()) co_return;
    auto refusing = refuse(door.loop, std::move(socket), door.drain);
    co_await std::move(refusing);
    door.refusals.end();
    co_return;
  }
  const Leaving leaving(door.handler, peer);
  const config::Protocols& protocols = door.listener.protocols;
  bool h1 = protocols.h1;
  bool h2_may_begin = protocols.h2;  // by its preface, where no ALPN says what is spoken
  if (secured != nullptr) {
    auto shaking = shake_hands(door, *secured, peer);
    const bool secure = co_await std::move(shaking);
    if (!secure) co_return;
    h1 = h1 && secured->tls()->alpn != "h2";
    h2_may_begin = false;
  }
  std::unique_ptr<net::Stream> stream = std::move(socket);
  std::string already_read;
  if (h1) {
    http::h1::ServerConnection connection(door.loop, std::move(stream), peer, door.buffers, door.settings, door.handler,
                                          door.drain);
    if (h2_may_begin) connection.allow_http2();
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

// One connection of a client from accept to its end, as one coroutine that reads from top to bottom: what comes before
// HTTP, the choice of the protocol, then the protocol itself. One thread, that of the loop.
#pragma once

#include "dao/config/config.h"
#include "dao/gate/client_limit.h"
#include "dao/gate/refusal.h"
#include "dao/gate/tls_listener.h"
#include "dao/http/buffer.h"
#include "dao/http/request_handler.h"
#include "dao/net/address.h"
#include "dao/net/tls_stream.h"
#include "dao/rt/cancel.h"
#include "dao/rt/epoll_loop.h"
#include "dao/rt/task.h"
#include "dao/sense/shard.h"

namespace dao::gate {

// One listener of one worker: what its connections share. Everything referred to outlives them.
struct Door {
  rt::EpollLoop& loop;
  const config::Listener& listener;
  const http::ServerSettings& settings;
  http::BufferPool& buffers;
  http::RequestHandler& handler;
  rt::Cancel& drain;  // wakes connections that wait for a request, to close them
  sense::Shard& shard;
  const TlsListener* tls;  // null: no TLS here
  net::HandshakeTurns& handshake_turns;
  const config::TrustedProxies& trusted_proxies;  // stand for many clients each, so no limit for one client is theirs
  ClientLimit* process_clients;                   // null: no limit
  ClientLimit* listener_clients;
  Refusals& refusals;
  bool tells_destinations;  // somebody wants to know where clients have connected to
};

// Takes ownership of `fd`, connected and non-blocking. Ends when the connection is closed.
rt::Task<> serve_connection(Door& door, int fd, net::Peer peer);

}  // namespace dao::gate

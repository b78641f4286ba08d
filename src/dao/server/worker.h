// One worker: a thread with its own loop, listening sockets, connections and upstream pools. Workers share nothing but
// the in-flight counters and the connection limits; everything else reaches a worker as a message to its loop.
#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "dao/base/clock.h"
#include "dao/config/config.h"
#include "dao/gate/client_limit.h"
#include "dao/gate/refusal.h"
#include "dao/gate/serve_connection.h"
#include "dao/http/h1/server_connection.h"
#include "dao/net/listener.h"
#include "dao/net/resolver.h"
#include "dao/rt/epoll_loop.h"
#include "dao/sense/admission.h"
#include "dao/sense/in_flight.h"
#include "dao/sense/shard.h"
#include "dao/server/connection_limit.h"
#include "dao/server/explain.h"
#include "dao/server/upstream_tls.h"
#include "dao/server/worker_state.h"
#include "dao/telemetry/access_log.h"

namespace dao::server {

class Worker final : private http::RequestHandler, private upstream::Connector {
 public:
  struct Socket {
    std::size_t listener;  // in Server::listeners
    int fd;
  };
  // Takes ownership of the sockets.
  Worker(std::shared_ptr<const config::Config> config, const std::vector<Socket>& sockets, sense::Shard& shard,
         sense::InFlight& in_flight, sense::Admission& admission, ConnectionLimits& limits,
         const gate::ClientLimits& client_limits, telemetry::AccessLogLane* lane, std::uint64_t seed,
         const gate::TlsListeners& tls, const UpstreamTlsContexts& upstream_tls, std::shared_ptr<flow::Shared> filters);
  ~Worker() override;

  // Before start(): this is worker `number` of all that share `slots`.
  void share_slots(std::shared_ptr<FreedSlots> slots, std::size_t number);
  void start();
  // Any thread: new addresses for an upstream.
  void resolved(std::size_t upstream, net::Resolution resolution);
  // Any thread: what the mind sees now.
  void perceive(const sense::ViewPtr& view);
  // Any thread: what would be chosen; `tell` is called on the worker's thread, unless that has ended.
  void explain(const ExplainQuestion& question, std::function<void(ExplainAnswer)> tell);
  // Any thread: accept no more, close what is idle, let what is under way finish; then the thread ends.
  void drain();
  // Any thread: another process has the same listening sockets. As drain(), but what is queued on them is left to it,
  // and a connection that is idle may send one more request until close_idle(): a client must be able to use a
  // connection that it believes to be open.
  void hand_over();
  void close_idle();
  // Waits for the thread to end.
  void join();

 private:
  rt::Task<> handle(http::Exchange& exchange, const Error* rejected) override;
  std::unique_ptr<http::RequestHead> borrow_request_head() override;
  void return_request_head(std::unique_ptr<http::RequestHead> head) override;
  [[nodiscard]] bool draining() const override { return state_.draining; }
  void connection_idle(bool idle) override;
  void client_left(const net::Peer& client) override;
  void flooded(http::h2::Flood flood, const net::Peer& peer) override;

  upstream::Connector& for_upstream(std::size_t upstream) override;
  Result<std::unique_ptr<net::Stream>> connect(const net::SocketAddress& to) override;

  // A listener and who accepts from it.
  struct Entrance {
    Worker& worker;
    gate::Door door;
    ConnectionLimit& limit;
    std::unique_ptr<net::Acceptor> acceptor;
  };

  void accepted(Entrance& entrance, int fd, const sockaddr* peer);
  rt::Task<> serve(Entrance& entrance, int fd, net::Peer peer);
  // Null if the connection may come in, else the limit that is reached. Paid back in serve().
  ConnectionLimit* enter(Entrance& entrance);
  rt::Task<> refuse(int fd);
  rt::Task<> housekeeping();
  void connection_ended();

  const SystemClock clock_;
  rt::EpollLoop loop_;
  std::shared_ptr<const config::Config> config_;
  http::ServerSettings settings_;
  std::vector<std::unique_ptr<TlsConnector>> tls_connectors_;  // by the upstreams' numbers; null without TLS
  WorkerState state_;
  ConnectionLimits& limits_;
  std::vector<std::unique_ptr<http::RequestHead>> spare_request_heads_;
  net::HandshakeTurns handshake_turns_;
  rt::Cancel drain_;
  gate::Refusals refusals_;
  std::vector<upstream::Pool*> announcing_pools_;
  std::vector<std::unique_ptr<Entrance>> entrances_;
  std::size_t connections_ = 0;
  std::thread thread_;
};

}  // namespace dao::server

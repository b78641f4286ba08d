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
#include "dao/server/worker_state.h"
#include "dao/telemetry/access_log.h"

namespace dao::server {

// A listener of the process as a worker is to serve it from now on.
struct Entry {
  std::uint64_t listener = 0;  // tells listeners apart over configurations
  std::size_t index = 0;       // in Server::listeners
  std::vector<int> new_fds;    // sockets of its own to accept from, beside those it has; the worker's to close
  std::shared_ptr<ConnectionLimit> limit;
  std::shared_ptr<gate::ClientLimit> clients;    // null: no limit
  std::shared_ptr<const gate::TlsListener> tls;  // null: none
};

// A configuration, made ready for one worker by another thread.
struct WorkerOrders {
  Adoption adoption;
  std::vector<Entry> entries;                  // all there are: other listeners are closed
  std::shared_ptr<gate::ClientLimit> clients;  // of the process; null: no limit
  std::shared_ptr<telemetry::AccessLog> log;   // null: off
};

class Worker final : private http::RequestHandler, private upstream::Connector {
 public:
  // What all workers share, and this one's part of it. All of it outlives the worker.
  struct Surroundings {
    std::size_t number;  // of the worker, from 0
    sense::Shard& shard;
    sense::InFlight& in_flight;
    sense::Admission& admission;
    ConnectionLimit& connections;  // of the process
    // Called on the worker's thread when it has no more use for some numbers.
    std::function<void(std::size_t worker, const Released&)> released;
  };
  Worker(Surroundings surroundings, std::uint64_t seed);
  ~Worker() override;

  // Any thread: makes ready what needs the worker, for obey(). Upstreams of the generation that are in `seated` have
  // their seats already.
  [[nodiscard]] Adoption prepare(const std::shared_ptr<const Generation>& generation, const std::vector<bool>& seated);
  // Before start(): at once. Afterwards any thread: as a message; `done` is called on the worker's thread when it is in
  // force, and not at all by a worker that has ended.
  void obey(WorkerOrders orders, std::function<void()> done);

  // Any thread: as messages. worker_state.h; `done` as for obey(). see() of another transition than the one that is
  // under way is too late, and nothing.
  void begin_transition(Adoption adoption, NewSide new_side, std::function<void()> done);
  void see(std::uint64_t transition, const liminal::TransitionView& view);
  void end_transition(std::function<void()> done);

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
  // Any thread: rt/epoll_loop.h.
  void share_descriptors(bool shared, std::function<void()> done) { loop_.share_descriptors(shared, std::move(done)); }
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

  Result<std::unique_ptr<net::Stream>> connect(const net::SocketAddress& to) override;

  // A listener as one configuration has it. The connections that came in by it hold it.
  struct Doorway {
    std::shared_ptr<const Generation> generation;
    std::unique_ptr<http::ServerSettings> settings;
    Entry entry;
    std::shared_ptr<gate::ClientLimit> process_clients;
    gate::Door door;
  };
  // A listening socket.
  struct Entrance {
    Worker& worker;
    std::uint64_t listener;
    std::shared_ptr<Doorway> doorway;
    std::unique_ptr<net::Acceptor> acceptor;
  };

  void obey(WorkerOrders orders);
  void set_doors(std::vector<Entry> entries, const std::shared_ptr<gate::ClientLimit>& clients);
  [[nodiscard]] std::shared_ptr<Doorway> make_doorway(Entry entry, std::shared_ptr<gate::ClientLimit> clients);
  void find_announcing_pools();
  void release_unused();
  void accepted(Entrance& entrance, int fd, const sockaddr* peer);
  rt::Task<> serve(std::shared_ptr<Doorway> doorway, int fd, net::Peer peer);
  // Null if the connection may come in, else the limit that is reached. Paid back in serve().
  ConnectionLimit* enter(const Doorway& doorway);
  rt::Task<> refuse(int fd);
  rt::Task<> housekeeping();
  void connection_ended();

  const SystemClock clock_;
  rt::EpollLoop loop_;
  const Surroundings surroundings_;
  WorkerState state_;
  std::vector<std::unique_ptr<http::RequestHead>> spare_request_heads_;
  net::HandshakeTurns handshake_turns_;
  rt::Cancel drain_;
  gate::Refusals refusals_;
  std::vector<upstream::Pool*> announcing_pools_;
  std::shared_ptr<telemetry::AccessLog> log_;  // of state_.access_log
  std::vector<std::unique_ptr<Entrance>> entrances_;
  std::size_t connections_ = 0;
  std::thread thread_;
};

}  // namespace dao::server

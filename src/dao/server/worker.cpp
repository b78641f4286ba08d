#include "dao/server/worker.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "dao/base/log.h"
#include "dao/net/socket_stream.h"
#include "dao/server/process_request.h"
#include "dao/server/upstream_tls.h"

namespace dao::server {

namespace {

constexpr Nanoseconds kHousekeepingInterval = std::chrono::seconds(1);
constexpr std::size_t kSpareHeads = 512;

http::ServerSettings settings_of(const config::Server& server) {
  http::ServerSettings settings;
  settings.limits = {server.target_max_bytes, server.header_max_bytes, server.header_max_count};
  settings.body_max_bytes = server.body_max_bytes;
  settings.header_timeout = server.header_timeout;
  settings.body_timeout = server.body_timeout;
  settings.body_min_bytes_per_second = server.body_min_bytes_per_second;
  settings.idle_timeout = server.idle_timeout;
  settings.write_timeout = server.write_timeout;
  return settings;
}

}  // namespace

Worker::Worker(Surroundings surroundings, std::uint64_t seed)
    : loop_(clock_),
      surroundings_(std::move(surroundings)),
      state_(loop_, surroundings_.shard, surroundings_.in_flight, surroundings_.admission, nullptr, seed) {
  loop_.count_tasks_in(state_.shard.worker().tasks);
}

Worker::~Worker() {
  join();
}

void Worker::share_slots(std::shared_ptr<FreedSlots> slots, std::size_t number) {
  slots->open(number, [this] { loop_.post([this] { state_.queue.take_freed(); }); });
  state_.queue.join(std::move(slots), number);
}

void Worker::start() {
  thread_ = std::thread([this] {
    loop_.spawn(housekeeping());
    loop_.run();
    state_.queue.leave_others();
  });
}

void Worker::join() {
  if (thread_.joinable()) thread_.join();
}

Adoption Worker::prepare(const std::shared_ptr<const Generation>& generation, const std::vector<bool>& seated) {
  Adoption adoption{.generation = std::make_unique<WorkerGeneration>(generation), .seats = {}};
  const config::Config& config = *generation->config;
  for (std::size_t i = 0; i < config.upstreams.size(); ++i) {
    const config::Upstream& upstream = config.upstreams[i];
    if (upstream.number < seated.size() && seated[upstream.number]) continue;
    const auto& context = generation->upstream_tls.by_index[i];
    upstream::Connector& plain = *this;
    auto secure = context ? std::make_unique<TlsConnector>(loop_, context) : nullptr;
    adoption.seats.push_back(
        {.upstream = upstream.number,
         .seat = std::make_unique<UpstreamSeat>(loop_, state_.buffers, state_.shard.upstream(upstream.number), config,
                                                upstream, plain, std::move(secure))});
  }
  return adoption;
}

void Worker::obey(WorkerOrders orders, std::function<void()> done) {
  if (!thread_.joinable()) {
    obey(std::move(orders));
    done();
    return;
  }
  loop_.post([this, orders = std::make_shared<WorkerOrders>(std::move(orders)), done = std::move(done)] {
    obey(std::move(*orders));
    done();
  });
}

void Worker::obey(WorkerOrders orders) {
  state_.adopt(std::move(orders.adoption));
  const WorkerGeneration& generation = *state_.current;
  loop_.set_busy_poll(std::chrono::microseconds(generation.config.server.busy_poll_us));
  log_ = std::move(orders.log);
  state_.access_log = log_ ? &log_->lane(surroundings_.number) : nullptr;
  for (const config::Upstream& upstream : generation.config.upstreams) {
    if (auto* secure = dynamic_cast<TlsConnector*>(state_.seats[upstream.number]->own_connector.get())) {
      const auto index = static_cast<std::size_t>(&upstream - generation.config.upstreams.data());
      secure->use(generation.generation->upstream_tls.by_index[index]);
    }
  }
  release_unused();
  set_doors(std::move(orders.entries), orders.clients);
}

void Worker::begin_transition(Adoption adoption, NewSide new_side, std::function<void()> done) {
  struct Message {
    Adoption adoption;
    NewSide new_side;
  };
  loop_.post(
      [this, message = std::make_shared<Message>(std::move(adoption), std::move(new_side)), done = std::move(done)] {
        state_.begin_transition(std::move(message->adoption), std::move(message->new_side));
        const bool told_destinations = !announcing_pools_.empty();
        find_announcing_pools();
        if (announcing_pools_.empty() == told_destinations) {
          for (const auto& entrance : entrances_) {
            entrance->doorway = make_doorway(entrance->doorway->entry, entrance->doorway->process_clients);
          }
        }
        done();
      });
}

void Worker::see(std::uint64_t transition, const liminal::TransitionView& view) {
  loop_.post([this, transition, view] {
    if (state_.new_side && state_.new_side->number == transition) state_.see(view);
  });
}

void Worker::end_transition(std::function<void()> done) {
  loop_.post([this, done = std::move(done)] {
    state_.end_transition();
    release_unused();
    done();
  });
}

void Worker::find_announcing_pools() {
  announcing_pools_.clear();
  for (const auto& seat : state_.seats) {
    if (seat && seat->pool.announces_clients()) announcing_pools_.push_back(&seat->pool);
  }
}

void Worker::set_doors(std::vector<Entry> entries, const std::shared_ptr<gate::ClientLimit>& clients) {
  find_announcing_pools();
  std::vector<std::unique_ptr<Entrance>> entrances;
  for (Entry& entry : entries) {
    const std::uint64_t listener = entry.listener;
    const std::vector<int> new_fds = std::exchange(entry.new_fds, {});
    const std::shared_ptr<Doorway> doorway = make_doorway(std::move(entry), clients);
    for (std::unique_ptr<Entrance>& known : entrances_) {
      if (!known || known->listener != listener) continue;
      known->doorway = doorway;
      entrances.push_back(std::move(known));
    }
    for (const int fd : new_fds) {
      if (state_.draining) {
        close(fd);
        continue;
      }
      entrances.push_back(std::make_unique<Entrance>(*this, listener, doorway, nullptr));
      Entrance& entrance = *entrances.back();
      const auto handler = [](void* context, int accepted_fd, const sockaddr* peer) {
        auto& by = *static_cast<Entrance*>(context);
        by.worker.accepted(by, accepted_fd, peer);
      };
      entrance.acceptor = std::make_unique<net::Acceptor>(loop_, fd, handler, &entrance);
    }
  }
  // What is left is no listener any more; who waits in its queue is let in.
  for (const auto& gone : entrances_) {
    if (gone) gone->acceptor->close();
  }
  entrances_ = std::move(entrances);
}

std::shared_ptr<Worker::Doorway> Worker::make_doorway(Entry entry, std::shared_ptr<gate::ClientLimit> clients) {
  const std::shared_ptr<const Generation>& generation = state_.current->generation;
  const config::Server& server = generation->config->server;
  auto settings = std::make_unique<http::ServerSettings>(settings_of(server));
  const gate::Door door{.loop = loop_,
                        .listener = server.listeners[entry.index],
                        .settings = *settings,
                        .buffers = state_.buffers,
                        .handler = *this,
                        .drain = drain_,
                        .shard = state_.shard,
                        .tls = entry.tls.get(),
                        .handshake_turns = handshake_turns_,
                        .trusted_proxies = server.trusted_proxies,
                        .process_clients = clients.get(),
                        .listener_clients = entry.clients.get(),
                        .refusals = refusals_,
                        .tells_destinations = !announcing_pools_.empty()};
  return std::make_shared<Doorway>(generation, std::move(settings), std::move(entry), std::move(clients), door);
}

// The pools of what is gone were among those that announce clients.
void Worker::release_unused() {
  const Released released = state_.release_unused();
  if (released.upstreams.empty() && released.rules.empty()) return;
  std::erase_if(announcing_pools_, [this](const upstream::Pool* pool) {
    return std::ranges::none_of(state_.seats, [pool](const auto& seat) { return seat && &seat->pool == pool; });
  });
  surroundings_.released(surroundings_.number, released);
}

void Worker::resolved(std::size_t upstream, net::Resolution resolution) {
  loop_.post([this, upstream, resolution = std::move(resolution)] {
    UpstreamSeat* seat = upstream < state_.seats.size() ? state_.seats[upstream].get() : nullptr;
    if (seat != nullptr) seat->resolved(resolution);  // else it is gone meanwhile
  });
}

void Worker::perceive(const sense::ViewPtr& view) {
  loop_.post([this, view] {
    // Whoever came back since is learned anew.
    for (std::size_t i = 0; i < std::min(view->upstreams.size(), state_.signals.size()); ++i) {
      const Instant back = view->upstreams[i].admitted_since;
      if (back != Instant{} &&
          (i >= state_.view->upstreams.size() || state_.view->upstreams[i].admitted_since != back)) {
        state_.signals[i].begin_anew();
      }
    }
    state_.view = view;
  });
}

void Worker::explain(const ExplainQuestion& question, std::function<void(ExplainAnswer)> tell) {
  loop_.post([this, question, tell = std::move(tell)] { tell(explain_choice(state_, question)); });
}

void Worker::drain() {
  loop_.post([this] {
    if (state_.draining) return;
    state_.draining = true;
    for (const auto& entrance : entrances_) entrance->acceptor->close();
    drain_.request(ErrorKind::draining);
  });
}

void Worker::hand_over() {
  loop_.post([this] {
    state_.draining = true;
    for (const auto& entrance : entrances_) entrance->acceptor->abandon();
  });
}

void Worker::close_idle() {
  loop_.post([this] { drain_.request(ErrorKind::draining); });
}

void Worker::accepted(Entrance& entrance, int fd, const sockaddr* peer) {
  state_.shard.worker().connections_accepted.add();
  ++connections_;
  const Doorway& doorway = *entrance.doorway;
  const ConnectionLimit* reached = enter(doorway);
  if (reached == nullptr) {
    loop_.spawn(serve(entrance.doorway, fd, net::Peer(peer)));
    return;
  }
  state_.shard.record(Error{.origin = Origin::us, .kind = ErrorKind::connection_limit});
  static log::RateLimit rate{1};
  log::warning(rate, "connection refused: max_connections reached",
               {{"listener", doorway.door.listener.name}, {"max_connections", reached->most()}});
  // A handshake to tell of it would cost more than what is refused.
  if (doorway.door.tls == nullptr && refusals_.begin()) {
    loop_.spawn(refuse(fd));
  } else {
    close(fd);
    state_.shard.worker().connections_closed.add();
    --connections_;
  }
}

ConnectionLimit* Worker::enter(const Doorway& doorway) {
  if (!surroundings_.connections.enter()) return &surroundings_.connections;
  if (doorway.entry.limit->enter()) return nullptr;
  surroundings_.connections.leave();
  return doorway.entry.limit.get();
}

rt::Task<> Worker::serve(std::shared_ptr<Doorway> doorway, int fd, net::Peer peer) {
  state_.shard.worker().connections_active.add();
  auto serving = gate::serve_connection(doorway->door, fd, peer);
  co_await std::move(serving);
  state_.shard.worker().connections_active.subtract();
  doorway->entry.limit->leave();
  surroundings_.connections.leave();
  connection_ended();
}

rt::Task<> Worker::refuse(int fd) {
  auto refusing = gate::refuse(loop_, std::make_unique<net::SocketStream>(loop_, fd), drain_);
  co_await std::move(refusing);
  refusals_.end();
  connection_ended();
}

void Worker::connection_ended() {
  state_.shard.worker().connections_closed.add();
  --connections_;
}

rt::Task<> Worker::housekeeping() {
  constexpr Nanoseconds kDrainCheckInterval = std::chrono::milliseconds(5);
  while (!state_.draining) {
    const rt::Wake wake = co_await rt::sleep_until(loop_, loop_.now() + kHousekeepingInterval, &drain_);
    for (const auto& seat : state_.seats) {
      if (seat) seat->pool.sweep();
    }
    release_unused();
    if (wake == rt::Wake::cancelled) break;
  }
  // The rest of the drain is for the closing handshakes.
  const config::Server& server = state_.current->config.server;
  const Instant close_websockets = loop_.now() + std::min(server.websocket_drain, server.drain_timeout / 2);
  while (connections_ > 0) {
    if (loop_.now() >= close_websockets) state_.drain_websockets.request(ErrorKind::draining);
    const rt::Wake wake = co_await rt::sleep_until(loop_, loop_.now() + kDrainCheckInterval);
    static_cast<void>(wake);
  }
  for (const auto& seat : state_.seats) {
    if (seat) seat->pool.close_idle();
  }
  loop_.stop();
}

rt::Task<> Worker::handle(http::Exchange& exchange, const Error* rejected) {
  return process_request(state_, exchange, rejected);
}

std::unique_ptr<http::RequestHead> Worker::borrow_request_head() {
  if (spare_request_heads_.empty()) return std::make_unique<http::RequestHead>();
  std::unique_ptr<http::RequestHead> head = std::move(spare_request_heads_.back());
  spare_request_heads_.pop_back();
  return head;
}

void Worker::return_request_head(std::unique_ptr<http::RequestHead> head) {
  if (spare_request_heads_.size() >= kSpareHeads) return;
  head->clear();
  spare_request_heads_.push_back(std::move(head));
}

void Worker::connection_idle(bool idle) {
  sense::WorkerCounters& counters = state_.shard.worker();
  counters.connections_idle.add(idle ? 1 : -1);
  counters.connections_active.add(idle ? -1 : 1);
}

void Worker::client_left(const net::Peer& client) {
  for (upstream::Pool* pool : announcing_pools_) pool->client_left(client);
}

void Worker::flooded(http::h2::Flood flood, const net::Peer& peer) {
  state_.shard.worker().floods[static_cast<std::size_t>(flood)].add();
  static log::RateLimit rate{1};
  log::warning(rate, "connection closed: flood", {{"kind", http::h2::name_of(flood)}, {"peer", peer.ip_text()}});
}

Result<std::unique_ptr<net::Stream>> Worker::connect(const net::SocketAddress& to) {
  Result<std::unique_ptr<net::SocketStream>> stream = net::SocketStream::connect(loop_, to);
  if (!stream) return std::unexpected(stream.error());
  return std::unique_ptr<net::Stream>(std::move(*stream));
}

}  // namespace dao::server

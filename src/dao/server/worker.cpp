#include "dao/server/worker.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "dao/base/log.h"
#include "dao/net/socket_stream.h"
#include "dao/server/process_request.h"

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

std::vector<std::unique_ptr<TlsConnector>> make_connectors(rt::EpollLoop& loop, const UpstreamTlsContexts& contexts) {
  std::vector<std::unique_ptr<TlsConnector>> connectors;
  for (const auto& context : contexts) {
    connectors.push_back(context ? std::make_unique<TlsConnector>(loop, context) : nullptr);
  }
  return connectors;
}

}  // namespace

Worker::Worker(std::shared_ptr<const config::Config> config, const std::vector<Socket>& sockets, sense::Shard& shard,
               sense::InFlight& in_flight, sense::Admission& admission, ConnectionLimits& limits,
               const gate::ClientLimits& client_limits, telemetry::AccessLogLane* lane, std::uint64_t seed,
               const gate::TlsListeners& tls, const UpstreamTlsContexts& upstream_tls,
               std::shared_ptr<flow::Shared> filters)
    : loop_(clock_),
      config_(std::move(config)),
      settings_(settings_of(config_->server)),
      tls_connectors_(make_connectors(loop_, upstream_tls)),
      state_(loop_, config_, *this, shard, in_flight, admission, lane, seed, std::move(filters)),
      limits_(limits) {
  for (const auto& pool : state_.pools) {
    if (pool->announces_clients()) announcing_pools_.push_back(pool.get());
  }
  loop_.set_busy_poll(std::chrono::microseconds(config_->server.busy_poll_us));
  const auto handler = [](void* context, int fd, const sockaddr* peer) {
    auto& entrance = *static_cast<Entrance*>(context);
    entrance.worker.accepted(entrance, fd, peer);
  };
  for (const Socket& socket : sockets) {
    const gate::Door door{.loop = loop_,
                          .listener = config_->server.listeners[socket.listener],
                          .settings = settings_,
                          .buffers = state_.buffers,
                          .handler = *this,
                          .drain = drain_,
                          .shard = shard,
                          .tls = tls.of(socket.listener),
                          .handshake_turns = handshake_turns_,
                          .trusted_proxies = config_->server.trusted_proxies,
                          .process_clients = client_limits.process.get(),
                          .listener_clients = client_limits.listeners[socket.listener].get(),
                          .refusals = refusals_,
                          .tells_destinations = !announcing_pools_.empty()};
    entrances_.push_back(std::make_unique<Entrance>(*this, door, limits.listeners[socket.listener], nullptr));
    Entrance& entrance = *entrances_.back();
    entrance.acceptor = std::make_unique<net::Acceptor>(loop_, socket.fd, handler, &entrance);
  }
  for (std::size_t i = 0; i < config_->upstreams.size(); ++i) {
    // What needs no resolving is known from the start.
    const config::Url& url = config_->upstreams[i].url;
    std::optional<net::SocketAddress> address;
    if (url.scheme == config::Scheme::unix_socket) {
      address = net::SocketAddress::from_path(url.socket_path);
    } else if (url.host_is_ip) {
      address = net::SocketAddress::from_ip(url.host, url.port);
    }
    if (address) state_.pools[i]->set_addresses({*address});
  }
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

void Worker::resolved(std::size_t upstream, net::Resolution resolution) {
  loop_.post([this, upstream, resolution = std::move(resolution)] {
    state_.resolution_errors[upstream] = resolution.error;
    state_.pools[upstream]->set_addresses(resolution.addresses);
  });
}

void Worker::perceive(const sense::ViewPtr& view) {
  loop_.post([this, view] {
    // Whoever came back since is learned anew.
    for (std::size_t i = 0; i < view->upstreams.size(); ++i) {
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
  const ConnectionLimit* reached = enter(entrance);
  if (reached == nullptr) {
    loop_.spawn(serve(entrance, fd, net::Peer(peer)));
    state_.shard.worker().tasks.set(static_cast<std::int64_t>(loop_.live_tasks()));
    return;
  }
  state_.shard.record(Error{.origin = Origin::us, .kind = ErrorKind::connection_limit});
  static log::RateLimit rate{1};
  log::warning(rate, "connection refused: max_connections reached",
               {{"listener", entrance.door.listener.name}, {"max_connections", reached->most()}});
  // A handshake to tell of it would cost more than what is refused.
  if (entrance.door.tls == nullptr && refusals_.begin()) {
    loop_.spawn(refuse(fd));
  } else {
    close(fd);
    state_.shard.worker().connections_closed.add();
    --connections_;
  }
}

ConnectionLimit* Worker::enter(Entrance& entrance) {
  if (!limits_.process.enter()) return &limits_.process;
  if (entrance.limit.enter()) return nullptr;
  limits_.process.leave();
  return &entrance.limit;
}

rt::Task<> Worker::serve(Entrance& entrance, int fd, net::Peer peer) {
  state_.shard.worker().connections_active.add();
  auto serving = gate::serve_connection(entrance.door, fd, peer);
  co_await std::move(serving);
  state_.shard.worker().connections_active.subtract();
  entrance.limit.leave();
  limits_.process.leave();
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
  // The task of the connection says so as the last thing it does.
  state_.shard.worker().tasks.set(static_cast<std::int64_t>(loop_.live_tasks()) - 1);
  --connections_;
}

rt::Task<> Worker::housekeeping() {
  constexpr Nanoseconds kDrainCheckInterval = std::chrono::milliseconds(5);
  while (!state_.draining) {
    state_.shard.worker().tasks.set(static_cast<std::int64_t>(loop_.live_tasks()));
    const rt::Wake wake = co_await rt::sleep_until(loop_, loop_.now() + kHousekeepingInterval, &drain_);
    for (const auto& pool : state_.pools) pool->sweep();
    if (wake == rt::Wake::cancelled) break;
  }
  // The rest of the drain is for the closing handshakes.
  const Instant close_websockets =
      loop_.now() + std::min(config_->server.websocket_drain, config_->server.drain_timeout / 2);
  while (connections_ > 0) {
    if (loop_.now() >= close_websockets) state_.drain_websockets.request(ErrorKind::draining);
    const rt::Wake wake = co_await rt::sleep_until(loop_, loop_.now() + kDrainCheckInterval);
    static_cast<void>(wake);
  }
  for (const auto& pool : state_.pools) pool->close_idle();
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

upstream::Connector& Worker::for_upstream(std::size_t upstream) {
  TlsConnector* secure = tls_connectors_[upstream].get();
  if (secure != nullptr) return *secure;
  return *this;
}

Result<std::unique_ptr<net::Stream>> Worker::connect(const net::SocketAddress& to) {
  Result<std::unique_ptr<net::SocketStream>> stream = net::SocketStream::connect(loop_, to);
  if (!stream) return std::unexpected(stream.error());
  return std::unique_ptr<net::Stream>(std::move(*stream));
}

}  // namespace dao::server

#include "dao/upstream/pool.h"

#include <algorithm>
#include <utility>

namespace dao::upstream {

Pool::Pool(rt::Loop& loop, Connector& connector, http::BufferPool& buffers, sense::UpstreamCounters& counters,
           PoolSettings settings)
    : loop_(loop), connector_(connector), buffers_(buffers), counters_(counters), settings_(settings) {}

Pool::ClosedWatch::ClosedWatch(Pool& owner) : pool(owner) {
  heard.watch = this;
  heard.cancelled = [](rt::Cancel::Hook& self, ErrorKind) {
    ClosedWatch& watch = *static_cast<Heard&>(self).watch;
    watch.pool.loop_.timers().schedule(watch.turn, watch.pool.loop_.now());
  };
  turn.watch = this;
  turn.fire = [](rt::Timer& self) {
    ClosedWatch& watch = *static_cast<Turn&>(self).watch;
    watch.begin();
    watch.pool.sweep();
  };
  begin();
}

Pool::ClosedWatch::~ClosedWatch() {
  heard.unlink();
  pool.loop_.timers().cancel(turn);
}

void Pool::ClosedWatch::begin() {
  heard.unlink();
  closed.emplace();
  closed->add(heard);
}

Pool::~Pool() {
  close_idle();
}

void Pool::drop_idle(Endpoint& endpoint) {
  idle_ -= endpoint.idle.size();
  counters_.connections_idle.subtract(static_cast<std::int64_t>(endpoint.idle.size()));
  endpoint.idle.clear();
  forget_sessions(endpoint, true);
}

void Pool::end(Session& session) {
  session.session->watch_end(nullptr);
  session.session->close();
}

void Pool::forget_sessions(Endpoint& endpoint, bool all) {
  const std::size_t forgotten = std::erase_if(endpoint.sessions, [all](Session& each) {
    if (each.session->streams() > 0 || (!all && each.session->usable())) return false;
    end(each);
    return true;
  });
  counters_.connections_idle.subtract(static_cast<std::int64_t>(forgotten));
}

void Pool::set_addresses(const std::vector<net::SocketAddress>& addresses) {
  std::vector<std::shared_ptr<Endpoint>> updated;
  for (const net::SocketAddress& address : addresses) {
    const auto same = std::ranges::find_if(endpoints_, [&](const auto& known) { return known->address == address; });
    if (same != endpoints_.end()) {
      updated.push_back(*same);
    } else {
      auto endpoint = std::make_shared<Endpoint>();
      endpoint->address = address;
      endpoint->text = address.text();
      updated.push_back(std::move(endpoint));
    }
  }
  for (const auto& endpoint : endpoints_) {
    if (std::ranges::find(updated, endpoint) != updated.end()) continue;
    endpoint->gone = true;
    drop_idle(*endpoint);
    for (const Session& each : endpoint->sessions) each.session->retire();
  }
  endpoints_ = std::move(updated);
  next_ = 0;
}

void Pool::connect_failed(Endpoint& endpoint) {
  constexpr Nanoseconds kAvoid = std::chrono::seconds(1);
  counters_.connect_failures.add();
  endpoint.avoid_until = loop_.now() + kAvoid;
}

std::size_t Pool::next_endpoint() const {
  const std::size_t count = endpoints_.size();
  for (std::size_t step = 0; step < count; ++step) {
    const std::size_t candidate = (next_ + step) % count;
    if (endpoints_[candidate]->avoid_until <= loop_.now()) return candidate;
  }
  return next_ % count;
}

void Pool::prepare_header(const Client& client) {
  if (!settings_.proxy_header) return;
  net::write_proxy_header(*settings_.proxy_header, client.peer != nullptr ? *client.peer : net::Peer(), client.tls,
                          header_);
}

std::unique_ptr<http::h1::ClientConnection> Pool::take_idle(Endpoint& endpoint, bool verify,
                                                            std::shared_ptr<const Announced>& announced) {
  // From the end: the one that was used last.
  for (std::size_t i = endpoint.idle.size(); i-- > 0;) {
    if (!fits(endpoint.idle[i].announced)) continue;
    Idle taken = std::move(endpoint.idle[i]);
    endpoint.idle.erase(endpoint.idle.begin() + static_cast<std::ptrdiff_t>(i));
    --idle_;
    counters_.connections_idle.subtract();
    net::Stream& stream = taken.connection->stream();
    stream.watch_peer(nullptr, false);
    const bool expired = taken.expires <= loop_.now();
    if (expired || stream.may_read() || stream.peer_closed() || (verify && !stream.idle_and_open())) continue;
    announced = std::move(taken.announced);
    return std::move(taken.connection);
  }
  return nullptr;
}

Result<Pool::Lease> Pool::acquire(Need need) {
  if (endpoints_.empty()) {
    return std::unexpected(
        Error{.origin = Origin::us, .kind = ErrorKind::no_upstream, .detail = "no address for the upstream"});
  }
  prepare_header(need.client);
  if (settings_.protocol == Protocol::h1) return acquire_connection(need);
  if (settings_.protocol == Protocol::h2) return acquire_stream(need);
  if (need.h1 && settings_.h1_allowed) return acquire_connection(need);
  return acquire_negotiated(need);
}

std::optional<Pool::Lease> Pool::take_idle(bool verify) {
  if (idle_ == 0) return std::nullopt;
  const std::size_t count = endpoints_.size();
  for (std::size_t step = 0; step < count; ++step) {
    Lease lease;
    lease.endpoint_ = endpoints_[(next_ + step) % count];
    lease.connection_ = take_idle(*lease.endpoint_, verify, lease.announced_);
    if (!lease.connection_) continue;
    lease.reused_ = true;
    if (count > 1) next_ = (next_ + step + 1) % count;
    counters_.connections_active.add();
    return lease;
  }
  return std::nullopt;
}

Pool::Lease Pool::lease_of_next_endpoint() {
  Lease lease;
  const std::size_t chosen = next_endpoint();
  lease.endpoint_ = endpoints_[chosen];
  next_ = (chosen + 1) % endpoints_.size();
  return lease;
}

std::shared_ptr<const Pool::Announced> Pool::announce(const Client& client) const {
  if (!settings_.proxy_header) return nullptr;
  return std::make_shared<const Announced>(header_, client.peer != nullptr ? *client.peer : net::Peer());
}

Result<std::unique_ptr<net::Stream>> Pool::begin_connect(Endpoint& endpoint, bool h1,
                                                         const std::shared_ptr<const Announced>& announced) {
  counters_.connects.add();
  Result<std::unique_ptr<net::Stream>> stream =
      h1 ? connector_.connect_h1(endpoint.address) : connector_.connect(endpoint.address);
  if (!stream) {
    connect_failed(endpoint);
  } else if (announced) {
    (*stream)->write_first(announced->header);
  }
  return stream;
}

Result<Pool::Lease> Pool::acquire_connection(Need need) {
  if (!need.fresh) {
    if (std::optional<Lease> idle = take_idle(need.verify)) return *std::move(idle);
  }
  Lease lease = lease_of_next_endpoint();
  lease.announced_ = announce(need.client);
  Result<std::unique_ptr<net::Stream>> stream = begin_connect(*lease.endpoint_, true, lease.announced_);
  if (!stream) return std::unexpected(stream.error());
  lease.connection_ = std::make_unique<http::h1::ClientConnection>(loop_, std::move(*stream), buffers_);
  counters_.connections_active.add();
  return lease;
}

bool Pool::is_better(const http::h2::ClientSession& one, const http::h2::ClientSession& other) {
  if (one.has_room() != other.has_room()) return one.has_room();
  return one.has_room() ? one.streams() > other.streams() : one.streams() < other.streams();
}

Pool::Choice Pool::choose_session(const Endpoint& endpoint, bool verify) const {
  Choice choice;
  std::shared_ptr<http::h2::ClientSession>& best = choice.session;
  for (const Session& each : endpoint.sessions) {
    http::h2::ClientSession& session = *each.session;
    if (!session.usable() || !fits(each.announced)) continue;
    ++choice.usable;
    if (verify && session.streams() == 0 && !session.idle_and_open()) continue;
    if (best == nullptr || is_better(session, *best)) best = each.session;
  }
  return choice;
}

void Pool::add_session(Endpoint& endpoint, std::shared_ptr<http::h2::ClientSession> session,
                       std::shared_ptr<const Announced> announced) {
  session->watch_end(&*closed_watch_.closed);
  endpoint.sessions.push_back({std::move(session), std::move(announced)});
  counters_.connections_idle.add();
}

void Pool::open_stream(Lease& lease, http::h2::ClientSession& session) {
  lease.reused_ = session.connected();
  if (session.streams() == 0) {
    counters_.connections_idle.subtract();
    counters_.connections_active.add();
  }
  lease.stream_ = session.open();
}

Result<Pool::Lease> Pool::acquire_stream(Need need) {
  Lease lease = lease_of_next_endpoint();
  Endpoint& endpoint = *lease.endpoint_;
  forget_sessions(endpoint, false);
  Choice choice = choose_session(endpoint, need.verify);
  const bool open_another =
      choice.session == nullptr || (!choice.session->has_room() && choice.usable < settings_.max_sessions);
  if (open_another) {
    const std::shared_ptr<const Announced> announced = announce(need.client);
    Result<std::unique_ptr<net::Stream>> stream = begin_connect(endpoint, false, announced);
    if (!stream) return std::unexpected(stream.error());
    choice.session = http::h2::ClientSession::start(loop_, std::move(*stream), buffers_, settings_.h2);
    add_session(endpoint, choice.session, announced);
  }
  open_stream(lease, *choice.session);
  return lease;
}

void Pool::release_stream(Lease& lease) {
  const http::h2::ClientSession* session = &lease.stream_->session();
  lease.stream_.reset();
  Endpoint& endpoint = *lease.endpoint_;
  const auto found =
      std::ranges::find_if(endpoint.sessions, [session](const Session& each) { return each.session.get() == session; });
  if (found == endpoint.sessions.end() || session->streams() > 0) return;
  counters_.connections_active.subtract();
  if (session->usable() && !endpoint.gone && settings_.max_idle > 0) {
    counters_.connections_idle.add();
    return;
  }
  end(*found);
  endpoint.sessions.erase(found);
}

void Pool::release(Lease lease, bool reusable, std::optional<Nanoseconds> backend_keeps) {
  if (lease.stream_ != nullptr) {
    release_stream(lease);
    return;
  }
  if (lease.connection_ == nullptr) return;  // it came to nothing before there was an exchange
  counters_.connections_active.subtract();
  if (!reusable || lease.endpoint_->gone || settings_.max_idle == 0) return;
  // One that announces a client is of use to that client only: the one whose client asked last is worth most.
  if (idle_ >= settings_.max_idle && !lease.announced_) return;
  Nanoseconds keep = settings_.idle_timeout;
  if (backend_keeps) {
    // The backend counts from when it sent its answer: leave before it does, so that no request meets its close.
    constexpr Nanoseconds kMargin = std::chrono::seconds(1);
    keep = std::min(keep, *backend_keeps - kMargin);
    if (keep <= Nanoseconds::zero()) return;
  }
  if (idle_ >= settings_.max_idle) drop_oldest_idle();
  lease.connection_->become_idle();
  lease.connection_->stream().watch_peer(&*closed_watch_.closed, true);
  lease.endpoint_->idle.push_back({std::move(lease.connection_), loop_.now() + keep, std::move(lease.announced_)});
  ++idle_;
  counters_.connections_idle.add();
}

void Pool::drop_oldest_idle() {
  Endpoint* oldest = nullptr;
  for (const auto& endpoint : endpoints_) {
    if (endpoint->idle.empty()) continue;
    if (oldest == nullptr || endpoint->idle.front().expires < oldest->idle.front().expires) oldest = endpoint.get();
  }
  if (oldest == nullptr) return;
  oldest->idle.erase(oldest->idle.begin());
  --idle_;
  counters_.connections_idle.subtract();
}

void Pool::client_left(const net::Peer& client) {
  if (client.is_unix()) return;  // all of them look the same
  for (const auto& endpoint : endpoints_) {
    const auto announces = [&client](const std::shared_ptr<const Announced>& announced) {
      return announced && announced->client.is(client);
    };
    const std::size_t idle = std::erase_if(endpoint->idle, [&](const Idle& each) { return announces(each.announced); });
    idle_ -= idle;
    const std::size_t sessions = std::erase_if(endpoint->sessions, [&](Session& each) {
      if (!announces(each.announced) || each.session->streams() > 0) return false;
      end(each);
      return true;
    });
    counters_.connections_idle.subtract(static_cast<std::int64_t>(idle + sessions));
  }
}

void Pool::sweep() {
  for (const auto& endpoint : endpoints_) {
    const std::size_t before = endpoint->idle.size();
    std::erase_if(endpoint->idle, [this](const Idle& idle) {
      const net::Stream& stream = idle.connection->stream();
      return idle.expires <= loop_.now() || stream.may_read() || stream.peer_closed();
    });
    const std::size_t closed = before - endpoint->idle.size();
    idle_ -= closed;
    counters_.connections_idle.subtract(static_cast<std::int64_t>(closed));
    forget_sessions(*endpoint, false);
  }
}

void Pool::close_idle() {
  for (const auto& endpoint : endpoints_) drop_idle(*endpoint);
}

}  // namespace dao::upstream

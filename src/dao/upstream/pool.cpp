#include "dao/upstream/pool.h"

#include <algorithm>
#include <utility>

namespace dao::upstream {

Pool::Pool(rt::Loop& loop, Connector& connector, http::BufferPool& buffers, sense::UpstreamCounters& counters,
           PoolSettings settings)
    : loop_(loop), connector_(connector), buffers_(buffers), counters_(counters), settings_(settings) {}

Pool::~Pool() {
  close_idle();
}

void Pool::drop_idle(Endpoint& endpoint) {
  idle_ -= endpoint.idle.size();
  counters_.connections_idle.subtract(static_cast<std::int64_t>(endpoint.idle.size()));
  endpoint.idle.clear();
  forget_sessions(endpoint, true);
}

void Pool::forget_sessions(Endpoint& endpoint, bool all) {
  const std::size_t forgotten = std::erase_if(endpoint.sessions, [all](const Session& each) {
    if (each.session->streams() > 0 || (!all && each.session->usable())) return false;
    each.session->close();
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

Result<Pool::Lease> Pool::acquire(Need need) {
  if (endpoints_.empty()) {
    return std::unexpected(
        Error{.origin = Origin::us, .kind = ErrorKind::no_upstream, .detail = "no address for the upstream"});
  }
  if (settings_.protocol == Protocol::h1) return acquire_connection(need);
  if (settings_.protocol == Protocol::h2) return acquire_stream(need);
  if (need.h1 && settings_.h1_allowed) return acquire_connection(need);
  return acquire_negotiated(need);
}

std::optional<Pool::Lease> Pool::take_idle(bool verify) {
  if (idle_ == 0) return std::nullopt;
  const std::size_t count = endpoints_.size();
  for (std::size_t step = 0; step < count; ++step) {
    Endpoint& endpoint = *endpoints_[(next_ + step) % count];
    while (!endpoint.idle.empty()) {
      std::unique_ptr<http::h1::ClientConnection> connection = std::move(endpoint.idle.back().connection);
      const bool expired = endpoint.idle.back().expires <= loop_.now();
      endpoint.idle.pop_back();
      --idle_;
      counters_.connections_idle.subtract();
      net::Stream& stream = connection->stream();
      if (expired || stream.may_read() || stream.peer_closed() || (verify && !stream.idle_and_open())) continue;
      Lease lease;
      lease.connection_ = std::move(connection);
      lease.endpoint_ = endpoints_[(next_ + step) % count];
      lease.reused_ = true;
      if (count > 1) next_ = (next_ + step + 1) % count;
      counters_.connections_active.add();
      return lease;
    }
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

Result<std::unique_ptr<net::Stream>> Pool::begin_connect(Endpoint& endpoint, bool h1) {
  counters_.connects.add();
  Result<std::unique_ptr<net::Stream>> stream =
      h1 ? connector_.connect_h1(endpoint.address) : connector_.connect(endpoint.address);
  if (!stream) connect_failed(endpoint);
  return stream;
}

Result<Pool::Lease> Pool::acquire_connection(Need need) {
  if (!need.fresh) {
    if (std::optional<Lease> idle = take_idle(need.verify)) return *std::move(idle);
  }
  Lease lease = lease_of_next_endpoint();
  Result<std::unique_ptr<net::Stream>> stream = begin_connect(*lease.endpoint_, true);
  if (!stream) return std::unexpected(stream.error());
  lease.connection_ = std::make_unique<http::h1::ClientConnection>(loop_, std::move(*stream), buffers_);
  counters_.connections_active.add();
  return lease;
}

Pool::Choice Pool::choose_session(const Endpoint& endpoint, bool verify) {
  Choice choice;
  std::shared_ptr<http::h2::ClientSession>& best = choice.session;
  for (const Session& each : endpoint.sessions) {
    http::h2::ClientSession& session = *each.session;
    if (!session.usable()) continue;
    ++choice.usable;
    if (verify && session.streams() == 0 && !session.idle_and_open()) continue;
    const bool better = best == nullptr || (session.has_room() && !best->has_room()) ||
                        (session.has_room() == best->has_room() && session.streams() < best->streams());
    if (better) best = each.session;
  }
  return choice;
}

void Pool::add_session(Endpoint& endpoint, std::shared_ptr<http::h2::ClientSession> session) {
  endpoint.sessions.push_back({std::move(session)});
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
    Result<std::unique_ptr<net::Stream>> stream = begin_connect(endpoint, false);
    if (!stream) return std::unexpected(stream.error());
    choice.session = http::h2::ClientSession::start(loop_, std::move(*stream), buffers_, settings_.h2);
    add_session(endpoint, choice.session);
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
  found->session->close();
  endpoint.sessions.erase(found);
}

void Pool::release(Lease lease, bool reusable, std::optional<Nanoseconds> backend_keeps) {
  if (lease.stream_ != nullptr) {
    release_stream(lease);
    return;
  }
  if (lease.connection_ == nullptr) return;  // it came to nothing before there was an exchange
  counters_.connections_active.subtract();
  if (!reusable || lease.endpoint_->gone || idle_ >= settings_.max_idle) return;
  Nanoseconds keep = settings_.idle_timeout;
  if (backend_keeps) {
    // The backend counts from when it sent its answer: leave before it does, so that no request meets its close.
    constexpr Nanoseconds kMargin = std::chrono::seconds(1);
    keep = std::min(keep, *backend_keeps - kMargin);
    if (keep <= Nanoseconds::zero()) return;
  }
  lease.connection_->become_idle();
  lease.endpoint_->idle.push_back({std::move(lease.connection_), loop_.now() + keep});
  ++idle_;
  counters_.connections_idle.add();
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

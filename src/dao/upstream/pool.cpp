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

void Pool::connect_failed(const Lease& lease) {
  if (lease.stream_ != nullptr) {
    for (Session& each : lease.endpoint_->sessions) {
      if (each.session.get() == &lease.stream_->session() && std::exchange(each.connect_failed, true)) return;
    }
  }
  connect_failed(*lease.endpoint_);
}

std::size_t Pool::next_endpoint() const {
  const std::size_t count = endpoints_.size();
  for (std::size_t step = 0; step < count; ++step) {
    const std::size_t candidate = (next_ + step) % count;
    if (endpoints_[candidate]->avoid_until <= loop_.now()) return candidate;
  }
  return next_ % count;
}

Result<Pool::Lease> Pool::acquire(bool fresh, bool verify) {
  if (endpoints_.empty()) {
    return std::unexpected(
        Error{.origin = Origin::us, .kind = ErrorKind::no_upstream, .detail = "no address for the upstream"});
  }
  if (settings_.protocol == Protocol::h2) return acquire_stream(verify);
  const std::size_t count = endpoints_.size();
  if (!fresh && idle_ > 0) {
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
  }
  Lease lease;
  const std::size_t chosen = next_endpoint();
  lease.endpoint_ = endpoints_[chosen];
  next_ = (chosen + 1) % count;
  Result<std::unique_ptr<net::Stream>> stream = begin_connect(*lease.endpoint_);
  if (!stream) return std::unexpected(stream.error());
  lease.connection_ = std::make_unique<http::h1::ClientConnection>(loop_, std::move(*stream), buffers_);
  counters_.connections_active.add();
  return lease;
}

Result<std::unique_ptr<net::Stream>> Pool::begin_connect(Endpoint& endpoint) {
  counters_.connects.add();
  Result<std::unique_ptr<net::Stream>> stream = connector_.connect(endpoint.address);
  if (!stream) connect_failed(endpoint);
  return stream;
}

Result<Pool::Lease> Pool::acquire_stream(bool verify) {
  Lease lease;
  const std::size_t chosen = next_endpoint();
  next_ = (chosen + 1) % endpoints_.size();
  lease.endpoint_ = endpoints_[chosen];
  Endpoint& endpoint = *lease.endpoint_;
  forget_sessions(endpoint, false);

  // The one with the fewest streams, of those with room if there are any.
  std::shared_ptr<http::h2::ClientSession> best;
  std::size_t usable = 0;
  for (const Session& each : endpoint.sessions) {
    http::h2::ClientSession& session = *each.session;
    if (!session.usable()) continue;
    ++usable;
    if (verify && session.streams() == 0 && !session.idle_and_open()) continue;
    const bool better = best == nullptr || (session.has_room() && !best->has_room()) ||
                        (session.has_room() == best->has_room() && session.streams() < best->streams());
    if (better) best = each.session;
  }
  const bool open_another = best == nullptr || (!best->has_room() && usable < settings_.max_sessions);
  if (open_another) {
    Result<std::unique_ptr<net::Stream>> stream = begin_connect(endpoint);
    if (!stream) return std::unexpected(stream.error());
    best = http::h2::ClientSession::start(loop_, std::move(*stream), buffers_, settings_.h2);
    endpoint.sessions.push_back({best});
  } else {
    lease.reused_ = best->connected();
    if (best->streams() == 0) counters_.connections_idle.subtract();
  }
  if (best->streams() == 0) counters_.connections_active.add();
  lease.stream_ = best->open();
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

// Connections of a Pool whose protocol the backend picks by ALPN: known when the handshake is over, and until then
// nothing of a request is written.
#include <algorithm>
#include <utility>
#include <vector>

#include "dao/http/h1/message_io.h"
#include "dao/net/tls_facts.h"
#include "dao/rt/event.h"
#include "dao/upstream/pool.h"

namespace dao::upstream {

// One handshake and the requests that wait for it. Its task lives until it is over, or nobody waits any more.
struct Pool::Negotiation {
  // In the frame of settle(). Without an outcome when it ends: the request was called off.
  struct Waiter {
    Waiter(std::shared_ptr<Negotiation> waits_for, Lease& for_lease)
        : negotiation(std::move(waits_for)), lease(for_lease) {
      negotiation->waiters.push_back(this);
    }
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;
    ~Waiter() {
      if (!outcome) negotiation->leave(*this);
    }
    std::shared_ptr<Negotiation> negotiation;
    Lease& lease;
    rt::Event told;
    std::optional<Result<>> outcome;  // success without an exchange: another request has the connection
  };

  void leave(const Waiter& waiter) {
    std::erase(waiters, &waiter);
    if (!waiters.empty()) return;
    over();
    called_off.request();
  }
  // No longer under way.
  void over() {
    std::erase_if(endpoint->negotiations, [this](const auto& each) { return each.get() == this; });
    pool->counters_.connections_active.subtract();
    pool = nullptr;
  }

  Pool* pool;  // null: over
  std::shared_ptr<Endpoint> endpoint;
  std::unique_ptr<net::Stream> stream;
  std::shared_ptr<const Announced> announced;
  std::vector<Waiter*> waiters{};  // in the order they came
  rt::Cancel called_off{};
  bool begun = false;
  bool failure_counted = false;
};

Result<Pool::Lease> Pool::acquire_negotiated(Need need) {
  if (!need.fresh && settings_.h1_allowed && endpoints_[next_endpoint()]->speaks == Protocol::h1) {
    if (std::optional<Lease> idle = take_idle(need.verify)) return *std::move(idle);
  }
  Lease lease = lease_of_next_endpoint();
  Endpoint& endpoint = *lease.endpoint_;
  forget_sessions(endpoint, false);
  const Choice choice = choose_session(endpoint, need.verify);
  if (choice.session != nullptr && choice.session->has_room()) {
    open_stream(lease, *choice.session);
    return lease;
  }
  // Where HTTP/1.1 was picked before, a shared connection would be a short-lived hope.
  if (endpoint.speaks != Protocol::h1) {
    std::shared_ptr<Negotiation> fewest;
    std::size_t usable = choice.usable;
    for (const std::shared_ptr<Negotiation>& each : endpoint.negotiations) {
      if (!fits(each->announced)) continue;
      ++usable;
      if (fewest == nullptr || each->waiters.size() < fewest->waiters.size()) fewest = each;
    }
    const bool room = fewest != nullptr && fewest->waiters.size() < settings_.h2.max_streams;
    const bool all_open = usable >= settings_.max_sessions;
    if (choice.session != nullptr && all_open && !room) {
      open_stream(lease, *choice.session);
      return lease;
    }
    if (room || (fewest != nullptr && all_open)) {
      lease.negotiation_ = std::move(fewest);
      return lease;
    }
  }
  const Result<> begun = begin_negotiation(lease, announce(need.client));
  if (!begun) return std::unexpected(begun.error());
  return lease;
}

Result<> Pool::begin_negotiation(Lease& lease, const std::shared_ptr<const Announced>& announced) {
  Result<std::unique_ptr<net::Stream>> stream = begin_connect(*lease.endpoint_, false, announced);
  if (!stream) return std::unexpected(stream.error());
  lease.negotiation_ = std::make_shared<Negotiation>(this, lease.endpoint_, std::move(*stream), announced);
  lease.endpoint_->negotiations.push_back(lease.negotiation_);
  counters_.connections_active.add();
  return {};
}

rt::Task<Result<>> Pool::settle(Lease& lease, Nanoseconds connecting, rt::Cancel* cancel) {
  while (lease.negotiation_ != nullptr) {
    Negotiation::Waiter waiter(lease.negotiation_, lease);
    if (!std::exchange(waiter.negotiation->begun, true)) loop_.spawn(negotiate(loop_, waiter.negotiation));
    const rt::Wake wake = co_await waiter.told.wait(loop_, loop_.now() + connecting, cancel);
    if (!waiter.outcome) {
      co_return std::unexpected(http::h1::interrupted(wake, Origin::backend, ErrorKind::timeout_connect));
    }
    if (!*waiter.outcome) co_return *waiter.outcome;
    if (lease.stream_ != nullptr || lease.connection_ != nullptr) {
      lease.negotiation_.reset();
      break;
    }
    const Result<> begun = begin_negotiation(lease, waiter.negotiation->announced);
    if (!begun) {
      waiter.negotiation->failure_counted = true;  // by begin_connect()
      co_return begun;
    }
  }
  co_return Result<>{};
}

rt::Task<> Pool::negotiate(rt::Loop& loop, std::shared_ptr<Negotiation> negotiation) {
  Result<> outcome;
  for (;;) {
    const net::IoResult step = negotiation->stream->try_finish_connect();
    if (step.status == net::IoStatus::ok) break;
    if (step.status == net::IoStatus::failed) {
      outcome = std::unexpected(net::connect_error(negotiation->stream->error_of(step, Origin::backend)));
      break;
    }
    const rt::Wake wake = co_await negotiation->stream->wait_writable(loop, kNever, &negotiation->called_off);
    if (wake != rt::Wake::ready) break;
  }
  if (negotiation->pool != nullptr) negotiation->pool->negotiated(*negotiation, outcome);
  negotiation->stream.reset();
}

void Pool::negotiated(Negotiation& negotiation, Result<> outcome) {
  Endpoint& endpoint = *negotiation.endpoint;
  const std::vector<Negotiation::Waiter*> waiters = std::exchange(negotiation.waiters, {});
  negotiation.over();
  const net::TlsFacts* agreed = negotiation.stream->tls();
  const bool h2 = outcome && agreed != nullptr && agreed->alpn == "h2";
  if (outcome) endpoint.speaks = h2 ? Protocol::h2 : Protocol::h1;
  if (h2) {
    if (negotiation.announced) header_ = negotiation.announced->header;  // whom the connection may serve
    Choice choice = choose_session(endpoint, false);
    // Handshakes that expected HTTP/1.1 were not counted against the bound.
    if (choice.session == nullptr || choice.usable < settings_.max_sessions) {
      choice.session = http::h2::ClientSession::start(loop_, std::move(negotiation.stream), buffers_, settings_.h2);
      add_session(endpoint, choice.session, negotiation.announced);
    }
    for (const Negotiation::Waiter* waiter : waiters) open_stream(waiter->lease, *choice.session);
    if (endpoint.gone) choice.session->retire();
  } else if (outcome && settings_.h1_allowed) {
    waiters.front()->lease.connection_ =
        std::make_unique<http::h1::ClientConnection>(loop_, std::move(negotiation.stream), buffers_);
    waiters.front()->lease.announced_ = negotiation.announced;
    counters_.connections_active.add();
  } else if (outcome) {
    outcome = std::unexpected(Error{.origin = Origin::backend,
                                    .kind = ErrorKind::tls_protocol,
                                    .detail = "the backend does not agree to HTTP/2 (ALPN, RFC 7301)"});
  }
  for (Negotiation::Waiter* waiter : waiters) {
    waiter->outcome = outcome;
    waiter->told.set();
  }
}

void Pool::connect_failed(const Lease& lease) {
  // Counted once for all that waited for it.
  if (lease.negotiation_ != nullptr && std::exchange(lease.negotiation_->failure_counted, true)) return;
  if (lease.stream_ != nullptr) {
    for (Session& each : lease.endpoint_->sessions) {
      if (each.session.get() == &lease.stream_->session() && std::exchange(each.connect_failed, true)) return;
    }
  }
  connect_failed(*lease.endpoint_);
}

}  // namespace dao::upstream

#include "dao/server/prober.h"

#include <sys/socket.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "dao/http/h1/client_connection.h"
#include "dao/net/proxy_protocol.h"
#include "dao/net/socket_stream.h"
#include "dao/rt/event.h"
#include "dao/server/upstream_seat.h"

namespace dao::server {

using liminal::ProbeOutcome;

namespace {

constexpr std::size_t kAnswerBodyMax = std::size_t{64} * 1024;
// A name may have many addresses; as the request path, a probe tries some of them.
constexpr std::size_t kMostAddresses = 3;

ProbeOutcome outcome_of(const Error& error) {
  if (error.origin != Origin::backend) return ProbeOutcome::not_done;
  switch (error.kind) {
    case ErrorKind::refused:
    case ErrorKind::unreachable:
    case ErrorKind::connect_failed:
      return ProbeOutcome::refused;
    case ErrorKind::timeout_connect:
      return ProbeOutcome::timed_out;
    case ErrorKind::cancelled:
      return ProbeOutcome::not_done;
    default:
      return ProbeOutcome::bad_answer;
  }
}

std::string host_of(const config::Upstream& upstream) {
  return upstream.probe.host.empty() ? host_field_of(upstream.url) : upstream.probe.host;
}

// Until the connection stands, or fails.
rt::Task<ProbeOutcome> wait_for_connection(rt::Loop& loop, net::SocketStream& stream, Instant deadline,
                                           rt::Cancel* cancel) {
  for (;;) {
    int failed = 0;
    socklen_t size = sizeof failed;
    getsockopt(stream.fd(), SOL_SOCKET, SO_ERROR, &failed, &size);
    if (failed != 0) co_return outcome_of(net::io_error(Origin::backend, failed));
    sockaddr_storage peer{};
    socklen_t peer_size = sizeof peer;
    if (getpeername(stream.fd(), reinterpret_cast<sockaddr*>(&peer), &peer_size) == 0) co_return ProbeOutcome::good;
    const rt::Wake wake = co_await stream.wait_writable(loop, deadline, cancel);
    if (wake == rt::Wake::timed_out) co_return ProbeOutcome::timed_out;
    if (wake == rt::Wake::cancelled) co_return ProbeOutcome::not_done;
  }
}

}  // namespace

void Prober::follow(const std::vector<std::shared_ptr<const Generation>>& generations) {
  newest_ = generations.front();
  std::vector<bool> stays(seats_.size());
  for (const auto& generation : generations) {
    const config::Config& config = *generation->config;
    for (std::size_t i = 0; i < config.upstreams.size(); ++i) {
      const config::Upstream& upstream = config.upstreams[i];
      if (upstream.number >= seats_.size()) {
        seats_.resize(upstream.number + 1);
        stays.resize(seats_.size());
      }
      if (stays[upstream.number]) continue;
      stays[upstream.number] = true;
      const auto& context = generation->upstream_tls.by_index[i];
      std::optional<Seat>& seat = seats_[upstream.number];
      if (!seat) {
        const std::optional<net::SocketAddress> address = address_without_lookup(upstream.url);
        seat.emplace();
        if (address) seat->addresses = std::vector{*address};
      }
      if (seat->context != context) seat->secure = context ? std::make_unique<TlsConnector>(loop_, context) : nullptr;
      seat->context = context;
    }
  }
  for (std::size_t i = 0; i < seats_.size(); ++i) {
    if (!stays[i]) seats_[i].reset();
  }
}

void Prober::addresses(std::size_t upstream, std::vector<net::SocketAddress> addresses) {
  loop_.post([this, upstream, addresses = std::move(addresses)] {
    if (upstream < seats_.size() && seats_[upstream]) seats_[upstream]->addresses = addresses;
  });
}

void Prober::step() {
  const std::size_t most = newest_->config->liminal.presence.probes_max;
  if (running_ >= most || end_.requested()) return;
  for (liminal::DueProbe& due : mind_.take_due_probes(loop_.now(), most - running_)) {
    ++running_;
    loop_.spawn(probe(std::move(due)));
  }
}

rt::Task<> Prober::probe(liminal::DueProbe due) {
  // The resolver has not spoken yet: nothing is known. It has, and there is no address: nobody is there.
  const auto known = seats_[due.upstream]->addresses;
  ProbeOutcome outcome = known ? ProbeOutcome::refused : ProbeOutcome::not_done;
  const std::vector<net::SocketAddress> addresses = known.value_or(std::vector<net::SocketAddress>{});
  for (std::size_t i = 0; i < std::min(addresses.size(), kMostAddresses); ++i) {
    auto probing = probe(due, addresses[i]);
    outcome = co_await std::move(probing);
    if (outcome == ProbeOutcome::good) break;
  }
  --running_;
  mind_.probed(due, outcome, loop_.now());
}

rt::Task<ProbeOutcome> Prober::probe(const liminal::DueProbe& due, const net::SocketAddress& address) {
  const config::Probe& wanted = due.settings->probe;
  const Instant deadline = loop_.now() + wanted.timeout;
  if (due.type == config::ProbeType::tcp) {
    const Result<std::unique_ptr<net::SocketStream>> stream = net::SocketStream::connect(loop_, address);
    if (!stream) co_return outcome_of(stream.error());
    auto waiting = wait_for_connection(loop_, **stream, deadline, &end_);
    const ProbeOutcome outcome = co_await std::move(waiting);
    co_return outcome;
  }
  std::unique_ptr<net::Stream> stream;
  if (!seats_[due.upstream]) co_return ProbeOutcome::not_done;  // it is no more
  if (TlsConnector* secure = seats_[due.upstream]->secure.get(); secure != nullptr) {
    Result<std::unique_ptr<net::Stream>> connecting = secure->connect_h1(address);
    if (!connecting) co_return outcome_of(connecting.error());
    stream = std::move(*connecting);
  } else {
    Result<std::unique_ptr<net::SocketStream>> connecting = net::SocketStream::connect(loop_, address);
    if (!connecting) co_return outcome_of(connecting.error());
    stream = std::move(*connecting);
  }
  auto asking = ask(*due.settings, std::move(stream), deadline);
  const ProbeOutcome outcome = co_await std::move(asking);
  co_return outcome;
}

rt::Task<ProbeOutcome> Prober::ask(const config::Upstream& whom, std::unique_ptr<net::Stream> stream,
                                   Instant deadline) {
  if (whom.proxy_protocol != config::ProxyAnnouncement::off) {
    const auto version =
        whom.proxy_protocol == config::ProxyAnnouncement::v1 ? net::ProxyVersion::v1 : net::ProxyVersion::v2;
    std::string header;
    net::write_proxy_header(version, net::Peer{}, nullptr, header);
    stream->write_first(header);
  }
  http::h1::ClientConnection connection(loop_, std::move(stream), buffers_);
  const std::string host = host_of(whom);
  http::RequestHead request;
  request.method = http::Method::get;
  request.method_text = "GET";
  request.path = request.target = whom.probe.path;
  request.add("Host", host, http::FieldId::host);
  request.add("User-Agent", "dao-probe");
  request.add("Connection", "close");
  const Nanoseconds time = whom.probe.timeout;
  auto sending = connection.send_request(request, {}, {{}, true}, {}, time, time, &end_);
  const Result<> sent = co_await std::move(sending);
  if (!sent) co_return outcome_of(sent.error());
  const http::HeadLimits limits{.head_max_bytes = newest_->config->proxy.response_header_max_bytes, .fields_max = 1000};
  http::ResponseHead response;
  do {
    auto reading = connection.read_head(response, request.method, limits, deadline, &end_);
    const Result<> read = co_await std::move(reading);
    if (!read) co_return outcome_of(read.error());
    if (loop_.now() >= deadline) co_return ProbeOutcome::bad_answer;
  } while (response.status < 200);
  const config::StatusRange& range = whom.probe.expect_status;
  if (response.status < range.first || response.status > range.last) co_return ProbeOutcome::bad_answer;
  if (whom.probe.expect_body.empty()) co_return ProbeOutcome::good;
  connection.start_body(response, limits);
  std::string body;
  for (;;) {
    auto reading = connection.read_body(deadline, &end_);
    const Result<http::BodyPiece> piece = co_await std::move(reading);
    if (!piece) co_return outcome_of(piece.error());
    body.append(piece->bytes.data(), std::min(piece->bytes.size(), kAnswerBodyMax - body.size()));
    if (body.find(whom.probe.expect_body) != std::string::npos) co_return ProbeOutcome::good;
    if (piece->last || body.size() >= kAnswerBodyMax) co_return ProbeOutcome::bad_answer;
  }
}

}  // namespace dao::server

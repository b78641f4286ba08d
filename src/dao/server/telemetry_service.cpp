#include "dao/server/telemetry_service.h"

#include <unistd.h>

#include <string_view>
#include <utility>

#include "dao/net/socket_stream.h"
#include "dao/server/error_answer.h"
#include "dao/server/local_answer.h"
#include "dao/telemetry/metrics.h"

namespace dao::server {

namespace {
// Scrapers are few; whoever opens more than this is not one.
constexpr std::size_t kMaxConnections = 64;
constexpr std::string_view kText = "text/plain; charset=utf-8";
}  // namespace

TelemetryService::TelemetryService(int listen_fd, std::function<std::string()> metrics, std::function<bool()> ready)
    : loop_(clock_),
      metrics_(std::move(metrics)),
      ready_(std::move(ready)),
      acceptor_(
          loop_, listen_fd,
          [](void* context, int fd, const sockaddr* peer) {
            auto& self = *static_cast<TelemetryService*>(context);
            if (self.connections_ >= kMaxConnections) {
              close(fd);
              return;
            }
            ++self.connections_;
            self.loop_.spawn(self.serve(fd, net::Peer(peer)));
          },
          this) {
  constexpr std::size_t kBodyMax = 1024;
  settings_.body_max_bytes = kBodyMax;
}

TelemetryService::~TelemetryService() {
  stop(false);
}

void TelemetryService::start() {
  thread_ = std::thread([this] { loop_.run(); });
}

void TelemetryService::stop(bool handed_over) {
  if (!thread_.joinable()) return;
  loop_.post([this, handed_over] {
    if (handed_over) {
      acceptor_.abandon();
    } else {
      acceptor_.close();
    }
    drain_.request(ErrorKind::draining);
    if (connections_ == 0) loop_.stop();
  });
  thread_.join();
}

rt::Task<> TelemetryService::serve(int fd, net::Peer peer) {
  {
    http::h1::ServerConnection connection(loop_, std::make_unique<net::SocketStream>(loop_, fd), peer, buffers_,
                                          settings_, *this, drain_);
    auto serving = connection.serve();
    co_await std::move(serving);
  }
  --connections_;
  if (drain_.requested() && connections_ == 0) loop_.stop();
}

rt::Task<> TelemetryService::handle(http::Exchange& exchange, const Error* rejected) {
  constexpr std::uint16_t kOk = 200;
  http::ResponseHead response;
  std::string body;
  std::string_view content_type = kText;
  std::uint16_t status = kOk;
  const http::RequestHead& request = exchange.request();
  const std::string_view path = request.path.substr(0, request.path.find('?'));
  if (rejected != nullptr) {
    const ErrorAnswer what = answer_for(*rejected);
    constexpr std::uint16_t kClientGone = 499;
    exchange.close_after();
    if (what.status == kClientGone) {
      exchange.abort();
      co_return;
    }
    status = what.status;
    body = error_body(what, false);
  } else if (request.method != http::Method::get && request.method != http::Method::head) {
    constexpr std::uint16_t kMethodNotAllowed = 405;
    status = kMethodNotAllowed;
    response.add("Allow", "GET, HEAD");
    body = "405 Method Not Allowed: only GET and HEAD here\n";
  } else if (path == "/metrics") {
    body = metrics_();
    content_type = telemetry::kMetricsContentType;
  } else if (path == "/livez" || path == "/healthz") {
    body = "ok\n";
  } else if (path == "/ready" || path == "/readyz") {
    constexpr std::uint16_t kUnavailable = 503;
    const bool ready = ready_();
    status = ready ? kOk : kUnavailable;
    body = ready ? "ready\n" : "not ready\n";
  } else {
    constexpr std::uint16_t kNotFound = 404;
    status = kNotFound;
    body = "404 Not Found: here are /metrics, /ready and /livez\n";
  }
  DateText date;
  auto answering = answer(exchange, response, status, content_type, body, date.at(clock_.wall_now()));
  const Result<> sent = co_await std::move(answering);
  static_cast<void>(sent);
}

}  // namespace dao::server

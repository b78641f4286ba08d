#include "dao/server/telemetry_service.h"

#include <string_view>
#include <utility>

#include "dao/http/status.h"
#include "dao/server/error_answer.h"
#include "dao/telemetry/metrics.h"

namespace dao::server {

namespace {
constexpr std::size_t kRequestBodyMax = 1024;
constexpr std::string_view kText = "text/plain; charset=utf-8";
}  // namespace

TelemetryService::TelemetryService(int listen_fd, std::function<std::string()> metrics, std::function<bool()> ready)
    : SideService(listen_fd, kRequestBodyMax), metrics_(std::move(metrics)), ready_(std::move(ready)) {}

rt::Task<> TelemetryService::handle(http::Exchange& exchange, const Error* rejected) {
  http::ResponseHead response;
  std::string body;
  std::string_view content_type = kText;
  std::uint16_t status = http::status::kOk;
  const http::RequestHead& request = exchange.request();
  const std::string_view path = request.path.substr(0, request.path.find('?'));
  if (rejected != nullptr) {
    const ErrorAnswer what = answer_for(*rejected);
    exchange.close_after();
    if (what.status == http::status::kClientGone) {
      exchange.abort();
      co_return;
    }
    status = what.status;
    body = error_body(what, false);
  } else if (request.method != http::Method::get && request.method != http::Method::head) {
    status = http::status::kMethodNotAllowed;
    response.add("Allow", "GET, HEAD");
    body = "405 Method Not Allowed: only GET and HEAD here\n";
  } else if (path == "/metrics") {
    body = metrics_();
    content_type = telemetry::kMetricsContentType;
  } else if (path == "/livez" || path == "/healthz") {
    body = "ok\n";
  } else if (path == "/ready" || path == "/readyz") {
    const bool ready = ready_();
    status = ready ? http::status::kOk : http::status::kUnavailable;
    body = ready ? "ready\n" : "not ready\n";
  } else {
    status = http::status::kNotFound;
    body = "404 Not Found: here are /metrics, /ready and /livez\n";
  }
  auto replying = reply(exchange, response, status, content_type, body);
  co_await std::move(replying);
}

}  // namespace dao::server

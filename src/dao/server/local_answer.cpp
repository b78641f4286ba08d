#include "dao/server/local_answer.h"

#include <fmt/core.h>

#include <string>

#include "dao/http/status.h"
#include "dao/server/error_answer.h"
#include "dao/server/explain.h"
#include "dao/server/grpc.h"

namespace dao::server {

namespace {
constexpr std::string_view kAllowedMethods = "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH, TRACE";
constexpr std::string_view kText = "text/plain; charset=utf-8";
constexpr std::string_view kProblem = "application/problem+json";
}  // namespace

rt::Task<Result<>> answer(http::Exchange& exchange, http::ResponseHead& response, std::uint16_t status,
                          std::string_view content_type, std::string_view body, std::string_view date) {
  response.status = status;
  response.reason = reason_phrase(status);
  response.add("Date", date, http::FieldId::date);
  if (!content_type.empty()) response.add("Content-Type", content_type, http::FieldId::content_type);
  const bool empty = body.empty();
  const http::BodyFraming framing =
      empty ? http::BodyFraming{} : http::BodyFraming{http::BodyFraming::Kind::length, body.size()};
  auto sending = exchange.send_head(response, framing, {{body.data(), body.size()}, true});
  Result<> sent = co_await std::move(sending);
  co_return sent;
}

rt::Task<ErrorAnswered> answer_error(WorkerState& worker, const config::Server& server, http::Exchange& exchange,
                                     http::ResponseHead& response, const Error& error, std::string_view explanation) {
  const ErrorAnswer what = answer_for(error);
  if (exchange.head_sent()) {
    exchange.abort();
    co_return ErrorAnswered{.status = response.status, .grpc_status = {}};
  }
  if (what.status == http::status::kClientGone) {
    exchange.abort();
    co_return ErrorAnswered{.status = what.status, .grpc_status = {}};
  }
  // What follows a request that was not understood cannot be understood either.
  if (error.origin == Origin::client) exchange.close_after();

  response.clear();
  std::string proxy_status = fmt::format("{}; error={}", server.via, what.proxy_status);
  if (server.proxy_status_details && !error.detail.empty()) {
    std::string detail{error.detail};
    std::erase(detail, '"');
    std::erase(detail, '\\');
    proxy_status += fmt::format("; details=\"{}\"", detail);
  }
  response.add("Proxy-Status", proxy_status);
  if (!explanation.empty()) response.add(ExplainHeader::kName, explanation);
  // A gRPC client looks for the error where its own protocol has it: fields without a body ("Trailers-Only").
  if (is_grpc(exchange.request())) {
    const std::uint8_t grpc_status = grpc_status_for(what.status);
    const std::string code = std::to_string(grpc_status);
    response.add("grpc-status", code);
    response.add("grpc-message", what.sentence);  // plain ASCII: nothing in it needs percent-encoding
    auto telling =
        answer(exchange, response, http::status::kOk, "application/grpc", {}, worker.date.at(worker.loop.wall_now()));
    const Result<> told = co_await std::move(telling);
    static_cast<void>(told);
    co_return ErrorAnswered{.status = http::status::kOk, .grpc_status = grpc_status};
  }
  const http::Field* accept = exchange.request().find(http::FieldId::accept);
  const bool json = accept != nullptr && prefers_json(accept->value);
  const std::string body = error_body(what, json);
  if (what.retry_after) response.add("Retry-After", "1");
  if (what.status == 405) response.add("Allow", kAllowedMethods);
  auto answering =
      answer(exchange, response, what.status, json ? kProblem : kText, body, worker.date.at(worker.loop.wall_now()));
  const Result<> sent = co_await std::move(answering);
  static_cast<void>(sent);  // a client that went away meanwhile needs no answer
  co_return ErrorAnswered{.status = what.status, .grpc_status = {}};
}

rt::Task<std::uint16_t> answer_as_last_hop(WorkerState& worker, http::Exchange& exchange,
                                           http::ResponseHead& response) {
  const http::RequestHead& request = exchange.request();
  std::string body;
  std::string_view content_type;
  if (request.method == http::Method::trace) {
    content_type = "message/http";
    body = fmt::format("{} {} HTTP/{}.{}\r\n", request.method_text, request.target, request.version_major,
                       request.version_minor);
    for (const http::Field& field : request.fields) {
      // RFC 9110 section 9.3.8: not what may be secret.
      if (http::equals_ignoring_case(field.name, "authorization") || http::equals_ignoring_case(field.name, "cookie") ||
          http::equals_ignoring_case(field.name, "proxy-authorization")) {
        continue;
      }
      body += fmt::format("{}: {}\r\n", field.name, field.value);
    }
    body += "\r\n";
  } else {
    response.add("Allow", kAllowedMethods);
  }
  auto answering =
      answer(exchange, response, http::status::kOk, content_type, body, worker.date.at(worker.loop.wall_now()));
  const Result<> sent = co_await std::move(answering);
  static_cast<void>(sent);
  co_return http::status::kOk;
}

}  // namespace dao::server

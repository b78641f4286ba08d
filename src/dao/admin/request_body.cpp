#include "dao/admin/request_body.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "dao/http/status.h"
#include "dao/server/error_answer.h"

namespace dao::admin {

namespace {

Answer refused(http::Exchange& exchange, const Error& error) {
  exchange.close_after();
  const server::ErrorAnswer what = server::answer_for(error);
  return refuse(std::max(what.status, http::status::kBadRequest), "bad_request", std::string(what.sentence));
}

Answer too_large(http::Exchange& exchange, std::size_t most) {
  exchange.close_after();
  return refuse(http::status::kTooLarge, "too_large", fmt::format("a body has at most {} bytes here", most));
}

}  // namespace

rt::Task<std::expected<std::string, Answer>> read_body(http::Exchange& exchange, std::size_t most,
                                                       BodyMemory::Share& share, rt::Cancel& cancel) {
  const http::RequestHead& request = exchange.request();
  const http::BodyFraming framing = request.framing;
  if (framing.kind == http::BodyFraming::Kind::length && framing.length > most) {
    co_return std::unexpected(too_large(exchange, most));
  }
  std::string body;
  Result<http::BodyPiece> piece = exchange.take_buffered_body();
  if (piece && request.expect_continue && piece->bytes.empty() && !piece->last) {
    http::ResponseHead proceed;
    proceed.status = http::status::kContinue;
    auto sending = exchange.send_interim(proceed);
    const Result<> sent = co_await std::move(sending);
    if (!sent) co_return std::unexpected(refused(exchange, sent.error()));
  }
  for (;;) {
    if (!piece) co_return std::unexpected(refused(exchange, piece.error()));
    if (piece->bytes.size() > most - body.size()) co_return std::unexpected(too_large(exchange, most));
    if (!share.take(piece->bytes.size())) {
      exchange.close_after();
      co_return std::unexpected(
          refuse(http::status::kUnavailable, "busy", "other large bodies are being read; try again"));
    }
    body.append(piece->bytes.data(), piece->bytes.size());
    if (piece->last) co_return body;
    auto reading = exchange.read_body(&cancel, Nanoseconds::zero());
    piece = co_await std::move(reading);
  }
}

std::string_view media_type(const http::RequestHead& request) {
  const http::Field* field = request.find(http::FieldId::content_type);
  if (field == nullptr) return {};
  std::string_view type = field->value.substr(0, field->value.find(';'));
  while (type.ends_with(' ') || type.ends_with('\t')) type.remove_suffix(1);
  return type;
}

}  // namespace dao::admin

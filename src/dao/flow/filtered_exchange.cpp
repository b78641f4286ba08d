#include "dao/flow/filtered_exchange.h"

#include <utility>

namespace dao::flow {

namespace {

rt::Task<Result<>> fail(Error error) {
  co_return std::unexpected(error);
}

}  // namespace

FilteredExchange::FilteredExchange(const Chain& chain, http::Exchange& client, Surroundings surroundings)
    : chain_(chain), client_(client), counters_(surroundings.counters), facts_(client.request(), surroundings.random) {
  const config::TrustedProxies& trusted = chain.config.server.trusted_proxies;
  const bool secure = client.tls() != nullptr;
  facts_.client = client_address(client.peer(), client.request(), trusted);
  facts_.client_port = client.peer().port();
  facts_.scheme = client_scheme(secure ? "https" : "http", trusted.contain(client.peer().bytes()), client.request());
  facts_.route = chain.rule.name;
  facts_.intent = surroundings.intent;
  by_tls_ = facts_.scheme == "https";
}

Result<> FilteredExchange::admit(Instant now, const Clock& clock) {
  if (chain_.addresses && !chain_.addresses->admits(facts_.client.span())) {
    counters_.denied.add();
    return std::unexpected(Error{.origin = Origin::us,
                                 .kind = ErrorKind::address_denied,
                                 .detail = "the client's address is not allowed on this route"});
  }
  if (chain_.rate_limiter != nullptr) {
    rate_ = chain_.rate_limiter->admit(facts_, now);
    // Others count by clocks that may be ahead of this one, by much when the machine stalls. A refusal costs no more.
    if (!rate_->admitted) rate_ = chain_.rate_limiter->admit(facts_, clock.now());
    if (!rate_->admitted) {
      counters_.rate_limited.add();
      return std::unexpected(
          Error{.origin = Origin::us, .kind = ErrorKind::rate_limited, .detail = "the rate limit of this route"});
    }
  }
  if (const std::optional<Error> error = request_too_large()) return std::unexpected(*error);
  return {};
}

std::optional<LocalAnswer> FilteredExchange::answer() {
  http::Arena& arena = client_.request().arena;
  if (chain_.redirect) {
    if (const auto location = chain_.redirect->location(facts_, arena)) {
      location_ = *location;
      return LocalAnswer{.status = chain_.redirect->status()};
    }
  }
  if (chain_.respond) {
    responding_ = true;
    return LocalAnswer{.status = chain_.respond->status(), .body = chain_.respond->body(facts_, arena)};
  }
  return std::nullopt;
}

void FilteredExchange::edit_request() {
  http::RequestHead& request = client_.request();
  if (chain_.rewrite) chain_.rewrite->apply(request, facts_);
  if (!chain_.request_fields.empty()) late_fields_ = chain_.request_fields.apply(request, facts_);
}

Selection FilteredExchange::select() {
  Selection selection;
  if (chain_.split) {
    const TrafficSplit::Choice group = chain_.split->choose(facts_);
    facts_.split = group.name;
    selection.allowed = group.members;
  }
  if (chain_.sticky) {
    const Sticky::Found found = chain_.sticky->find(client_.request());
    if (found.cookie && !found.position) counters_.sticky_unknown.add();
    sticky_position_ = found.position;
    selection.preferred = found.position;
  }
  return selection;
}

void FilteredExchange::chosen(std::size_t position, std::string_view name, std::string_view host) {
  facts_.upstream = name;
  facts_.upstream_host = host;
  response_bytes_ = 0;
  if (chain_.sticky) upstream_position_ = position;
  if (chain_.request_fields.needs_upstream()) {
    chain_.request_fields.name_upstream(client_.request(), facts_, late_fields_);
  }
}

void FilteredExchange::answers_itself() {
  facts_.upstream = {};
  facts_.upstream_host = {};
  upstream_position_.reset();
}

std::optional<Error> FilteredExchange::request_too_large() const {
  const std::uint64_t most = chain_.request_body_max_bytes;
  const http::BodyFraming& framing = client_.request().framing;
  const bool announced = framing.kind == http::BodyFraming::Kind::length && framing.length > most;
  if (most == 0 || (!announced && client_.request_body_bytes() <= most)) return std::nullopt;
  return Error{.origin = Origin::client,
               .kind = ErrorKind::body_too_large,
               .detail = "the request body is above request_body_max_bytes of its route"};
}

std::optional<Error> FilteredExchange::response_too_large(std::uint64_t announced, std::size_t piece) {
  const std::uint64_t most = chain_.response_body_max_bytes;
  if (most == 0 || facts_.upstream.empty()) return std::nullopt;
  response_bytes_ += piece;
  if (announced <= most && response_bytes_ <= most) return std::nullopt;
  return Error{.origin = Origin::backend,
               .kind = ErrorKind::body_too_large,
               .sent = Sent::maybe,
               .detail = "the response body is above response_body_max_bytes of its route"};
}

Result<http::BodyPiece> FilteredExchange::take_buffered_body() {
  Result<http::BodyPiece> piece = client_.take_buffered_body();
  if (piece) {
    if (const std::optional<Error> error = request_too_large()) return std::unexpected(*error);
  }
  return piece;
}

rt::Task<Result<http::BodyPiece>> FilteredExchange::read_body(rt::Cancel* cancel, Nanoseconds grace) {
  if (chain_.request_body_max_bytes == 0) return client_.read_body(cancel, grace);
  return [](FilteredExchange& self, rt::Cancel* cancel_read, Nanoseconds more) -> rt::Task<Result<http::BodyPiece>> {
    auto reading = self.client_.read_body(cancel_read, more);
    Result<http::BodyPiece> piece = co_await std::move(reading);
    if (piece) {
      if (const std::optional<Error> error = self.request_too_large()) co_return std::unexpected(*error);
    }
    co_return piece;
  }(*this, cancel, grace);
}

void FilteredExchange::edit_response(http::ResponseHead& head) {
  if (std::exchange(edited_, true)) return;
  facts_.status = head.status;
  if (!location_.empty()) head.add("Location", location_);
  if (responding_) chain_.respond->add_fields(head, facts_);
  if (rate_) announce(*rate_, *chain_.rate_limiter, head);
  if (upstream_position_ && upstream_position_ != sticky_position_) {
    head.add("Set-Cookie", chain_.sticky->set_cookie(*upstream_position_, by_tls_));
  }
  if (!chain_.response_fields.empty()) chain_.response_fields.apply(head, facts_);
}

rt::Task<Result<>> FilteredExchange::send_head(http::ResponseHead& head, http::BodyFraming framing,
                                               http::BodyPiece first) {
  const bool announced = framing.kind == http::BodyFraming::Kind::length && request().method != http::Method::head;
  if (const auto error = response_too_large(announced ? framing.length : 0, first.bytes.size())) return fail(*error);
  edit_response(head);
  return client_.send_head(head, framing, first);
}

rt::Task<Result<>> FilteredExchange::send_body(http::BodyPiece piece, std::span<const http::Field> trailers) {
  if (const auto error = response_too_large(0, piece.bytes.size())) return fail(*error);
  return client_.send_body(piece, trailers);
}

rt::Task<Result<http::UpgradedStream>> FilteredExchange::upgrade(http::ResponseHead& head) {
  edit_response(head);
  return client_.upgrade(head);
}

}  // namespace dao::flow

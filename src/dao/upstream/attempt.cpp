#include "dao/upstream/attempt.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "dao/http/grpc_status.h"
#include "dao/http/websocket_handshake.h"
#include "dao/rt/join.h"

namespace dao::upstream {

namespace {

using http::BodyPiece;
using http::ClientExchange;
using http::FieldId;
using http::Method;

class Attempt {
 public:
  Attempt(const AttemptInput& input, Pool& pool) : in_(input), pool_(pool) {}

  rt::Task<AttemptOutcome> run();
  // What the upstream's signals shall know of an attempt that ended without a head.
  void settle_signals(const Error& error);
  // What presence shall know of one that failed.
  void report(const AttemptOutcome& outcome) const;

 private:
  rt::Task<Result<>> send(Pool::Lease& lease);
  rt::Task<Result<>> receive(ClientExchange& backend);
  rt::Task<Result<>> read_final_head(ClientExchange& backend);
  rt::Task<Result<>> forward_response(ClientExchange& backend);
  rt::Task<Result<>> upload(ClientExchange& backend);
  rt::Task<Result<>> upload_and_receive(ClientExchange& backend);

  // The time of the backend begins.
  void begin_waiting();
  void end_waiting(bool failed);
  void add_explanation() {
    if (!in_.explanation.empty()) in_.response.add("x-dao-explain", in_.explanation);
  }

  // Nothing of the body was taken from the client beyond what we still have.
  [[nodiscard]] bool can_replay() const { return in_.exchange.request_body_bytes() == in_.first.bytes.size(); }

  const AttemptInput& in_;
  Pool& pool_;
  AttemptOutcome outcome_;
  std::optional<Instant> waiting_since_;  // for the answer's head, as the signals know
  Instant sent_at_{};                     // when the last bytes of the request left, so far
  rt::Cancel* receiving_ = nullptr;       // what the waits of the download obey
  rt::Cancel* uploading_ = nullptr;
  std::optional<Nanoseconds> keeps_;
  std::uint32_t interim_responses_ = 0;  // a backend that said 1xx has got the request
  bool upload_running_ = false;
  bool awaiting_continue_ = false;  // the client holds its body back until the backend says 100
};

// "timeout=5" in a Keep-Alive field (RFC 2068 section 19.7.1.1, still what servers send).
std::optional<Nanoseconds> keep_alive_timeout(const http::ResponseHead& head) {
  for (const http::Field& field : head.fields) {
    if (field.id != FieldId::keep_alive) continue;
    const std::size_t at = field.value.find("timeout=");
    if (at == std::string_view::npos) continue;
    const std::string_view digits = field.value.substr(at + 8);
    std::uint32_t seconds = 0;
    if (std::from_chars(digits.data(), digits.data() + digits.size(), seconds).ec == std::errc{}) {
      return std::chrono::seconds(seconds);
    }
  }
  return std::nullopt;
}

// The address could not be reached, so nothing of the request was.
bool is_connect_failure(const Error& error) {
  return error.origin == Origin::backend && error.sent == Sent::nothing && error.kind != ErrorKind::closed &&
         error.kind != ErrorKind::stream_reset;
}

// The client of an extended CONNECT takes the content of any 2xx for frames (RFC 9113 section 8.5): such an answer must
// not reach it unless the backend has agreed to a WebSocket.
bool opens_by_any_2xx(const http::RequestHead& request) {
  return request.upgrade == http::Upgrade::websocket && request.version_major >= 2;
}

void Attempt::begin_waiting() {
  if (in_.signals == nullptr || waiting_since_) return;
  waiting_since_ = in_.loop.now();
  in_.signals->sent(*waiting_since_);
}

void Attempt::end_waiting(bool failed) {
  if (!waiting_since_) return;
  in_.signals->answered(*waiting_since_, in_.loop.now(), failed);
  waiting_since_.reset();
}

void Attempt::settle_signals(const Error& error) {
  if (!waiting_since_) return;
  if (error.origin == Origin::backend) {
    in_.signals->failed(*waiting_since_, in_.loop.now());
  } else {
    in_.signals->cancelled(*waiting_since_, in_.loop.now());
  }
}

void Attempt::report(const AttemptOutcome& outcome) const {
  if (outcome.error.kind == ErrorKind::none) return;
  const bool answered = outcome.status != 0;
  // The deadline of a gRPC call is its client's, who may be impatient.
  const bool too_late = !answered && !in_.grpc && in_.cancel.why() == ErrorKind::timeout_total;
  const sense::Outcome what = too_late ? sense::Outcome::timeout : sense::outcome_of(outcome.error);
  if (answered && what == sense::Outcome::cancelled) return;
  in_.report(what);
}

rt::Task<AttemptOutcome> Attempt::run() {
  // Of a request that is here in full, connecting belongs to the time of the backend.
  if (in_.first.last) begin_waiting();
  // A name may have several addresses; one that is dead is no failure of the upstream while another lives.
  constexpr std::size_t kMostAddresses = 3;
  const Method method = in_.exchange.request().method;
  std::size_t addresses_left = std::min(pool_.endpoints(), kMostAddresses);
  Pool::Need need{
      .fresh = false,
      // A request that must not be sent twice goes only where the kernel says somebody still listens.
      .verify = !http::is_idempotent(method),
      .h1 = in_.exchange.request().upgrade != http::Upgrade::none,
      .client = {&in_.exchange.peer(), in_.exchange.tls()},
  };
  for (;;) {
    Result<Pool::Lease> lease = pool_.acquire(need);
    if (!lease) {
      outcome_.error = lease.error();
      if (is_connect_failure(outcome_.error) && addresses_left-- > 1) continue;
      co_return std::move(outcome_);
    }
    outcome_.reused = lease->reused();
    outcome_.address = lease->address();

    in_.exchange.watch_client(&in_.client_gone);
    auto sending = send(*lease);
    Result<> done = co_await std::move(sending);
    if (done) {
      ClientExchange& backend = lease->exchange();
      if (in_.first.last) {
        receiving_ = &in_.cancel;
        auto receiving = receive(backend);
        done = co_await std::move(receiving);
      } else {
        auto both = upload_and_receive(backend);
        done = co_await std::move(both);
      }
    }
    if (done && outcome_.status == 101) {
      outcome_.upgraded->lease = std::move(*lease);
      outcome_.error = Error{};
      co_return std::move(outcome_);
    }
    const bool reusable = done && lease->exchange().reusable(in_.response);
    const bool h1_required = !done && !need.h1 && !lease->unsettled() && lease->exchange().requires_h1();
    pool_.release(std::move(*lease), reusable, keeps_);
    if (done) {
      outcome_.error = Error{};
      co_return std::move(outcome_);
    }
    outcome_.grpc_status.reset();  // the client did not get it
    outcome_.error = done.error();
    // HTTP/2 says it outright: refused, or not processed before GOAWAY (RFC 9113 section 8.7).
    const bool unprocessed = outcome_.error.sent == Sent::nothing && (outcome_.error.kind == ErrorKind::stream_reset ||
                                                                      outcome_.error.kind == ErrorKind::closed);
    const bool died_unanswered = outcome_.error.kind == ErrorKind::closed || outcome_.error.kind == ErrorKind::reset;
    const bool may_send_again = outcome_.error.sent == Sent::nothing || http::is_idempotent(method);
    const bool stale = !need.fresh && (unprocessed || (outcome_.reused && died_unanswered)) &&
                       interim_responses_ == 0 && outcome_.error.origin == Origin::backend && outcome_.status == 0 &&
                       !in_.exchange.head_sent() && can_replay() && may_send_again;
    const bool other_address = !outcome_.reused && is_connect_failure(outcome_.error) && addresses_left-- > 1;
    // Over HTTP/2 the backend does not serve this request, whatever the method (RFC 9113 section 7).
    const bool over_h1 =
        h1_required && pool_.can_speak_h1() && outcome_.status == 0 && !in_.exchange.head_sent() && can_replay();
    if (!(stale || other_address || over_h1) || in_.cancel.requested()) co_return std::move(outcome_);
    need.fresh = need.fresh || stale;
    need.h1 = need.h1 || over_h1;
  }
}

rt::Task<Result<>> Attempt::send(Pool::Lease& lease) {
  const Instant began = lease.reused() ? Instant{} : in_.loop.precise_now();
  const Nanoseconds connecting = lease.reused() ? Nanoseconds::zero() : Nanoseconds(in_.settings.connect_timeout);
  Result<> sent;
  if (lease.unsettled()) {
    auto settling = pool_.settle(lease, connecting, &in_.cancel);
    sent = co_await std::move(settling);
    outcome_.reused = lease.reused();
  }
  if (sent) {
    auto sending =
        lease.exchange().send_request(in_.exchange.request(), in_.base_path, in_.first, in_.exchange.request_trailers(),
                                      connecting, in_.settings.read_timeout, &in_.cancel);
    sent = co_await std::move(sending);
  }
  sent_at_ = in_.loop.precise_now();
  if (!lease.reused()) {
    outcome_.measured_connect = true;
    outcome_.connect = sent_at_ - began;
    if (!sent && is_connect_failure(sent.error())) pool_.connect_failed(lease);
  }
  co_return sent;
}

rt::Task<Result<>> Attempt::upload_and_receive(ClientExchange& backend) {
  rt::Cancel receive_cancel(&in_.cancel);
  rt::Cancel upload_cancel(&in_.cancel);
  receiving_ = &receive_cancel;
  uploading_ = &upload_cancel;
  upload_running_ = true;
  awaiting_continue_ = in_.exchange.request().expect_continue && in_.first.bytes.empty();
  in_.exchange.watch_client(&in_.client_gone);
  auto both = rt::join(upload(backend), rt::racing(receive(backend), upload_cancel));
  const auto [uploaded, received] = co_await std::move(both);
  // The client's failure explains the other one: it called the download off.
  if (!uploaded && uploaded.error().origin == Origin::client) co_return uploaded;
  co_return received;
}

rt::Task<Result<>> Attempt::upload(ClientExchange& backend) {
  Result<> result;
  for (;;) {
    // A client that waits for a 100 (RFC 9110 section 10.1.1) waits for the backend: that time is not its own.
    const Nanoseconds grace = awaiting_continue_ ? Nanoseconds(in_.settings.first_byte_timeout) : Nanoseconds::zero();
    auto reading = in_.exchange.read_body(uploading_, grace);
    const Result<BodyPiece> piece = co_await std::move(reading);
    awaiting_continue_ = false;
    if (!piece) {
      result = std::unexpected(piece.error());
      if (piece.error().origin == Origin::client) receiving_->request();
      break;
    }
    auto sending = backend.send_body(*piece, in_.exchange.request_trailers(), in_.settings.read_timeout, uploading_);
    const Result<> sent = co_await std::move(sending);
    sent_at_ = in_.loop.precise_now();
    if (!sent) {
      // The backend stopped reading. It may have answered already: the download finds out.
      result = sent;
      break;
    }
    if (piece->last) {
      begin_waiting();
      in_.exchange.watch_client(&in_.client_gone);
      break;
    }
  }
  upload_running_ = false;
  co_return result;
}

rt::Task<Result<>> Attempt::receive(ClientExchange& backend) {
  auto reading = read_final_head(backend);
  const Result<> head = co_await std::move(reading);
  if (!head) co_return head;
  outcome_.status = in_.response.status;
  end_waiting(outcome_.status >= 500);
  in_.report(sense::outcome_of(outcome_.status));
  // The batch's time: when the head arrived, not when its turn came.
  outcome_.head = in_.loop.now() - sent_at_;
  if (outcome_.head < Nanoseconds::zero()) outcome_.head = Nanoseconds::zero();
  if (outcome_.status == 101) {
    http::prepare_response(in_.response, in_.forwarding, in_.date);
    add_explanation();
    auto upgrading = in_.exchange.upgrade(in_.response);
    const Result<http::UpgradedStream> client = co_await std::move(upgrading);
    if (!client) co_return std::unexpected(client.error());
    outcome_.upgraded = Upgraded{.lease = {}, .client = *client, .backend = backend.take_upgraded()};
    co_return Result<>{};
  }
  keeps_ = keep_alive_timeout(in_.response);
  if (in_.grpc) outcome_.grpc_status = http::find_grpc_status(in_.response.fields);
  backend.start_body(in_.response, in_.response_limits);
  if (in_.hold_back_5xx && is_retryable_status(outcome_.status) && can_replay()) {
    outcome_.held_back = true;
    // A short body that is already here leaves the connection usable.
    const Result<BodyPiece> rest = backend.take_buffered_body();
    static_cast<void>(rest);
    co_return Result<>{};
  }
  auto forwarding = forward_response(backend);
  Result<> forwarded = co_await std::move(forwarding);
  if (forwarded && in_.grpc && !outcome_.grpc_status) {
    outcome_.grpc_status = http::find_grpc_status(backend.trailers());
  }
  co_return forwarded;
}

rt::Task<Result<>> Attempt::read_final_head(ClientExchange& backend) {
  const Method method = in_.exchange.request().method;
  Instant since = in_.loop.now();  // or since the last bytes left, if that is later
  for (;;) {
    const Instant deadline = std::max(sent_at_, since) + in_.settings.first_byte_timeout;
    auto reading = backend.read_head(in_.response, method, in_.response_limits, deadline, receiving_);
    const Result<> read = co_await std::move(reading);
    if (!read) {
      // While the body is being uploaded the backend's time has not begun.
      const bool body_still_goes_out = upload_running_ && !awaiting_continue_;
      const bool time_left = sent_at_ + in_.settings.first_byte_timeout > in_.loop.precise_now();
      if (read.error().kind != ErrorKind::timeout_head || !(body_still_goes_out || time_left)) co_return read;
      if (body_still_goes_out) since = in_.loop.now();
      continue;
    }
    const http::RequestHead& request = in_.exchange.request();
    if (opens_by_any_2xx(request) && in_.response.status / 100 == 2) {
      co_return std::unexpected(Error{.origin = Origin::backend,
                                      .kind = ErrorKind::unexpected_upgrade,
                                      .sent = Sent::maybe,
                                      .detail = "2xx instead of 101 for a WebSocket over HTTP/2 (RFC 8441 5)"});
    }
    if (in_.response.status >= 200) co_return Result<>{};
    const Error refuse{.origin = Origin::backend, .kind = ErrorKind::malformed, .sent = Sent::maybe};
    if (in_.response.status == 101) {
      if (request.upgrade == http::Upgrade::websocket) {
        co_return http::check_websocket_answer(request, in_.response);
      }
      Error error = refuse;
      error.kind = ErrorKind::unexpected_upgrade;
      error.detail = "101 that nobody asked for (RFC 9110 15.2.2)";
      co_return std::unexpected(error);
    }
    if (in_.response.status == 100) awaiting_continue_ = false;
    if (++interim_responses_ > in_.interim_responses_max) {
      Error error = refuse;
      error.detail = "too many interim responses";
      co_return std::unexpected(error);
    }
    http::prepare_response(in_.response, in_.forwarding, {});
    auto sending = in_.exchange.send_interim(in_.response);
    const Result<> sent = co_await std::move(sending);
    if (!sent) co_return sent;
    since = in_.loop.now();
  }
}

rt::Task<Result<>> Attempt::forward_response(ClientExchange& backend) {
  Result<BodyPiece> piece = backend.take_buffered_body();
  if (!piece) co_return std::unexpected(piece.error());
  http::prepare_response(in_.response, in_.forwarding, in_.date);
  add_explanation();
  const std::span<const http::Field> no_trailers;
  if (piece->last && !backend.trailers().empty()) {
    // The head goes first, the trailers with the end of the body.
    auto sending = in_.exchange.send_head(in_.response, in_.response.framing, {piece->bytes, false});
    const Result<> sent = co_await std::move(sending);
    if (!sent) co_return sent;
    auto ending = in_.exchange.send_body({{}, true}, backend.trailers());
    Result<> ended = co_await std::move(ending);
    co_return ended;
  }
  auto sending = in_.exchange.send_head(in_.response, in_.response.framing, *piece);
  const Result<> sent = co_await std::move(sending);
  if (!sent) co_return sent;
  while (!piece->last) {
    const Instant deadline = in_.loop.now() + in_.settings.read_timeout;
    auto reading = backend.read_body(deadline, receiving_);
    piece = co_await std::move(reading);
    if (!piece) co_return std::unexpected(piece.error().with_sent(Sent::answered));
    auto passing = in_.exchange.send_body(*piece, piece->last ? backend.trailers() : no_trailers);
    const Result<> passed = co_await std::move(passing);
    if (!passed) co_return passed;
  }
  co_return Result<>{};
}

}  // namespace

bool is_retryable_status(std::uint16_t status) {
  return status == 500 || status == 502 || status == 503 || status == 504;
}

rt::Task<AttemptOutcome> attempt(AttemptInput input, Pool& pool) {
  Attempt one(input, pool);
  auto running = one.run();
  AttemptOutcome outcome = co_await std::move(running);
  one.settle_signals(outcome.error);
  one.report(outcome);
  co_return outcome;
}

}  // namespace dao::upstream

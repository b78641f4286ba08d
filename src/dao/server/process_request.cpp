#include "dao/server/process_request.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "dao/base/log.h"
#include "dao/flow/client_address.h"
#include "dao/flow/filtered_exchange.h"
#include "dao/http/forwarding.h"
#include "dao/http/websocket_handshake.h"
#include "dao/net/tls_facts.h"
#include "dao/server/candidates.h"
#include "dao/server/explain.h"
#include "dao/server/grpc.h"
#include "dao/server/hash_key.h"
#include "dao/server/intent.h"
#include "dao/server/local_answer.h"
#include "dao/server/request_journal.h"
#include "dao/server/silence_watch.h"
#include "dao/server/tunnel.h"
#include "dao/upstream/attempt.h"

namespace dao::server {

namespace {

using http::Exchange;
using http::RequestHead;

// Bounds the whole exchange, if the operator asked for it.
class TotalTimeout : private rt::Timer {
 public:
  TotalTimeout(rt::Loop& loop, Nanoseconds after, rt::Cancel& cancel) : loop_(loop), cancel_(cancel) {
    if (after <= Nanoseconds::zero()) return;
    fire = [](rt::Timer& self) { static_cast<TotalTimeout&>(self).cancel_.request(ErrorKind::timeout_total); };
    loop_.timers().schedule(*this, loop_.now() + after);
  }
  TotalTimeout(const TotalTimeout&) = delete;
  TotalTimeout& operator=(const TotalTimeout&) = delete;
  ~TotalTimeout() { disarm(); }
  void disarm() { loop_.timers().cancel(*this); }

 private:
  rt::Loop& loop_;
  rt::Cancel& cancel_;
};

// For the whole exchange; zero: no limit. A gRPC client says how long it waits.
Nanoseconds time_for(const RequestHead& request, bool grpc, const config::ProxySettings& settings) {
  const Nanoseconds configured = settings.total_timeout;
  if (!grpc) return configured;
  const std::optional<Nanoseconds> asked = grpc_timeout(request);
  if (!asked) return configured;
  const Nanoseconds at_least = std::max(*asked, Nanoseconds(1));
  return configured == Nanoseconds::zero() ? at_least : std::min(configured, at_least);
}

// A response head that goes back to the worker's spares.
class BorrowedResponse {
 public:
  explicit BorrowedResponse(WorkerState& worker) : worker_(worker), head_(worker.borrow_response_head()) {}
  BorrowedResponse(const BorrowedResponse&) = delete;
  BorrowedResponse& operator=(const BorrowedResponse&) = delete;
  ~BorrowedResponse() { worker_.return_response_head(std::move(head_)); }
  [[nodiscard]] http::ResponseHead& head() const { return *head_; }

 private:
  WorkerState& worker_;
  std::unique_ptr<http::ResponseHead> head_;
};

// A client that showed a certificate to one host must not use the connection for another (RFC 9110 section 7.4).
bool is_misdirected(Exchange& exchange) {
  const net::TlsFacts* tls = exchange.tls();
  if (tls == nullptr || !tls->client_auth || tls->server_name.empty()) return false;
  std::string_view host = exchange.request().authority;
  host = host.substr(0, host.find(':'));
  return !host.empty() && !http::equals_ignoring_case(host, tls->server_name);
}

// Nobody but us says who the client is.
void tell_of_client_certificate(RequestHead& request, const net::TlsFacts* tls) {
  constexpr std::string_view kOurs = "X-SSL-Client-";
  for (http::Field& field : request.fields) {
    if (http::equals_ignoring_case(field.name.substr(0, kOurs.size()), kOurs)) field.dropped = true;
  }
  if (tls == nullptr || !tls->client_auth) return;
  request.add("X-SSL-Client-Verify", tls->client_verified ? "SUCCESS" : "NONE");
  if (!tls->client_subject.empty()) request.add("X-SSL-Client-Subject", tls->client_subject);
}

// Until an upstream has room for the request, or there is no hope.
DAO_FRAME_OF_ITS_OWN rt::Task<Result<std::uint32_t>> wait_for_room(WorkerState& worker, RequestJournal& journal,
                                                                   std::uint32_t route, Candidates& candidates,
                                                                   const config::ProxySettings& settings,
                                                                   rt::Cancel& cancel) {
  const Instant since = worker.loop.now();
  auto waiting = worker.queue.wait(candidates, route, settings.queue_max, settings.queue_timeout, cancel);
  const Waited waited = co_await std::move(waiting);
  if (waited != Waited::full) journal.queued(worker.loop.now() - since);
  Error error{.origin = Origin::us, .kind = ErrorKind::queue_full, .detail = "every upstream at max_in_flight"};
  switch (waited) {
    case Waited::served:
      if (!cancel.requested()) co_return candidates.found();
      if (candidates.found()) candidates.leave();
      error = {.origin = Origin::us, .kind = ErrorKind::cancelled};
      break;
    case Waited::full:
      break;
    case Waited::timed_out:
      error.kind = ErrorKind::timeout_queue;
      break;
    case Waited::cancelled:
      error = {.origin = Origin::us, .kind = ErrorKind::cancelled};
      break;
  }
  co_return std::unexpected(error);
}

// Why the failure may be answered by another upstream; nothing if it may not. RFC 9110 section 9.2.2: what is not
// idempotent is sent again only if nothing of it can have arrived.
std::optional<sense::RetryReason> retry_reason(const upstream::AttemptOutcome& outcome, const config::RetryOn& allowed,
                                               Exchange& exchange, const http::BodyPiece& first) {
  if (exchange.head_sent() || exchange.request_body_bytes() != first.bytes.size()) return std::nullopt;
  if (outcome.held_back) return sense::RetryReason::server_error;
  if (outcome.error.origin == Origin::client) return std::nullopt;
  switch (outcome.error.kind) {
    case ErrorKind::refused:
    case ErrorKind::unreachable:
    case ErrorKind::connect_failed:
    case ErrorKind::timeout_connect:
    case ErrorKind::no_upstream:
    case ErrorKind::dns_error:
    case ErrorKind::dns_timeout:
    case ErrorKind::tls_protocol:
    case ErrorKind::tls_certificate:
    case ErrorKind::tls_alert:
      if (allowed.connect_failure && outcome.error.sent == Sent::nothing) return sense::RetryReason::connect_failure;
      break;
    case ErrorKind::closed:
    case ErrorKind::reset:
    case ErrorKind::stream_reset:
      if (!allowed.connection_lost) break;
      if (outcome.error.sent == Sent::nothing || http::is_idempotent(exchange.request().method)) {
        return sense::RetryReason::connection_lost;
      }
      break;
    case ErrorKind::silent:
      return sense::RetryReason::silence;
    default:
      break;
  }
  return std::nullopt;
}

// What really happened when the waits were called off.
Error explain_cancellation(Error error, bool held_back, const rt::Cancel& cancel) {
  if (!cancel.requested() || (error.kind != ErrorKind::cancelled && !held_back)) return error;
  if (cancel.why() == ErrorKind::timeout_total || cancel.why() == ErrorKind::silent) {
    return {.origin = Origin::backend, .kind = cancel.why(), .sent = error.sent};
  }
  return {.origin = Origin::client, .kind = cancel.why(), .sent = error.sent, .detail = "the client went away"};
}

void log_failure(const UpstreamSeat& upstream, const upstream::AttemptOutcome& outcome) {
  static log::RateLimit limit{5};
  const Error& error = outcome.error;
  if (error.origin != Origin::backend) return;
  log::warning(limit, "upstream failed",
               {{"upstream", upstream.name},
                {"address", outcome.address ? std::string_view{*outcome.address} : std::string_view{}},
                {"error", name_of(error.kind)},
                {"detail", error.detail.empty() ? std::string_view{describe(error)} : error.detail}});
}

// A WebSocket from its 101 to its end. The upstream has it in flight all that time.
rt::Task<> relay_upgraded(WorkerState& worker, const config::Config& config, const config::ProxySettings& settings,
                          RequestJournal& journal, std::uint32_t upstream, Candidates& candidates,
                          upstream::AttemptOutcome outcome) {
  upstream::Upgraded upgraded = std::move(*outcome.upgraded);
  outcome.upgraded.reset();
  journal.answered(outcome.status);
  journal.attempted(upstream, std::move(outcome));
  journal.upgraded();
  auto tunnelling = tunnel({.loop = worker.loop,
                            .buffers = worker.buffers,
                            .random = worker.random,
                            .counters = worker.shard.worker(),
                            .client = upgraded.client,
                            .backend = upgraded.backend,
                            .idle_timeout = settings.websocket_idle_timeout,
                            .ping_interval = settings.websocket_ping_interval,
                            .client_stall = config.server.write_timeout,
                            .backend_stall = settings.read_timeout,
                            .drain = worker.drain_websockets});
  const TunnelOutcome ended = co_await std::move(tunnelling);
  journal.tunnelled(ended);
  worker.seats[upstream]->pool.release(std::move(upgraded.lease), false, std::nullopt);
  candidates.leave();
}

}  // namespace

rt::Task<> process_request(WorkerState& worker, Exchange& exchange, const Error* rejected) {
  const GenerationInUse in_use(worker, rejected == nullptr ? &exchange : nullptr);
  WorkerGeneration& generation = *in_use;
  const config::Config& config = generation.config;
  RequestJournal journal(worker, exchange, generation.generation->number, in_use.side());
  const BorrowedResponse response(worker);
  RequestHead& request = exchange.request();

  // A request that could not be understood is answered, counted and logged; nothing of it goes further.
  if (rejected != nullptr) {
    journal.failed(*rejected);
    auto refusing = answer_error(worker, config.server, exchange, response.head(), *rejected);
    const ErrorAnswered refused_with = co_await std::move(refusing);
    journal.answered(refused_with.status, refused_with.grpc_status);
    co_return;
  }

  // Are we the last hop?
  const http::Hops hops = http::count_down_max_forwards(request);
  if (hops == http::Hops::answer) {
    auto answering = answer_as_last_hop(worker, exchange, response.head());
    const std::uint16_t answered_with = co_await std::move(answering);
    journal.answered(answered_with);
    co_return;
  }

  Error failure;
  if (hops == http::Hops::invalid) {
    failure = {
        .origin = Origin::client, .kind = ErrorKind::malformed, .detail = "invalid Max-Forwards (RFC 9110 7.6.2)"};
  }
  const std::size_t body_limit = config.server.body_max_bytes;
  if (body_limit != 0 && request.framing.length > body_limit) {
    failure = {
        .origin = Origin::client, .kind = ErrorKind::body_too_large, .detail = "Content-Length above body_max_bytes"};
  }

  if (failure.kind == ErrorKind::none && is_misdirected(exchange)) {
    failure = {.origin = Origin::client,
               .kind = ErrorKind::misdirected,
               .detail = "another host than the one the client was let in for"};
  }

  // Route.
  const std::optional<std::uint32_t> rule_index =
      failure.kind == ErrorKind::none ? generation.generation->routes.find(request) : std::nullopt;
  if (failure.kind == ErrorKind::none && !rule_index) {
    failure = {.origin = Origin::us, .kind = ErrorKind::no_route, .detail = "no rule matches"};
  }

  // Flow: the filters of the route. What goes to the client from here on passes through them.
  Exchange* client = &exchange;
  std::optional<flow::FilteredExchange> filters;
  const bool from_trusted_proxy = config.server.trusted_proxies.contain(exchange.peer().bytes());
  std::uint64_t intent = 0;
  if (failure.kind == ErrorKind::none) {
    const Route& route = generation.routes[*rule_index];
    journal.matched(config.rules[*rule_index]);
    intent = intent_of(config, *rule_index, request, from_trusted_proxy);
    if (const flow::Chain* chain = route.filters.get()) {
      const flow::Surroundings surroundings{.random = worker.random,
                                            .counters = worker.shard.route(route.number),
                                            .intent = name_of_intent(config, intent)};
      client = &filters.emplace(*chain, exchange, surroundings);
      const Result<> admitted = filters->admit(worker.loop.now(), worker.loop.clock());
      if (!admitted) failure = admitted.error();
    }
  }
  if (failure.kind == ErrorKind::none && filters) {
    if (const std::optional<flow::LocalAnswer> local = filters->answer()) {
      auto answering =
          answer(*client, response.head(), local->status, {}, local->body, worker.date.at(worker.loop.wall_now()));
      const Result<> sent = co_await std::move(answering);
      static_cast<void>(sent);  // a client that went away meanwhile needs no answer
      journal.answered(local->status);
      co_return;
    }
  }

  http::BodyPiece first{{}, true};
  if (failure.kind == ErrorKind::none) {
    Result<http::BodyPiece> buffered = client->take_buffered_body();
    if (buffered) {
      first = *buffered;
    } else {
      failure = buffered.error();
    }
  }
  if (failure.kind != ErrorKind::none) {
    journal.failed(failure);
    auto refusing = answer_error(worker, config.server, *client, response.head(), failure);
    const ErrorAnswered refused_with = co_await std::move(refusing);
    journal.answered(refused_with.status, refused_with.grpc_status);
    co_return;
  }

  // What the backend is told.
  const flow::Selection selection = filters ? filters->select() : flow::Selection{};
  if (first.last) request.expect_continue = false;  // the body is here: nobody waits for a 100
  const config::Rule& rule = config.rules[*rule_index];
  Route& route = generation.routes[*rule_index];
  const bool hashes = rule.policy.kind == config::Policy::consistent_hash;
  flow::ClientAddress hashed_client;
  if (hashes) hashed_client = flow::client_address(exchange.peer(), request, config.server.trusted_proxies);
  http::prepare_request(request, generation.forwarding, exchange.peer(), from_trusted_proxy,
                        exchange.tls() != nullptr ? "https" : "http");
  if (generation.asks_for_client_certificates) tell_of_client_certificate(request, exchange.tls());

  if (request.upgrade == http::Upgrade::websocket) http::ensure_websocket_key(request, worker.random);
  if (filters) filters->edit_request();

  const config::ProxySettings& settings = rule.proxy;
  const bool grpc = is_grpc(request);
  rt::Cancel cancel;
  TotalTimeout total(worker.loop, time_for(request, grpc, settings), cancel);
  worker.retry_budget.request_began();
  const std::uint64_t key = hashes ? hash_of(rule.hash_key, request, hashed_client.span()) : 0;
  const std::unique_ptr<ExplainHeader> explain = ExplainHeader::asked_by(config.admin, exchange);
  Candidates candidates(worker, rule, route, intent, key, selection, explain.get());

  // Align, then one exchange with the chosen upstream; again elsewhere while that is allowed.
  for (std::uint32_t retries = 0;; ++retries) {
    if (!worker.queue.empty()) worker.queue.look();
    Result<std::uint32_t> choice = candidates.next();
    if (!choice && choice.error().kind == ErrorKind::queue_full) {
      client->watch_client(&cancel);
      auto waiting = wait_for_room(worker, journal, route.number, candidates, settings, cancel);
      choice = co_await std::move(waiting);
    }
    if (!choice) {
      failure = explain_cancellation(choice.error(), false, cancel);
      break;
    }
    const bool elsewhere = retries < settings.retries && candidates.another_left(false);
    const bool may_retry = elsewhere && worker.retry_budget.available(worker.loop.now());
    const bool replayable = elsewhere && http::is_safe(request.method) && first.last;
    const bool not_5xx = replayable && settings.retry_on.status_5xx && candidates.another_left(true);
    UpstreamSeat& upstream = *worker.seats[*choice];
    if (filters) filters->chosen(candidates.last(), upstream.name, upstream.host_field);
    if (request.find(http::FieldId::host) == nullptr) {  // HTTP/1.0 may leave it out, HTTP/1.1 may not
      request.add("Host", upstream.host_field, http::FieldId::host);
    }
    upstream::AttemptOutcome outcome;
    rt::Cancel attempt_cancel(&cancel);
    const sense::OutcomeReport report = worker.report_for(*choice, generation);
    if (upstream.pool.endpoints() == 0 && upstream.resolution_error) {
      outcome.error = *upstream.resolution_error;
      report(sense::outcome_of(outcome.error));
    } else {
      journal.attempting();
      SilenceWatch silence(worker, *client, route, *choice, attempt_cancel);
      if (may_retry && replayable && settings.retry_on.silence) silence.watch();
      auto attempting = upstream::attempt({.loop = worker.loop,
                                           .exchange = *client,
                                           .first = first,
                                           .response = response.head(),
                                           .settings = settings,
                                           .response_limits = generation.response_limits,
                                           .interim_responses_max = config.proxy.interim_responses_max,
                                           .forwarding = generation.forwarding,
                                           .date = worker.date.at(worker.loop.wall_now()),
                                           .base_path = upstream.base_path,
                                           .client_gone = cancel,
                                           .cancel = attempt_cancel,
                                           .hold_back_5xx = may_retry && not_5xx,
                                           .grpc = grpc,
                                           .signals = &worker.signals[*choice],
                                           .report = report,
                                           .explanation = explain ? std::string_view{explain->text()} : ""},
                                          upstream.pool);
      outcome = co_await std::move(attempting);
      if (outcome.upgraded) {
        total.disarm();
        auto relaying = relay_upgraded(worker, config, settings, journal, *choice, candidates, std::move(outcome));
        co_await std::move(relaying);
        co_return;
      }
    }
    candidates.leave();
    outcome.error = explain_cancellation(outcome.error, outcome.held_back, attempt_cancel);
    const std::optional<sense::RetryReason> reason = retry_reason(outcome, settings.retry_on, *client, first);
    const bool complete = outcome.error.kind == ErrorKind::none && !outcome.held_back;
    failure = outcome.error;
    if (!complete) log_failure(upstream, outcome);
    journal.attempted(*choice, std::move(outcome));
    if (complete) {
      if (not_5xx && !may_retry && upstream::is_retryable_status(response.head().status)) {
        worker.shard.worker().retries_denied.add();
      }
      journal.answered(response.head().status);
      co_return;
    }
    if (!reason || cancel.requested()) break;
    if (!may_retry) {
      if (elsewhere) worker.shard.worker().retries_denied.add();
      break;
    }
    worker.retry_budget.spend();
    worker.shard.record_retry(*choice, *reason);
  }

  journal.failed(failure);
  if (filters) filters->answers_itself();
  auto answering = answer_error(worker, config.server, *client, response.head(), failure,
                                explain ? std::string_view{explain->text()} : "");
  const ErrorAnswered answered_with = co_await std::move(answering);
  journal.answered(answered_with.status, answered_with.grpc_status);
}

}  // namespace dao::server

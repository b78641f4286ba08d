#include "dao/server/request_journal.h"

#include <utility>

#include "dao/http/grpc_status.h"
#include "dao/server/error_answer.h"
#include "dao/server/grpc.h"
#include "dao/telemetry/request_record.h"

namespace dao::server {

namespace {

// The trace id of a W3C traceparent: 00-<32 hex>-<16 hex>-<2 hex>.
std::string_view trace_id_of(std::string_view traceparent) {
  constexpr std::size_t kLength = 55;
  if (traceparent.size() < kLength || traceparent[2] != '-' || traceparent[35] != '-') return {};
  return traceparent.substr(3, 32);
}

std::string_view protocol_name(const http::RequestHead& request) {
  if (request.version_major >= 2) return "HTTP/2";
  return request.version_minor == 0 ? "HTTP/1.0" : "HTTP/1.1";
}

std::uint64_t to_count(Nanoseconds value) {
  return value.count() < 0 ? 0 : static_cast<std::uint64_t>(value.count());
}

}  // namespace

RequestJournal::RequestJournal(WorkerState& worker, http::Exchange& exchange, std::uint64_t generation, SideTaken side)
    : worker_(worker),
      exchange_(exchange),
      generation_(generation),
      side_(side),
      grpc_status_(is_grpc(exchange.request()) ? sense::kNoGrpcStatus : sense::kNotGrpc) {
  worker_.shard.worker().requests_active.add();
}

void RequestJournal::attempted(std::uint32_t upstream, upstream::AttemptOutcome&& outcome) {
  ++attempts_;
  upstream_ = upstream;
  sense::FinishedAttempt finished;
  finished.upstream = upstream;
  finished.status = outcome.status;
  // An upstream is not to blame for what the client or we called off.
  if (outcome.error.origin == Origin::backend) finished.error = outcome.error.kind;
  finished.reused_connection = outcome.reused;
  finished.head_ns = to_count(outcome.head);
  if (outcome.grpc_status) grpc_status_ = *outcome.grpc_status;
  if (outcome.status != 0) answered_after_ = attempt_began_ - exchange_.started() + outcome.connect + outcome.head;
  worker_.shard.record(finished);
  last_ = std::move(outcome);
}

void RequestJournal::answered(std::uint16_t status, std::optional<std::uint8_t> grpc_status) {
  status_ = status;
  if (grpc_status) grpc_status_ = *grpc_status;
}

void RequestJournal::upgraded() {
  count_request(worker_.loop.precise_now() - exchange_.started());
}

void RequestJournal::tunnelled(const TunnelOutcome& outcome) {
  tunnel_ = outcome;
  error_ = outcome.error;
}

void RequestJournal::count_request(Nanoseconds duration) {
  counted_ = true;
  worker_.shard.worker().requests_active.subtract();
  sense::FinishedRequest finished;
  finished.route = rule_ == nullptr ? sense::kNoRoute : rule_->number;
  finished.status = status_;
  finished.request_bytes = exchange_.request_body_bytes();
  finished.response_bytes = exchange_.response_body_bytes();
  finished.duration_ns = to_count(duration);
  finished.grpc_status = grpc_status_;
  worker_.shard.record(finished);
  if (side_.transition != 0) tell_of_side(duration);
}

// What a request that ends after the transition would say comes too late for it.
void RequestJournal::tell_of_side(Nanoseconds duration) const {
  const std::optional<NewSide>& under_way = worker_.new_side;
  if (!under_way || under_way->number != side_.transition) return;
  const liminal::Ended ended{.status = status_,
                             .matched_rule = error_.kind != ErrorKind::no_route,
                             .client_left = error_.origin == Origin::client,
                             .cut_off = error_.kind != ErrorKind::none && error_.origin == Origin::backend,
                             .grpc_status = grpc_status_};
  under_way->ring->push(
      liminal::to_word({.side = side_.side,
                        .cell = side_.cell,
                        .failed = liminal::failed_request(ended),
                        .bucket = sense::log_bucket_of(to_count(answered_after_.value_or(duration)))}));
}

RequestJournal::~RequestJournal() {
  const Instant started = exchange_.started();
  const Nanoseconds duration = started == Instant{} ? Nanoseconds{} : worker_.loop.precise_now() - started;
  if (!counted_) count_request(duration);
  if (error_.kind != ErrorKind::none) worker_.shard.record(error_);
  if (worker_.access_log != nullptr) write_access_log(duration);
}

void RequestJournal::write_access_log(Nanoseconds duration) const {
  const http::RequestHead& request = exchange_.request();
  telemetry::RequestRecord record;
  record.start = worker_.loop.wall_now() - (worker_.loop.now() - exchange_.started());
  record.duration_ns = to_count(duration);
  record.client_address = exchange_.peer().ip_text();
  record.client_port = exchange_.peer().port();
  record.method = request.method_text;
  record.target = request.target;
  record.host = request.authority;
  record.protocol = protocol_name(request);
  record.status = status_;
  if (grpc_status_ < http::kGrpcStatusNames.size()) record.grpc_status = http::kGrpcStatusNames[grpc_status_];
  record.request_bytes = tunnel_ ? tunnel_->from_client : exchange_.request_body_bytes();
  record.response_bytes = tunnel_ ? tunnel_->from_backend : exchange_.response_body_bytes();
  record.reused = exchange_.reused_connection();
  record.attempts = attempts_;
  record.generation = generation_;
  if (queued_) record.queue_ns = to_count(*queued_);
  if (rule_ != nullptr) record.route = rule_->name;
  if (upstream_) {
    record.upstream = worker_.seats[*upstream_]->name;
    if (last_.address) record.upstream_address = *last_.address;
    if (last_.measured_connect) record.connect_ns = to_count(last_.connect);
    if (last_.status != 0) record.head_ns = to_count(last_.head);
  }
  if (error_.kind != ErrorKind::none) {
    record.error = answer_for(error_).proxy_status;
    record.error_detail = error_.detail.empty() ? name_of(error_.kind) : error_.detail;
  }
  for (const http::Field& field : request.fields) {
    switch (field.id) {
      case http::FieldId::referer:
        record.referer = field.value;
        break;
      case http::FieldId::user_agent:
        record.user_agent = field.value;
        break;
      case http::FieldId::traceparent:
        record.trace_id = trace_id_of(field.value);
        break;
      default:
        break;
    }
  }
  worker_.access_log->write(record);
}

}  // namespace dao::server

#include "dao/http/h2/client_stream.h"

#include <algorithm>
#include <utility>

#include "dao/http/h1/head_parser.h"
#include "dao/http/h1/message_io.h"
#include "dao/http/h1/syntax.h"

namespace dao::http::h2 {

namespace {

// The second block of a body and those after it.
constexpr std::size_t kBodyBlock = std::size_t{64} * 1024;

// RFC 9113 section 8.2.2: "trailers" is all that TE may say here. gRPC servers ask for it.
bool accepts_trailers(const RequestHead& head) {
  for (const Field& field : head.fields) {
    if (field.id != FieldId::te) continue;
    bool named = false;
    h1::for_each_element(field.value, [&named](std::string_view element) {
      if (equals_ignoring_case(element, "trailers")) named = true;
    });
    if (named) return true;
  }
  return false;
}

// What RST_STREAM means for the exchange (RFC 9113 section 7).
std::string_view reset_text(ErrorCode code) {
  switch (code) {
    case ErrorCode::no_error:
      return "stream reset: NO_ERROR";
    case ErrorCode::protocol_error:
      return "stream reset: PROTOCOL_ERROR";
    case ErrorCode::internal_error:
      return "stream reset: INTERNAL_ERROR";
    case ErrorCode::flow_control_error:
      return "stream reset: FLOW_CONTROL_ERROR";
    case ErrorCode::refused_stream:
      return "stream refused: REFUSED_STREAM";
    case ErrorCode::cancel:
      return "stream reset: CANCEL";
    case ErrorCode::enhance_your_calm:
      return "stream reset: ENHANCE_YOUR_CALM";
    case ErrorCode::inadequate_security:
      return "stream reset: INADEQUATE_SECURITY";
    case ErrorCode::http_1_1_required:
      return "stream reset: HTTP_1_1_REQUIRED";
    default:
      return "stream reset";
  }
}

// The request's head as HTTP/2 has it (RFC 9113 section 8.3.1), each field to `put`.
template <typename Put>
void for_each_field(const RequestHead& head, std::string_view base_path, bool secure, const Put& put) {
  std::string joined;
  std::string_view path = head.path;
  if (!base_path.empty() && path != "*") {  // "*" is about the server as a whole
    joined.reserve(base_path.size() + path.size());
    joined.append(base_path).append(path);
    path = joined;
  }
  const Field* host = head.find(FieldId::host);
  put({.name = ":method", .value = head.method_text});
  put({.name = ":scheme", .value = secure ? "https" : "http"});
  if (host != nullptr) put({.name = ":authority", .value = host->value});
  put({.name = ":path", .value = path});
  for (const Field& field : head.fields) {
    if (!field.dropped && field.id != FieldId::host && !is_hop_by_hop(field.id)) put(field);
  }
  if (accepts_trailers(head)) put({.name = "te", .value = "trailers", .id = FieldId::te});
}

Error malformed(std::string_view detail) {
  return {.origin = Origin::backend, .kind = ErrorKind::malformed, .sent = Sent::maybe, .detail = detail};
}

}  // namespace

ClientStream::ClientStream(std::shared_ptr<ClientSession> session)
    : session_(std::move(session)), body_(session_->buffers_, kBodyBlock) {}

ClientStream::~ClientStream() {
  session_->remove(*this);
  for (std::unique_ptr<FieldSection>* section : {&section_, &heads_, &current_, &trailer_section_, &request_}) {
    session_->sections_.give_back(std::move(*section));
  }
}

bool ClientStream::reusable(const ResponseHead& /*head*/) {
  return remote_ended_ && request_done_ && !failure_;
}

// --- the request -----------------------------------------------------------------------------------------------------

rt::Task<Result<>> ClientStream::send_request(const RequestHead& head, std::string_view base_path, BodyPiece first,
                                              std::span<const Field> trailers, Nanoseconds connecting,
                                              Nanoseconds /*stall*/, rt::Cancel* cancel) {
  const Instant deadline = session_->loop_.now() + connecting;
  while (!session_->connected_ && !failure_) {
    const rt::Wake wake = co_await outgoing_.wait(session_->loop_, deadline, cancel);
    if (wake == rt::Wake::ready) continue;
    co_return std::unexpected(h1::interrupted(wake, Origin::backend, ErrorKind::timeout_connect));
  }
  if (failure_) co_return std::unexpected(*failure_);
  co_return submit(head, base_path, first, trailers);
}

Result<> ClientStream::submit(const RequestHead& head, std::string_view base_path, BodyPiece first,
                              std::span<const Field> trailers) {
  Connection& connection = session_->connection_;
  if (!connection.may_open()) {
    session_->retire();
    return std::unexpected(
        Error{.origin = Origin::backend, .kind = ErrorKind::closed, .detail = "the connection takes no more requests"});
  }
  last_ = first.last;
  trailers_out_ = trailers;
  is_head_ = head.method == Method::head;
  bodiless_ = first.last && first.bytes.empty() && trailers.empty();
  if (!bodiless_) first_.assign(first.bytes.data(), first.bytes.size());
  if (session_->waiting_.empty() && session_->may_begin()) {
    connection.begin_head();
    for_each_field(head, base_path, session_->settings_.secure,
                   [&connection](const Field& field) { connection.add_field(field); });
    end_head();
  } else {
    request_ = session_->sections_.take();
    for_each_field(head, base_path, session_->settings_.secure, [this](const Field& field) {
      request_->add(field.name, field.value, field.id, field.never_indexed);
    });
    session_->waiting_.push_back(this);
  }
  session_->wake_writer();
  return {};
}

void ClientStream::begin() {
  Connection& connection = session_->connection_;
  connection.begin_head();
  for (const FieldSection::Entry& entry : request_->entries) {
    connection.add_field({.name = request_->name(entry),
                          .value = request_->value(entry),
                          .id = entry.id,
                          .never_indexed = entry.never_indexed});
  }
  end_head();
}

void ClientStream::end_head() {
  Connection& connection = session_->connection_;
  StreamState& state = connection.open(this, is_head_);
  id_ = state.id;
  in_output_ = session_->outputs_taken_;
  session_->earn_credit(ClientSession::kCreditsForRequest);
  if (!bodiless_) connection.start_body(state);
  connection.end_head(state, bodiless_);
}

Sent ClientStream::sent() const {
  return id_ != 0 && in_output_ < session_->outputs_taken_ ? Sent::maybe : Sent::nothing;
}

DataOffer ClientStream::offer(std::size_t most) const {
  const std::size_t together = first_taken_ < first_.size() ? first_.size() - first_taken_ : piece_.size();
  const std::size_t bytes = std::min(most, together);
  const bool last = last_ && bytes == unsent();
  if (bytes == 0 && !last) return {.nothing_yet = true};
  return {.bytes = bytes, .last = last, .trailers = last ? trailers_out_ : std::span<const Field>{}};
}

std::span<const char> ClientStream::take(std::size_t bytes) {
  std::span<const char> taken;
  if (first_taken_ < first_.size()) {
    taken = std::span<const char>{first_}.subspan(first_taken_, bytes);
    first_taken_ += bytes;
  } else {
    taken = piece_.first(bytes);
    piece_ = piece_.subspan(bytes);
  }
  taken_ += bytes;
  if (unsent() == 0) outgoing_.set();
  return taken;
}

void ClientStream::request_ended() {
  request_done_ = true;
  outgoing_.set();
}

rt::Task<Result<>> ClientStream::send_body(BodyPiece piece, std::span<const Field> trailers, Nanoseconds stall,
                                           rt::Cancel* cancel) {
  piece_ = piece.bytes;
  last_ = piece.last;
  trailers_out_ = trailers;
  if (!failure_ && !closed_) {
    session_->connection_.resume(id_);
    session_->wake_writer();
  }
  std::optional<Error> error;
  while (!piece_.empty() && !error) {
    if (failure_) {
      error = *failure_;
    } else if (closed_) {
      error = Error{.origin = Origin::backend,
                    .kind = ErrorKind::closed,
                    .sent = Sent::maybe,
                    .detail = "the backend has answered and reads no more"};
    } else {
      const std::uint64_t before = taken_;
      const rt::Wake wake = co_await outgoing_.wait(session_->loop_, session_->loop_.now() + stall, cancel);
      if (wake == rt::Wake::ready || (wake == rt::Wake::timed_out && taken_ != before)) continue;
      error = h1::interrupted(wake, Origin::backend, ErrorKind::timeout_write).with_sent(Sent::maybe);
    }
  }
  if (!error) co_return Result<>{};
  piece_ = {};  // the caller's bytes go; this request is never completed
  last_ = false;
  co_return std::unexpected(*error);
}

// --- the response ----------------------------------------------------------------------------------------------------

rt::Task<Result<>> ClientStream::read_head(ResponseHead& head, Method request_method, const HeadLimits& /*limits*/,
                                           Instant deadline, rt::Cancel* cancel) {
  while (heads_ == nullptr) {
    if (failure_) co_return std::unexpected(*failure_);
    const rt::Wake wake = co_await incoming_.wait(session_->loop_, deadline, cancel);
    if (wake == rt::Wake::ready) continue;
    co_return std::unexpected(h1::interrupted(wake, Origin::backend, ErrorKind::timeout_head).with_sent(sent()));
  }
  co_return take_head(head, request_method);
}

Result<> ClientStream::take_head(ResponseHead& head, Method request_method) {
  session_->sections_.give_back(std::exchange(current_, std::move(heads_)));
  heads_ = std::move(current_->next);
  head.clear();
  head.version_major = 2;
  head.version_minor = 0;
  head.status = current_->status;
  std::optional<std::uint64_t> length;
  const bool never_a_body = head.status < 200 || head.status == 204;
  for (const FieldSection::Entry& entry : current_->entries) {
    const std::string_view name = current_->name(entry);
    const std::string_view value = current_->value(entry);
    const FieldId id = entry.id;
    if (id == FieldId::content_length) {
      length = h1::parse_length(value);
      if (!length) return std::unexpected(malformed("invalid Content-Length (RFC 9110 8.6)"));
      if (never_a_body) continue;  // RFC 9110 section 8.6: such a response must not say a length
    }
    head.fields.push_back({.name = name, .value = value, .id = id, .never_indexed = entry.never_indexed});
  }
  if (head.status < 200) return {};
  no_body_ = never_a_body || head.status == 304 || request_method == Method::head;
  if (no_body_ || (current_->ends_stream && !length)) {
    head.framing = {};
  } else if (length) {
    head.framing = *length > 0 ? BodyFraming{BodyFraming::Kind::length, *length} : BodyFraming{};
  } else {
    head.framing = {BodyFraming::Kind::chunked, 0};
  }
  return {};
}

void ClientStream::start_body(const ResponseHead& /*head*/, const HeadLimits& /*limits*/) {}

Result<BodyPiece> ClientStream::take_buffered_body() {
  if (handed_out_ > 0) {
    body_.consume(handed_out_);
    session_->consumed(id_, std::exchange(handed_out_, 0));
  }
  if (no_body_) return BodyPiece{{}, true};
  const std::span<const char> bytes = body_.front();
  if (bytes.empty() && !remote_ended_ && failure_) return std::unexpected(*failure_);
  handed_out_ = bytes.size();
  return BodyPiece{bytes, remote_ended_ && bytes.size() == body_.size()};
}

rt::Task<Result<BodyPiece>> ClientStream::read_body(Instant deadline, rt::Cancel* cancel) {
  for (;;) {
    Result<BodyPiece> taken = take_buffered_body();
    if (!taken || taken->last || !taken->bytes.empty()) co_return taken;
    const rt::Wake wake = co_await incoming_.wait(session_->loop_, deadline, cancel);
    if (wake == rt::Wake::ready) continue;
    co_return std::unexpected(h1::interrupted(wake, Origin::backend, ErrorKind::timeout_body).with_sent(Sent::maybe));
  }
}

// --- what the connection tells ---------------------------------------------------------------------------------------

void ClientStream::section_began() {
  section_ = session_->sections_.take();
  section_bytes_ = 0;
}

bool ClientStream::add_field(const HpackField& field, FieldId id) {
  const auto [name, value] = std::pair{field.name, field.value};
  const HeadLimits& limits = session_->settings_.response_limits;
  if (name == ":status") {
    // A status there is, as SectionRules has seen to.
    section_->status = static_cast<std::uint16_t>((value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0'));
    return true;
  }
  constexpr std::size_t kOverhead = 4;  // as a line of HTTP/1 would have, so that the limit means the same
  section_bytes_ += name.size() + value.size() + kOverhead;
  if (section_bytes_ > limits.head_max_bytes || section_->entries.size() >= limits.fields_max) {
    fail({.origin = Origin::backend,
          .kind = final_head_came_ ? ErrorKind::malformed : ErrorKind::head_too_large,
          .sent = Sent::maybe,
          .detail = final_head_came_ ? "trailers too large" : "head too large"});
    return false;
  }
  section_->add(name, value, id, field.never_indexed);
  return true;
}

bool ClientStream::section_complete(bool ends_stream) {
  if (failure_) return true;
  section_->ends_stream = ends_stream;
  if (final_head_came_) {
    trailer_section_ = std::move(section_);
    for (const FieldSection::Entry& entry : trailer_section_->entries) {
      const std::string_view name = trailer_section_->name(entry);
      const Field field{
          .name = name, .value = trailer_section_->value(entry), .id = entry.id, .never_indexed = entry.never_indexed};
      if (h1::allowed_in_trailer(field)) trailers_.push_back(field);
    }
  } else {
    final_head_came_ = section_->status >= 200;
    if (!final_head_came_ && ++interim_heads_ > session_->settings_.interim_responses_max) {
      fail(malformed("too many interim responses"));
      return false;
    }
    std::unique_ptr<FieldSection>* last = &heads_;
    while (*last != nullptr) last = &(*last)->next;
    *last = std::move(section_);
  }
  if (ends_stream) {
    remote_ended();
  } else {
    incoming_.set();
  }
  return true;
}

void ClientStream::add_body(std::span<const char> bytes) {
  body_.push(bytes);
  incoming_.set();
}

void ClientStream::remote_ended() {
  remote_ended_ = true;
  incoming_.set();
}

void ClientStream::stream_closed(ErrorCode code, bool by_peer) {
  closed_ = true;
  if (by_peer) reset_code_ = code;
  incoming_.set();
  outgoing_.set();
  if (failure_ || remote_ended_) return;
  if (code == ErrorCode::refused_stream && !final_head_came_) {
    fail({.origin = Origin::backend,
          .kind = by_peer ? ErrorKind::stream_reset : ErrorKind::closed,
          .sent = Sent::nothing,
          .detail = by_peer ? reset_text(code) : "not processed, says the backend's GOAWAY"});
    return;
  }
  if (!by_peer && code != ErrorCode::refused_stream) {
    fail(malformed("the answer violates HTTP/2 (RFC 9113 5)"));  // its window, for example
    return;
  }
  fail({.origin = Origin::backend,
        .kind = final_head_came_ ? ErrorKind::incomplete : ErrorKind::stream_reset,
        .sent = Sent::maybe,
        .detail = reset_text(code)});
}

void ClientStream::fail(Error error) {
  if (!failure_) failure_ = error;
  incoming_.set();
  outgoing_.set();
}

}  // namespace dao::http::h2

#include "dao/http/h2/client_stream.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "dao/http/h1/head_parser.h"
#include "dao/http/h1/message_io.h"
#include "dao/http/h1/syntax.h"

namespace dao::http::h2 {

namespace {

// The second block of a body and those after it.
constexpr std::size_t kBodyBlock = std::size_t{64} * 1024;

nghttp2_nv field_of(std::string_view name, std::string_view value) {
  const auto bytes = [](std::string_view text) {
    return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));  // nghttp2 only reads and copies
  };
  return {bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

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
std::string_view reset_text(std::uint32_t code) {
  switch (code) {
    case NGHTTP2_NO_ERROR:
      return "stream reset: NO_ERROR";
    case NGHTTP2_PROTOCOL_ERROR:
      return "stream reset: PROTOCOL_ERROR";
    case NGHTTP2_INTERNAL_ERROR:
      return "stream reset: INTERNAL_ERROR";
    case NGHTTP2_FLOW_CONTROL_ERROR:
      return "stream reset: FLOW_CONTROL_ERROR";
    case NGHTTP2_REFUSED_STREAM:
      return "stream refused: REFUSED_STREAM";
    case NGHTTP2_CANCEL:
      return "stream reset: CANCEL";
    case NGHTTP2_ENHANCE_YOUR_CALM:
      return "stream reset: ENHANCE_YOUR_CALM";
    case NGHTTP2_INADEQUATE_SECURITY:
      return "stream reset: INADEQUATE_SECURITY";
    case NGHTTP2_HTTP_1_1_REQUIRED:
      return "stream reset: HTTP_1_1_REQUIRED";
    default:
      return "stream reset";
  }
}

Error malformed(std::string_view detail) {
  return {.origin = Origin::backend, .kind = ErrorKind::malformed, .sent = Sent::maybe, .detail = detail};
}

}  // namespace

ClientStream::ClientStream(std::shared_ptr<ClientSession> session) : session_(std::move(session)) {}

ClientStream::~ClientStream() {
  session_->remove(*this);
  for (const Block& block : blocks_) session_->buffers_.release(block.data, block.size);
  for (FieldSection* section : {&section_, &current_, &trailer_section_}) {
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
  std::vector<nghttp2_nv>& fields = session_->fields_scratch_;
  fields.clear();
  std::string joined;
  std::string_view path = head.path;
  if (!base_path.empty() && path != "*") {  // "*" is about the server as a whole
    joined.reserve(base_path.size() + path.size());
    joined.append(base_path).append(path);
    path = joined;
  }
  const Field* host = head.find(FieldId::host);
  fields.push_back(field_of(":method", head.method_text));
  fields.push_back(field_of(":scheme", session_->settings_.secure ? "https" : "http"));
  if (host != nullptr) fields.push_back(field_of(":authority", host->value));
  fields.push_back(field_of(":path", path));
  for (const Field& field : head.fields) {
    if (field.dropped || field.id == FieldId::host || is_hop_by_hop(field.id)) continue;
    fields.push_back(field_of(field.name, field.value));
  }
  if (accepts_trailers(head)) fields.push_back(field_of("te", "trailers"));

  last_ = first.last;
  trailers_out_ = trailers;
  const bool bodiless = first.last && first.bytes.empty() && trailers.empty();
  nghttp2_data_provider provider{};
  provider.read_callback = [](nghttp2_session* session, std::int32_t id, std::uint8_t* into, std::size_t size,
                              std::uint32_t* flags, nghttp2_data_source*, void*) -> ssize_t {
    auto* stream = static_cast<ClientStream*>(nghttp2_session_get_stream_user_data(session, id));
    if (stream == nullptr) return NGHTTP2_ERR_DEFERRED;  // the reset is on its way
    return stream->fill_frame(into, size, *flags);
  };
  if (bodiless) {
    request_done_ = true;
  } else {
    first_.assign(first.bytes.data(), first.bytes.size());
  }
  const std::int32_t id = nghttp2_submit_request(session_->session_, nullptr, fields.data(), fields.size(),
                                                 bodiless ? nullptr : &provider, this);
  if (id < 0) {
    session_->retire();
    return std::unexpected(
        Error{.origin = Origin::backend, .kind = ErrorKind::closed, .detail = "the connection takes no more requests"});
  }
  id_ = id;
  session_->wake_writer();
  return {};
}

ssize_t ClientStream::fill_frame(std::uint8_t* into, std::size_t size, std::uint32_t& flags) {
  std::size_t written = 0;
  if (first_taken_ < first_.size()) {
    written = first_.copy(reinterpret_cast<char*>(into), size, first_taken_);
    first_taken_ += written;
    if (first_taken_ == first_.size()) {
      first_.clear();
      first_taken_ = 0;
    }
  }
  if (first_.empty()) {
    const std::size_t count = std::min(size - written, piece_.size());
    if (count > 0) std::memcpy(into + written, piece_.data(), count);
    piece_ = piece_.subspan(count);
    written += count;
  }
  taken_ += written;
  const bool all_taken = first_.empty() && piece_.empty();
  if (all_taken && last_) {
    flags |= NGHTTP2_DATA_FLAG_EOF;
    request_done_ = true;
    if (!trailers_out_.empty()) {
      std::vector<nghttp2_nv> fields;
      for (const Field& field : trailers_out_) {
        if (!field.dropped) fields.push_back(field_of(field.name, field.value));
      }
      if (!fields.empty()) {
        flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (nghttp2_submit_trailer(session_->session_, id_, fields.data(), fields.size()) != 0) {
          return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        }
      }
    }
  }
  if (all_taken) outgoing_.set();
  if (written == 0 && (flags & NGHTTP2_DATA_FLAG_EOF) == 0) {
    deferred_ = true;
    return NGHTTP2_ERR_DEFERRED;
  }
  return static_cast<ssize_t>(written);
}

rt::Task<Result<>> ClientStream::send_body(BodyPiece piece, std::span<const Field> trailers, Nanoseconds stall,
                                           rt::Cancel* cancel) {
  piece_ = piece.bytes;
  last_ = piece.last;
  trailers_out_ = trailers;
  if (!failure_ && !closed_ && deferred_ && something_to_send()) {
    deferred_ = false;
    nghttp2_session_resume_data(session_->session_, id_);
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
  while (heads_.empty()) {
    if (failure_) co_return std::unexpected(*failure_);
    const rt::Wake wake = co_await incoming_.wait(session_->loop_, deadline, cancel);
    if (wake == rt::Wake::ready) continue;
    co_return std::unexpected(h1::interrupted(wake, Origin::backend, ErrorKind::timeout_head).with_sent(sent_));
  }
  co_return take_head(head, request_method);
}

Result<> ClientStream::take_head(ResponseHead& head, Method request_method) {
  session_->sections_.give_back(std::exchange(current_, std::move(heads_.front())));
  heads_.erase(heads_.begin());
  head.clear();
  head.version_major = 2;
  head.version_minor = 0;
  head.status = current_.status;
  std::optional<std::uint64_t> length;
  const bool never_a_body = head.status < 200 || head.status == 204;
  for (const FieldSection::Entry& entry : current_.entries) {
    const std::string_view name = current_.name(entry);
    const std::string_view value = current_.value(entry);
    const FieldId id = identify_field(name);
    if (id == FieldId::content_length) {
      length = h1::parse_length(value);
      if (!length) return std::unexpected(malformed("invalid Content-Length (RFC 9110 8.6)"));
      if (never_a_body) continue;  // RFC 9110 section 8.6: such a response must not say a length
    }
    head.fields.push_back({name, value, id});
  }
  if (head.status < 200) return {};
  no_body_ = never_a_body || head.status == 304 || request_method == Method::head;
  if (no_body_ || (current_.ends_stream && !length)) {
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
    Block& front = blocks_.front();
    front.begin += handed_out_;
    session_->consumed(id_, std::exchange(handed_out_, 0));
    if (front.begin == front.end) {
      session_->buffers_.release(front.data, front.size);
      blocks_.erase(blocks_.begin());
    }
  }
  if (no_body_) return BodyPiece{{}, true};
  if (blocks_.empty()) {
    if (remote_ended_) return BodyPiece{{}, true};
    if (failure_) return std::unexpected(*failure_);
    return BodyPiece{{}, false};
  }
  const Block& front = blocks_.front();
  handed_out_ = front.end - front.begin;
  return BodyPiece{{front.data + front.begin, handed_out_}, remote_ended_ && blocks_.size() == 1};
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

bool ClientStream::add_field(std::string_view name, std::string_view value) {
  const HeadLimits& limits = session_->settings_.response_limits;
  if (name == ":status") {
    // nghttp2 lets three digits through only.
    section_.status = static_cast<std::uint16_t>((value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0'));
    if (section_.status >= 100 && section_.status <= 599) return true;
    fail(malformed("invalid :status (RFC 9110 15)"));
    return false;
  }
  constexpr std::size_t kOverhead = 4;  // as a line of HTTP/1 would have, so that the limit means the same
  section_bytes_ += name.size() + value.size() + kOverhead;
  if (section_bytes_ > limits.head_max_bytes || section_.entries.size() >= limits.fields_max) {
    fail({.origin = Origin::backend,
          .kind = final_head_came_ ? ErrorKind::malformed : ErrorKind::head_too_large,
          .sent = Sent::maybe,
          .detail = final_head_came_ ? "trailers too large" : "head too large"});
    return false;
  }
  // The same text must do as a line of HTTP/1: what a client could read differently does not pass.
  const char* const value_end = value.data() + value.size();
  if (!h1::is_token(name) || h1::skip_field_value(value.data(), value_end) != value_end || h1::trim(value) != value) {
    fail(malformed("invalid field (RFC 9113 8.2.1)"));
    return false;
  }
  section_.add(name, value);
  return true;
}

bool ClientStream::section_complete(bool ends_stream) {
  if (failure_) return true;
  section_.ends_stream = ends_stream;
  if (final_head_came_) {
    trailer_section_ = std::move(section_);
    for (const FieldSection::Entry& entry : trailer_section_.entries) {
      const std::string_view name = trailer_section_.name(entry);
      const Field field{name, trailer_section_.value(entry), identify_field(name)};
      if (h1::allowed_in_trailer(field)) trailers_.push_back(field);
    }
  } else {
    final_head_came_ = section_.status >= 200;
    if (!final_head_came_ && heads_.size() > session_->settings_.interim_responses_max) {
      fail(malformed("too many interim responses"));
      return false;
    }
    heads_.push_back(std::move(section_));
  }
  section_ = {};
  if (ends_stream) {
    remote_ended();
  } else {
    incoming_.set();
  }
  return true;
}

void ClientStream::add_body(std::span<const char> bytes) {
  while (!bytes.empty()) {
    if (blocks_.empty() || blocks_.back().end == blocks_.back().size) {
      std::size_t size = kBodyBlock;
      if (blocks_.empty()) size = bytes.size() <= BufferPool::kTiny ? BufferPool::kTiny : BufferPool::kSmall;
      blocks_.push_back({session_->buffers_.acquire(size), size, 0, 0});
    }
    Block& back = blocks_.back();
    const std::size_t count = std::min(bytes.size(), back.size - back.end);
    std::memcpy(back.data + back.end, bytes.data(), count);
    back.end += count;
    bytes = bytes.subspan(count);
  }
  incoming_.set();
}

void ClientStream::remote_ended() {
  remote_ended_ = true;
  incoming_.set();
}

void ClientStream::stream_closed(std::uint32_t error_code) {
  closed_ = true;
  incoming_.set();
  outgoing_.set();
  if (failure_ || remote_ended_) return;
  const std::optional<std::uint32_t> code = reset_code_;
  if (!code && error_code != NGHTTP2_REFUSED_STREAM) {
    // Nobody but us ended it: nghttp2 refused what came.
    fail(malformed("the answer violates HTTP/2 (RFC 9113 8.1)"));
    return;
  }
  if (error_code == NGHTTP2_REFUSED_STREAM && !final_head_came_) {
    fail({.origin = Origin::backend,
          .kind = code ? ErrorKind::stream_reset : ErrorKind::closed,
          .sent = Sent::nothing,
          .detail = code ? reset_text(error_code) : "not processed, says the backend's GOAWAY"});
    return;
  }
  fail({.origin = Origin::backend,
        .kind = final_head_came_ ? ErrorKind::incomplete : ErrorKind::stream_reset,
        .sent = Sent::maybe,
        .detail = reset_text(error_code)});
}

void ClientStream::fail(Error error) {
  if (!failure_) failure_ = error;
  incoming_.set();
  outgoing_.set();
}

}  // namespace dao::http::h2

#include "dao/http/h2/client_session.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <new>
#include <utility>

#include "dao/http/h1/message_io.h"
#include "dao/http/h2/client_stream.h"
#include "dao/http/h2/session_memory.h"
#include "dao/rt/join.h"

namespace dao::http::h2 {

namespace {

// Frames that bring nothing (RFC 9113 section 10.5): so many may come at once, beyond those that useful frames earn,
// and so many each second.
constexpr int kCreditsAtFirst = 1000;
constexpr int kCreditsMost = 10'000;
constexpr int kCreditsEachSecond = 200;
constexpr int kCreditsForRequest = 8;
constexpr int kCreditsForBody = 2;  // bytes that came: the frame that brought them cost one
constexpr int kCreditsForData = 4;  // the backend answers DATA with WINDOW_UPDATE, for the stream and the connection

// For the reader, when nothing can be written any more.
constexpr Nanoseconds kLastWords = std::chrono::seconds(1);

Error flaw(std::string_view detail) {
  return {.origin = Origin::backend, .kind = ErrorKind::malformed, .sent = Sent::maybe, .detail = detail};
}

// Made once; nghttp2 copies what it needs.
struct Options {
  nghttp2_option* option = nullptr;
  Options() {
    if (nghttp2_option_new(&option) != 0) throw std::bad_alloc();
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    constexpr std::size_t kAcknowledgements = 64;  // queued at once; more is a flood
    nghttp2_option_set_max_outbound_ack(option, kAcknowledgements);
    nghttp2_option_set_max_reserved_remote_streams(option, 0);
    // Frames of unknown types are ignored, but counted: only so does nghttp2 tell of them.
    constexpr unsigned kFirstUnknown = 0x0a;
    for (unsigned type = kFirstUnknown; type <= 0xff; ++type) {
      nghttp2_option_set_user_recv_extension_type(option, static_cast<std::uint8_t>(type));
    }
  }
  Options(const Options&) = delete;
  Options& operator=(const Options&) = delete;
  ~Options() { nghttp2_option_del(option); }
};

}  // namespace

struct Callbacks {
  nghttp2_session_callbacks* table = nullptr;

  static const Callbacks& all() {
    static const Callbacks callbacks;
    return callbacks;
  }
  Callbacks() {
    if (nghttp2_session_callbacks_new(&table) != 0) throw std::bad_alloc();
    nghttp2_session_callbacks_set_on_begin_frame_callback(table, on_begin_frame);
    nghttp2_session_callbacks_set_unpack_extension_callback(table, on_unknown_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(table, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(table, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(table, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(table, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(table, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(table, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(table, on_frame_sent);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(table, on_frame_not_sent);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(table, on_invalid_frame);
  }
  Callbacks(const Callbacks&) = delete;
  Callbacks& operator=(const Callbacks&) = delete;
  ~Callbacks() { nghttp2_session_callbacks_del(table); }

  static ClientSession& session_of(void* user) { return *static_cast<ClientSession*>(user); }
  static ClientStream* stream_of(nghttp2_session* session, std::int32_t id) {
    return static_cast<ClientStream*>(nghttp2_session_get_stream_user_data(session, id));
  }

  static int on_begin_frame(nghttp2_session* session, const nghttp2_frame_hd* frame, void* user) {
    ClientSession& self = session_of(user);
    if (frame->type == NGHTTP2_PUSH_PROMISE) {
      self.flaw_ = flaw("PUSH_PROMISE, which we had refused (RFC 9113 8.4)");
      nghttp2_session_terminate_session(session, NGHTTP2_PROTOCOL_ERROR);
    } else if (!self.spend_credit()) {
      self.flaw_ = flaw("too many frames that bring nothing (RFC 9113 10.5)");
      nghttp2_session_terminate_session(session, NGHTTP2_ENHANCE_YOUR_CALM);
    }
    return 0;
  }

  static int on_unknown_frame(nghttp2_session*, void**, const nghttp2_frame_hd*, void*) { return NGHTTP2_ERR_CANCEL; }

  static int on_begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void*) {
    if (ClientStream* stream = stream_of(session, frame->hd.stream_id)) stream->section_began();
    return 0;
  }

  static std::string_view text(const std::uint8_t* bytes, std::size_t size) {
    return {reinterpret_cast<const char*>(bytes), size};
  }

  static int on_header(nghttp2_session* session, const nghttp2_frame* frame, const std::uint8_t* name,
                       std::size_t name_size, const std::uint8_t* value, std::size_t value_size, std::uint8_t, void*) {
    ClientStream* stream = stream_of(session, frame->hd.stream_id);
    if (stream == nullptr || stream->add_field(text(name, name_size), text(value, value_size))) return 0;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;  // resets the stream; the decoder goes on
  }

  static int on_invalid_header(nghttp2_session* session, const nghttp2_frame* frame, const std::uint8_t*, std::size_t,
                               const std::uint8_t*, std::size_t, std::uint8_t, void*) {
    if (ClientStream* stream = stream_of(session, frame->hd.stream_id)) {
      stream->fail(flaw("invalid field (RFC 9113 8.2.1)"));
    }
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }

  static int on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    ClientSession& self = session_of(user);
    const bool ends_stream = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    ClientStream* stream = frame->hd.stream_id != 0 ? stream_of(session, frame->hd.stream_id) : nullptr;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
        if (stream != nullptr && !stream->section_complete(ends_stream)) {
          nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_ENHANCE_YOUR_CALM);
        }
        break;
      case NGHTTP2_DATA:
        if (stream != nullptr && ends_stream) stream->remote_ended();
        break;
      case NGHTTP2_RST_STREAM:
        if (stream != nullptr) stream->reset_code_ = frame->rst_stream.error_code;
        break;
      case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) self.ping_outstanding_ = false;
        break;
      default:
        break;
    }
    return 0;
  }

  static int on_data(nghttp2_session* session, std::uint8_t, std::int32_t stream_id, const std::uint8_t* bytes,
                     std::size_t size, void* user) {
    nghttp2_session_consume_connection(session, size);
    if (ClientStream* stream = stream_of(session, stream_id)) {
      if (size > 0) session_of(user).earn_credit(kCreditsForBody);
      stream->add_body({reinterpret_cast<const char*>(bytes), size});
    } else {
      nghttp2_session_consume_stream(session, stream_id, size);
    }
    return 0;
  }

  static int on_stream_close(nghttp2_session* session, std::int32_t stream_id, std::uint32_t error_code, void*) {
    if (ClientStream* stream = stream_of(session, stream_id)) stream->stream_closed(error_code);
    return 0;
  }

  static int on_frame_sent(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    ClientSession& self = session_of(user);
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
        if (ClientStream* stream = stream_of(session, frame->hd.stream_id)) stream->sent_ = Sent::maybe;
        self.earn_credit(kCreditsForRequest);
        break;
      case NGHTTP2_DATA:
        self.earn_credit(kCreditsForData);
        break;
      case NGHTTP2_GOAWAY:
        if (frame->goaway.error_code != NGHTTP2_NO_ERROR && !self.flaw_) {
          self.flaw_ = flaw("the backend violates HTTP/2 (RFC 9113 5.4.1)");
        }
        break;
      default:
        break;
    }
    return 0;
  }

  // A request that waited for its turn, when GOAWAY came.
  static int on_frame_not_sent(nghttp2_session* session, const nghttp2_frame* frame, int, void*) {
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    if (ClientStream* stream = stream_of(session, frame->hd.stream_id)) {
      stream->closed_ = true;
      stream->fail({.origin = Origin::backend,
                    .kind = ErrorKind::closed,
                    .sent = stream->sent_,
                    .detail = "the connection takes no more requests"});
    }
    return 0;
  }

  static int on_invalid_frame(nghttp2_session* session, const nghttp2_frame* frame, int, void*) {
    if (frame->hd.stream_id == 0) return 0;
    if (ClientStream* stream = stream_of(session, frame->hd.stream_id)) {
      stream->fail(flaw("the answer violates HTTP/2 (RFC 9113 8.1)"));
    }
    return 0;
  }
};

std::shared_ptr<ClientSession> ClientSession::start(rt::Loop& loop, std::unique_ptr<net::Stream> stream,
                                                    BufferPool& buffers, const ClientSettings& settings) {
  std::shared_ptr<ClientSession> session(new ClientSession(loop, std::move(stream), buffers, settings));
  loop.spawn(run(session));
  return session;
}

ClientSession::ClientSession(rt::Loop& loop, std::unique_ptr<net::Stream> stream, BufferPool& buffers,
                             const ClientSettings& settings)
    : loop_(loop),
      stream_(std::move(stream)),
      buffers_(buffers),
      settings_(settings),
      last_read_(loop.now()),
      idle_since_(loop.now()),
      credits_(kCreditsAtFirst),
      credits_at_(loop.now()) {
  static const Options options;
  if (nghttp2_session_client_new3(&session_, Callbacks::all().table, this, options.option, session_memory()) != 0) {
    throw std::bad_alloc();
  }
  const std::array<nghttp2_settings_entry, 3> ours = {{
      {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, static_cast<std::uint32_t>(kStreamWindow)},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<std::uint32_t>(settings_.response_limits.head_max_bytes)},
  }};
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, ours.data(), ours.size());
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, static_cast<std::int32_t>(kConnectionWindow));
}

ClientSession::~ClientSession() {
  assert(streams_.empty());
  release_out();
  nghttp2_session_del(session_);
}

// --- exchanges -------------------------------------------------------------------------------------------------------

std::unique_ptr<ClientStream> ClientSession::open() {
  auto stream = std::make_unique<ClientStream>(shared_from_this());
  if (streams_.empty()) busy_since_ = loop_.now();
  stream->slot_ = streams_.size();
  streams_.push_back(stream.get());
  wake_writer();  // its timer is another one now
  return stream;
}

void ClientSession::remove(ClientStream& stream) {
  streams_[stream.slot_] = streams_.back();
  streams_[stream.slot_]->slot_ = stream.slot_;
  streams_.pop_back();
  if (ended_) return;
  if (stream.id_ != 0) {
    nghttp2_session_set_stream_user_data(session_, stream.id_, nullptr);
    if (!stream.closed_) nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream.id_, NGHTTP2_CANCEL);
  }
  if (streams_.empty()) {
    idle_since_ = loop_.now();
    if (!connected_) close();  // nobody waits for the connect any more
  }
  wake_writer();
}

void ClientSession::consumed(std::int32_t stream_id, std::size_t bytes) {
  if (ended_) return;
  nghttp2_session_consume_stream(session_, stream_id, bytes);
  if (nghttp2_session_want_write(session_) != 0) wake_writer();
}

bool ClientSession::usable() const {
  return !ended_ && !retired_ && !flaw_ && !ending_.requested() && !(stream_->peer_closed()) &&
         nghttp2_session_check_request_allowed(session_) != 0;
}

bool ClientSession::has_room() const {
  const std::size_t theirs = nghttp2_session_get_remote_settings(session_, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
  return streams_.size() < std::min(settings_.max_streams, theirs);
}

void ClientSession::retire() {
  retired_ = true;
  wake_writer();
}

void ClientSession::close() {
  closed_by_us_ = true;
  ending_.request();
}

void ClientSession::fail_streams(const Error& error) {
  for (ClientStream* stream : streams_) {
    stream->closed_ = true;
    Error own = error.with_sent(stream->sent_);
    if (stream->final_head_came_ && own.kind != ErrorKind::malformed) own.kind = ErrorKind::incomplete;
    if (!stream->remote_ended_) {
      stream->fail(own);
    } else {
      stream->outgoing_.set();
    }
  }
}

// --- the connection's task -------------------------------------------------------------------------------------------

rt::Task<> ClientSession::run(std::shared_ptr<ClientSession> self) {
  auto both = rt::join(rt::racing(self->read_frames(), self->ending_), rt::racing(self->write_frames(), self->ending_));
  const auto [reading, writing] = co_await std::move(both);
  self->ended_ = true;
  Error error{.origin = Origin::backend, .kind = ErrorKind::closed, .detail = "the connection was closed"};
  // Whoever came to an end by itself knows why.
  if (self->flaw_) {
    error = *self->flaw_;
  } else if (!reading && reading.error().kind != ErrorKind::cancelled) {
    error = self->connection_error(reading.error());
  } else if (!writing && writing.error().kind != ErrorKind::cancelled) {
    error = self->connection_error(writing.error());
  } else if (self->closed_by_us_) {
    error = Error{.origin = Origin::us, .kind = ErrorKind::cancelled};
  }
  self->fail_streams(error);
  self->release_out();
  self->stream_.reset();
}

Error ClientSession::connection_error(Error error) const {
  if (connected_ || error.origin != Origin::backend) return error;
  // What a socket that is still connecting fails with belongs to the connect.
  if (error.sys_errno == ETIMEDOUT) error.kind = ErrorKind::timeout_connect;
  if (error.kind == ErrorKind::io || error.kind == ErrorKind::reset || error.kind == ErrorKind::closed) {
    error.kind = ErrorKind::connect_failed;
  }
  error.sent = Sent::nothing;
  return error;
}

rt::Task<Result<>> ClientSession::read_frames() {
  bool large = false;
  for (;;) {
    bool filled = false;
    if (stream_->may_read()) {
      const ScratchBlock block(buffers_, large ? BufferPool::kLarge : BufferPool::kSmall);
      const std::span<char> room{block.begin(), large ? BufferPool::kLarge : BufferPool::kSmall};
      for (;;) {
        const std::optional<Result<std::size_t>> got = h1::try_read_some(*stream_, room, Origin::backend);
        if (!got) break;
        if (!*got) co_return std::unexpected(got->error());
        if (**got == 0) {
          co_return std::unexpected(Error{
              .origin = Origin::backend, .kind = ErrorKind::closed, .detail = "the backend closed the connection"});
        }
        filled = filled || **got == room.size();
        last_read_ = loop_.now();
        const Result<> understood = receive(room.first(**got));
        if (!understood) co_return understood;
        if (flaw_ && blocked_) co_return std::unexpected(*flaw_);  // it does not even take our GOAWAY
      }
    }
    large = filled;
    if (nghttp2_session_want_write(session_) != 0 || nghttp2_session_want_read(session_) == 0) wake_writer();
    const rt::Wake wake = co_await stream_->wait_readable(loop_, kNever, &ending_);
    if (wake != rt::Wake::ready) co_return std::unexpected(h1::interrupted(wake, Origin::backend, ErrorKind::closed));
  }
}

Result<> ClientSession::receive(std::span<const char> bytes) {
  const ssize_t taken =
      nghttp2_session_mem_recv(session_, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  if (taken < 0) {
    if (!flaw_) {
      flaw_ = flaw(taken == NGHTTP2_ERR_FLOODED ? "more frames to acknowledge than it reads (RFC 9113 10.5)"
                                                : "what came is not HTTP/2");
    }
    return std::unexpected(*flaw_);
  }
  return {};
}

rt::Task<Result<>> ClientSession::write_frames() {
  for (;;) {
    const Result<bool> flushed = flush();
    if (!flushed) {
      if (!connected_) co_return std::unexpected(flushed.error());
      // What the backend said before it closed may lie unread: which requests it did not process (GOAWAY), or an alert.
      // The reader takes that, and then meets the end.
      retired_ = blocked_ = true;
      const rt::Wake wake = co_await rt::sleep_until(loop_, loop_.now() + kLastWords, &ending_);
      static_cast<void>(wake);
      co_return std::unexpected(flushed.error());
    }
    if (!*flushed) {
      // As write_all: a slow backend is not a stuck one.
      blocked_ = true;
      const Nanoseconds half = settings_.write_stall / 2;
      const Instant deadline = connected_ ? loop_.now() + half : kNever;
      rt::Wake wake = co_await stream_->wait_writable(loop_, deadline, &ending_);
      std::size_t unread = wake == rt::Wake::timed_out ? stream_->unread_by_peer() : 0;
      while (wake == rt::Wake::timed_out) {
        wake = co_await stream_->wait_writable(loop_, loop_.now() + half, &ending_);
        const std::size_t before = std::exchange(unread, stream_->unread_by_peer());
        if (unread >= before) break;
      }
      blocked_ = false;
      if (wake == rt::Wake::ready) continue;
      co_return std::unexpected(h1::interrupted(wake, Origin::backend, ErrorKind::timeout_write));
    }
    if (flaw_) co_return std::unexpected(*flaw_);
    const bool over = nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
    const bool takes_no_more = retired_ || nghttp2_session_check_request_allowed(session_) == 0;
    if (over || (takes_no_more && streams_.empty())) {
      co_return std::unexpected(
          Error{.origin = Origin::backend, .kind = ErrorKind::closed, .detail = "the backend ended the connection"});
    }
    const rt::Wake wake = co_await work_.wait(loop_, next_timer(), &ending_);
    if (wake == rt::Wake::cancelled) {
      co_return std::unexpected(h1::interrupted(wake, Origin::backend, ErrorKind::closed));
    }
    if (wake == rt::Wake::timed_out) {
      const Result<> alive = on_timer();
      if (!alive) co_return alive;
    }
  }
}

void ClientSession::fill() {
  while (out_tail_.empty()) {
    const std::uint8_t* frame = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session_, &frame);
    if (size <= 0) break;
    const auto bytes = static_cast<std::size_t>(size);
    if (out_ == nullptr) out_ = buffers_.acquire(BufferPool::kSmall);
    if (bytes <= BufferPool::kSmall - out_end_) {
      std::memcpy(out_ + out_end_, frame, bytes);
      out_end_ += bytes;
    } else {
      out_tail_ = {reinterpret_cast<const char*>(frame), bytes};
    }
  }
}

Result<bool> ClientSession::flush() {
  for (;;) {
    if (out_begin_ == out_end_ && out_tail_.empty()) {
      out_begin_ = out_end_ = 0;
      fill();
      if (out_end_ == 0 && out_tail_.empty()) {
        release_out();
        return true;
      }
    }
    const std::size_t in_block = out_end_ - out_begin_;
    std::array<iovec, 2> pieces{};
    std::size_t count = 0;
    if (in_block > 0) pieces[count++] = {out_ + out_begin_, in_block};
    if (!out_tail_.empty()) pieces[count++] = h1::piece_of(out_tail_);
    const net::IoResult result = stream_->try_write(std::span(pieces).first(count));
    if (result.status == net::IoStatus::would_block) return false;
    if (result.status == net::IoStatus::failed) {
      return std::unexpected(stream_->error_of(result, Origin::backend));
    }
    const std::size_t from_block = std::min(result.bytes, in_block);
    out_begin_ += from_block;
    out_tail_ = out_tail_.subspan(result.bytes - from_block);
    if (!connected_) {
      connected_ = true;
      for (ClientStream* stream : streams_) stream->outgoing_.set();
    }
  }
}

void ClientSession::release_out() {
  if (out_ != nullptr) buffers_.release(out_, BufferPool::kSmall);
  out_ = nullptr;
  out_begin_ = out_end_ = 0;
  out_tail_ = {};
}

Instant ClientSession::next_timer() const {
  if (streams_.empty()) return idle_since_ + settings_.idle_timeout;
  if (ping_outstanding_) return ping_sent_ + settings_.ping_timeout;
  return std::max(last_read_, busy_since_) + settings_.ping_after;
}

Result<> ClientSession::on_timer() {
  const Instant now = loop_.now();
  // Anything that came shows that the backend lives.
  if (ping_outstanding_ && last_read_ > ping_sent_) ping_outstanding_ = false;
  if (now < next_timer()) return {};
  if (streams_.empty()) {
    nghttp2_session_terminate_session(session_, NGHTTP2_NO_ERROR);
    retired_ = true;
    return {};
  }
  if (ping_outstanding_) {
    return std::unexpected(Error{.origin = Origin::backend,
                                 .kind = ErrorKind::closed,
                                 .sent = Sent::maybe,
                                 .detail = "the backend is silent and does not answer PING"});
  }
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr);
  ping_outstanding_ = true;
  ping_sent_ = now;
  return {};
}

// --- floods ----------------------------------------------------------------------------------------------------------

bool ClientSession::spend_credit() {
  if (credits_ <= 0) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(loop_.now() - credits_at_).count();
    if (seconds > 0) {
      credits_at_ = loop_.now();
      earn_credit(static_cast<int>(std::min<std::int64_t>(seconds * kCreditsEachSecond, kCreditsAtFirst)));
    }
  }
  return --credits_ >= 0;
}

void ClientSession::earn_credit(int credits) {
  credits_ = std::min(std::max(credits_, 0) + credits, kCreditsMost);
}

}  // namespace dao::http::h2

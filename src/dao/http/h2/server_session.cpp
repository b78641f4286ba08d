#include "dao/http/h2/server_session.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "dao/http/h1/message_io.h"
#include "dao/http/h2/session_memory.h"
#include "dao/rt/join.h"

namespace dao::http::h2 {

namespace {

// Output that waits for a write. Reached, no more is taken from streams until it is gone; one block being written comes
// on top, and one header block.
constexpr std::size_t kOutputMax = std::size_t{64} * 1024;
// Header blocks are compressed; the largest that can decode to what is allowed is a few times that (RFC 7541 appendix
// B: at most 30 bits for a byte).
constexpr std::size_t kHeaderBlockFactor = 4;
constexpr Nanoseconds kDrainRoundTrip = std::chrono::seconds(1);
constexpr Nanoseconds kFlushTime = std::chrono::seconds(2);
constexpr Nanoseconds kLingerTime = std::chrono::seconds(2);
constexpr std::size_t kLingerMaxBytes = std::size_t{256} * 1024;
// Reads before other connections have their turn.
constexpr std::uint32_t kReadsPerBatch = 8;
constexpr std::array<std::uint8_t, 8> kDrainPing = {'d', 'a', 'o', 'd', 'r', 'a', 'i', 'n'};

nghttp2_nv pair_of(std::string_view name, std::string_view value) {
  // nghttp2 copies both, and makes names lower-case.
  return {reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
          NGHTTP2_NV_FLAG_NONE};
}

}  // namespace

struct ServerSession::Callbacks {
  static ServerSession& self(void* user_data) { return *static_cast<ServerSession*>(user_data); }

  static int on_begin_frame(nghttp2_session* session, const nghttp2_frame_hd* header, void* user_data) {
    if (header->type != NGHTTP2_SETTINGS) return 0;
    ServerSession& that = self(user_data);
    that.widest_window_ = 0;
    for (const ServerStream* stream : that.streams_) {
      const std::int64_t window = nghttp2_session_get_stream_remote_window_size(session, stream->id());
      that.widest_window_ = std::max(that.widest_window_, window);
    }
    return 0;
  }

  static int on_begin_headers(nghttp2_session*, const nghttp2_frame*, void* user_data) {
    self(user_data).assembler_.begin();
    return 0;
  }

  static int on_header(nghttp2_session*, const nghttp2_frame*, const std::uint8_t* name, std::size_t name_size,
                       const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* user_data) {
    const bool sane = self(user_data).assembler_.add({reinterpret_cast<const char*>(name), name_size},
                                                     {reinterpret_cast<const char*>(value), value_size});
    if (sane) return 0;
    self(user_data).flood_ = Flood::header_bytes;
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }

  // RFC 9113 section 8.1.1: a malformed request is a stream error, whatever the flaw.
  static int on_invalid_header(nghttp2_session*, const nghttp2_frame*, const std::uint8_t*, std::size_t,
                               const std::uint8_t*, std::size_t, std::uint8_t, void*) {
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }

  static int on_frame_recv(nghttp2_session* session, const nghttp2_frame* frame, void* user_data) {
    ServerSession& that = self(user_data);
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
        if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
          that.request_arrived(*frame);
        } else if (ServerStream* stream = that.stream_of(frame->hd.stream_id); stream != nullptr) {
          if (stream->trailers_arrived(that.assembler_)) {
            stream->body_ended();
          } else {
            nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_PROTOCOL_ERROR);
          }
        }
        break;
      case NGHTTP2_DATA:
        if (frame->hd.length > 0 && frame->hd.length == frame->data.padlen &&
            (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) == 0) {
          if (const std::optional<Flood> flood = that.watch_.padding_only(that.loop_.now())) that.flood_ = flood;
        }
        if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
          if (ServerStream* stream = that.stream_of(frame->hd.stream_id); stream != nullptr) stream->body_ended();
        }
        break;
      case NGHTTP2_SETTINGS:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) that.settings_arrived(frame->settings);
        break;
      case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0 && std::ranges::equal(frame->ping.opaque_data, kDrainPing)) {
          that.drain_answered_ = true;
        }
        break;
      default:
        break;
    }
    return 0;
  }

  static int on_data_chunk(nghttp2_session* session, std::uint8_t, std::int32_t id, const std::uint8_t* data,
                           std::size_t size, void* user_data) {
    ServerStream* stream = self(user_data).stream_of(id);
    if (stream == nullptr || stream->lost()) {
      nghttp2_session_consume(session, id, size);
    } else {
      stream->body_arrived({reinterpret_cast<const char*>(data), size});
    }
    return 0;
  }

  static int on_stream_close(nghttp2_session*, std::int32_t id, std::uint32_t, void* user_data) {
    ServerStream* stream = self(user_data).stream_of(id);
    if (stream == nullptr) return 0;
    stream->closed = true;
    --self(user_data).open_;
    if (!stream->complete() || !stream->request_complete()) stream->lose(ErrorKind::reset);
    return 0;
  }

  static int on_frame_send(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    ServerSession& that = self(user_data);
    const std::uint8_t type = frame->hd.type;
    if (type == NGHTTP2_DATA || type == NGHTTP2_HEADERS) {
      ServerStream* const stream = that.stream_of(frame->hd.stream_id);
      if (type == NGHTTP2_DATA && frame->hd.length > 0) {
        that.watch_.data_sent(frame->hd.length, stream != nullptr && stream->all_taken());
      }
      if (stream != nullptr && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) stream->end_sent();
    }
    if (type == NGHTTP2_RST_STREAM) {
      that.watch_.reset_by_us(static_cast<std::uint32_t>(frame->hd.stream_id));
      switch (frame->rst_stream.error_code) {
        case NGHTTP2_NO_ERROR:
        case NGHTTP2_INTERNAL_ERROR:
        case NGHTTP2_CANCEL:
          break;
        default:  // something that the client did
          if (const std::optional<Flood> flood = that.watch_.reset(that.loop_.now())) that.flood_ = flood;
      }
    }
    return 0;
  }

  static ssize_t read_data(nghttp2_session* session, std::int32_t id, std::uint8_t*, std::size_t most,
                           std::uint32_t* flags, nghttp2_data_source*, void* user_data) {
    const auto* stream = static_cast<const ServerStream*>(nghttp2_session_get_stream_user_data(session, id));
    if (stream == nullptr) return NGHTTP2_ERR_DEFERRED;
    const ServerStream::Offer offer = stream->offer(most);
    if (offer.nothing_yet) return NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (offer.last) *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (!offer.trailers.empty()) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      self(user_data).submit_trailers(id, offer.trailers);
    }
    return static_cast<ssize_t>(offer.bytes);
  }

  static int send_data(nghttp2_session* session, nghttp2_frame* frame, const std::uint8_t* header, std::size_t size,
                       nghttp2_data_source*, void* user_data) {
    constexpr std::size_t kFrameHeader = 9;
    OutputBlock& output = self(user_data).output_;
    if (output.size() >= kOutputMax) return NGHTTP2_ERR_WOULDBLOCK;
    auto* stream = static_cast<ServerStream*>(nghttp2_session_get_stream_user_data(session, frame->hd.stream_id));
    const std::span<const char> bytes = stream == nullptr ? std::span<const char>{} : stream->take(size);
    if (bytes.size() != size) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;  // given up meanwhile
    output.append(header, kFrameHeader);
    output.append(bytes.data(), bytes.size());
    if (size > 0) self(user_data).output_has_data_ = true;
    return 0;
  }

  static const nghttp2_session_callbacks* table() {
    static const nghttp2_session_callbacks* const shared = [] {
      nghttp2_session_callbacks* made = nullptr;
      nghttp2_session_callbacks_new(&made);
      nghttp2_session_callbacks_set_on_begin_frame_callback(made, on_begin_frame);
      nghttp2_session_callbacks_set_on_begin_headers_callback(made, on_begin_headers);
      nghttp2_session_callbacks_set_on_header_callback(made, on_header);
      nghttp2_session_callbacks_set_on_invalid_header_callback(made, on_invalid_header);
      nghttp2_session_callbacks_set_on_frame_recv_callback(made, on_frame_recv);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(made, on_data_chunk);
      nghttp2_session_callbacks_set_on_stream_close_callback(made, on_stream_close);
      nghttp2_session_callbacks_set_on_frame_send_callback(made, on_frame_send);
      nghttp2_session_callbacks_set_send_data_callback(made, send_data);
      return made;
    }();
    return shared;
  }

  static const nghttp2_option* options() {
    static const nghttp2_option* const shared = [] {
      constexpr std::size_t kOursIsStricter = 1'000'000;  // FrameWatch counts these
      nghttp2_option* made = nullptr;
      nghttp2_option_new(&made);
      nghttp2_option_set_no_auto_window_update(made, 1);
      nghttp2_option_set_no_closed_streams(made, 1);
      nghttp2_option_set_builtin_recv_extension_type(made, NGHTTP2_PRIORITY_UPDATE);
      nghttp2_option_set_stream_reset_rate_limit(made, kOursIsStricter, kOursIsStricter);
      nghttp2_option_set_max_continuations(made, kOursIsStricter);
      return made;
    }();
    return shared;
  }
};

ServerSession::ServerSession(rt::Loop& loop, std::unique_ptr<net::Stream> stream, net::Peer peer, BufferPool& buffers,
                             const ServerSettings& settings, RequestHandler& handler, rt::Cancel& drain)
    : loop_(loop),
      stream_(std::move(stream)),
      peer_(peer),
      buffers_(buffers),
      settings_(settings),
      handler_(handler),
      drain_(drain),
      accepted_(loop.now()),
      watch_(settings.http2, kHeaderBlockFactor * (settings.limits.head_max_bytes + settings.limits.target_max_bytes)),
      assembler_(settings.limits),
      idle_since_(loop.now()),
      output_(buffers),
      sending_(buffers),
      data_written_(loop.now()) {
  nghttp2_session_server_new3(&session_, Callbacks::table(), this, Callbacks::options(), session_memory());
  deadline_.session = drain_timer_.session = flush_timer_.session = drain_hook_.session = this;
  deadline_.fire = [](rt::Timer& self) { static_cast<SessionTimer&>(self).session->deadline_passed(); };
  drain_timer_.fire = [](rt::Timer& self) { static_cast<SessionTimer&>(self).session->finish_drain(); };
  flush_timer_.fire = [](rt::Timer& self) { static_cast<SessionTimer&>(self).session->stop_writing_.request(); };
  drain_hook_.cancelled = [](rt::Cancel::Hook& self, ErrorKind) {
    static_cast<DrainHook&>(self).session->begin_drain();
  };
  const ServerLimits& limits = settings.http2;
  const auto header_list = static_cast<std::uint32_t>(settings.limits.head_max_bytes);
  const std::array<nghttp2_settings_entry, 5> entries = {{
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, NGHTTP2_INITIAL_MAX_CONCURRENT_STREAMS},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.stream_window_bytes},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, header_list},
      {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},    // RFC 9218 section 2.1
      {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},  // RFC 8441 section 3
  }};
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, entries.data(), entries.size());
  // nghttp2 ends the connection of a client that opens one stream too many; we refuse the stream (RFC 9113 section
  // 5.1.2). So it must not know the limit, which is written over its first setting.
  const std::uint8_t* frame = nullptr;
  const ssize_t size = nghttp2_session_mem_send(session_, &frame);
  constexpr std::size_t kFirstValue = 11;  // behind the frame's header and the setting's identifier
  if (size > 0) {
    output_.append(frame, static_cast<std::size_t>(size));
    for (std::size_t i = 0; i < 4; ++i) {
      output_.content()[kFirstValue + i] = static_cast<char>(limits.max_concurrent_streams >> (24U - 8U * i));
    }
  }
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                        static_cast<std::int32_t>(limits.connection_window_bytes));
}

ServerSession::~ServerSession() {
  nghttp2_session_del(session_);
}

rt::Task<> ServerSession::serve(std::string already_read) {
  handler_.connection_idle(true);
  if (drain_.requested()) {
    begin_drain();
  } else {
    drain_.add(drain_hook_);
  }
  auto both = rt::join(read_loop(std::move(already_read)), write_loop());
  const auto ends = co_await std::move(both);
  static_cast<void>(ends);
  ended_ = true;
  lose_streams(ErrorKind::closed);
  while (running_ > 0) {
    const rt::Wake wake = co_await all_ended_.wait(loop_);
    static_cast<void>(wake);
  }
  drain_hook_.unlink();
  for (SessionTimer* timer : {&deadline_, &drain_timer_, &flush_timer_}) loop_.timers().cancel(*timer);
  handler_.connection_idle(false);
  output_.clear();
  if (!lost_) {
    auto lingering = linger();
    co_await std::move(lingering);
  }
  stream_.reset();
}

rt::Task<Result<>> ServerSession::read_loop(std::string already_read) {
  feed(already_read);
  std::string{}.swap(already_read);
  std::size_t room = BufferPool::kSmall;
  Instant batch = loop_.now();
  std::uint32_t reads = 0;
  while (!ended_ && !lost_) {
    rt::Wake wake = rt::Wake::ready;
    while (wake == rt::Wake::ready && !stream_->may_read()) {
      wake = co_await stream_->wait_readable(loop_, kNever, &stop_reading_);
    }
    if (wake != rt::Wake::ready) break;
    {
      const ScratchBlock block(buffers_, room);
      const std::optional<Result<std::size_t>> got = h1::try_read_some(*stream_, {block.begin(), room}, Origin::client);
      if (!got) continue;
      if (!*got || **got == 0) {
        connection_lost(*got ? ErrorKind::closed : ErrorKind::reset);
        break;
      }
      feed({block.begin(), **got});
      room = **got == room ? BufferPool::kLarge : BufferPool::kSmall;
    }
    if (loop_.now() != batch) {
      batch = loop_.now();
      reads = 0;
    } else if (++reads == kReadsPerBatch) {
      wake = co_await rt::sleep_until(loop_, loop_.now(), &stop_reading_);
    }
  }
  reading_done_ = true;
  work_.set();
  co_return Result<>{};
}

rt::Task<Result<>> ServerSession::write_loop() {
  for (;;) {
    pump();
    if (lost_) break;
    if (output_.empty()) {
      if (reading_done_) break;
      const rt::Wake wake = co_await work_.wait(loop_);
      static_cast<void>(wake);
      continue;
    }
    sending_.swap(output_);
    sending_has_data_ = std::exchange(output_has_data_, false);
    iovec piece{sending_.content().data(), sending_.size()};
    std::span<iovec> pieces{&piece, 1};
    bool any_sent = false;
    const Result<bool> at_once = h1::try_write_all(*stream_, pieces, Origin::client, any_sent);
    Result<> written;
    if (!at_once) {
      written = std::unexpected(at_once.error());
    } else if (!*at_once) {
      auto writing = h1::write_all(loop_, *stream_, pieces, Origin::client, settings_.write_timeout, &stop_writing_);
      written = co_await std::move(writing);
    }
    sending_.clear();
    if (!written) {
      connection_lost(written.error().kind);
      break;
    }
    if (std::exchange(sending_has_data_, false)) data_written_ = loop_.now();
  }
  co_return Result<>{};
}

// So that the kernel does not reset the connection under the last frames (as RFC 9112 section 9.6 describes).
rt::Task<> ServerSession::linger() {
  stream_->shutdown_write();
  const ScratchBlock block(buffers_, BufferPool::kSmall);
  const Instant deadline = loop_.now() + kLingerTime;
  std::size_t discarded = 0;
  while (discarded < kLingerMaxBytes) {
    auto reading = h1::read_some(loop_, *stream_, {block.begin(), BufferPool::kSmall}, Origin::client, deadline,
                                 ErrorKind::timeout_idle, nullptr);
    const Result<std::size_t> got = co_await std::move(reading);
    if (!got || *got == 0) co_return;
    discarded += *got;
  }
}

void ServerSession::feed(std::string_view bytes) {
  if (bytes.empty()) {
    arm_deadline();
    return;
  }
  const std::uint64_t blocks_before = watch_.header_blocks();
  if (const std::optional<Flood> flood = watch_.see(bytes, loop_.now())) {
    end_by_flood(*flood);
    return;
  }
  if (watch_.broken()) {
    end(*watch_.broken());
    return;
  }
  if (watch_.header_blocks() != blocks_before || !watch_.in_header_block()) headers_began_ = loop_.now();
  const ssize_t fed =
      nghttp2_session_mem_recv(session_, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  if (flood_ || fed == NGHTTP2_ERR_FLOODED) {
    end_by_flood(flood_.value_or(Flood::queued_answers));
    return;
  }
  if (fed < 0 || broken_) {
    end(broken_.value_or(NGHTTP2_PROTOCOL_ERROR));
    return;
  }
  if (drain_answered_) finish_drain();
  pump();
  if (!ended_ && nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0) {
    end(std::nullopt);  // nghttp2 has said why
  }
  arm_deadline();
}

void ServerSession::pump() {
  if (ended_ || lost_) return;
  while (output_.size() < kOutputMax) {
    const std::uint8_t* frame = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session_, &frame);
    if (size < 0) {
      end(NGHTTP2_INTERNAL_ERROR);
      return;
    }
    if (size == 0) break;
    output_.append(frame, static_cast<std::size_t>(size));
  }
  if (flood_) end_by_flood(*flood_);
  if (!output_.empty()) work_.set();
}

void ServerSession::append_goaway(std::uint32_t code) {
  const auto last = static_cast<std::uint32_t>(last_stream_);
  const auto byte = [](std::uint32_t word, unsigned shift) { return static_cast<std::uint8_t>(word >> shift); };
  const std::array<std::uint8_t, 17> frame = {
      0,
      0,
      8,
      NGHTTP2_GOAWAY,
      0,
      0,
      0,
      0,
      0,  // no flags, stream 0
      byte(last, 24),
      byte(last, 16),
      byte(last, 8),
      byte(last, 0),
      byte(code, 24),
      byte(code, 16),
      byte(code, 8),
      byte(code, 0),
  };
  output_.append(frame.data(), frame.size());
}

void ServerSession::end(std::optional<std::uint32_t> code) {
  if (ended_ || lost_) return;
  ended_ = true;
  if (code) append_goaway(*code);
  lose_streams(ErrorKind::closed);
  stop_reading_.request();
  loop_.timers().schedule(flush_timer_, loop_.now() + kFlushTime);
  work_.set();
}

void ServerSession::end_by_flood(Flood flood) {
  if (ended_ || lost_) return;
  handler_.flooded(flood, peer_);
  end(NGHTTP2_ENHANCE_YOUR_CALM);
}

void ServerSession::connection_lost(ErrorKind why) {
  lost_ = true;
  lose_streams(why);
  stop_reading_.request();
  stop_writing_.request();
  work_.set();
}

void ServerSession::lose_streams(ErrorKind why) {
  for (ServerStream* stream : streams_) stream->lose(why);
}

void ServerSession::begin_drain() {
  if (draining_ != Drain::no || ended_ || lost_) return;
  draining_ = Drain::announced;
  nghttp2_submit_shutdown_notice(session_);
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, kDrainPing.data());
  loop_.timers().schedule(drain_timer_, loop_.now() + kDrainRoundTrip);
  pump();
}

// The client has had time to read the notice: what it sends from now on is refused.
void ServerSession::finish_drain() {
  if (draining_ != Drain::announced || ended_ || lost_) return;
  draining_ = Drain::done;
  loop_.timers().cancel(drain_timer_);
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_),
                        NGHTTP2_NO_ERROR, nullptr, 0);
  pump();
  if (running_ == 0) end(std::nullopt);
}

void ServerSession::arm_deadline() {
  if (ended_ || lost_) return;
  if (!settings_received_) {
    loop_.timers().schedule(deadline_, accepted_ + settings_.header_timeout);
  } else if (watch_.in_header_block()) {
    loop_.timers().schedule(deadline_, headers_began_ + settings_.header_timeout);
  } else if (running_ == 0) {
    loop_.timers().schedule(deadline_, idle_since_ + settings_.idle_timeout);
  } else {
    loop_.timers().cancel(deadline_);
  }
}

void ServerSession::deadline_passed() {
  if (!settings_received_) {
    end(NGHTTP2_SETTINGS_TIMEOUT);
  } else {
    end(watch_.in_header_block() ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_NO_ERROR);
  }
}

ServerStream* ServerSession::stream_of(std::int32_t id) const {
  return static_cast<ServerStream*>(nghttp2_session_get_stream_user_data(session_, id));
}

void ServerSession::settings_arrived(const nghttp2_settings& settings) {
  settings_received_ = true;
  for (std::size_t i = 0; i < settings.niv; ++i) {
    const nghttp2_settings_entry& entry = settings.iv[i];
    if (entry.settings_id != NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE) continue;
    // RFC 9113 section 6.9.2; nghttp2 resets the stream only.
    if (widest_window_ + entry.value - initial_window_ > NGHTTP2_MAX_WINDOW_SIZE) broken_ = NGHTTP2_FLOW_CONTROL_ERROR;
    initial_window_ = entry.value;
  }
}

void ServerSession::request_arrived(const nghttp2_frame& frame) {
  const std::int32_t id = frame.hd.stream_id;
  if (frame.headers.pri_spec.stream_id == id) {  // RFC 7540 section 5.3.1
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_PROTOCOL_ERROR);
    return;
  }
  // Streams that were reset count for the work they still do.
  const std::size_t most = settings_.http2.max_concurrent_streams;
  if (open_ >= most || running_ >= 2 * most) {
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
    return;
  }
  const bool end_stream = (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
  auto stream = std::make_unique<ServerStream>(*this, id, handler_.borrow_request_head());
  const Result<> understood = assembler_.finish(end_stream, stream->request());
  if (!understood) stream->rejected = understood.error();
  if (end_stream) stream->body_ended();
  nghttp2_session_set_stream_user_data(session_, id, stream.get());
  last_stream_ = id;
  stream->position = streams_.size();
  streams_.push_back(stream.get());
  ++open_;
  if (++running_ == 1) handler_.connection_idle(false);
  loop_.spawn(run(std::move(stream)));
}

rt::Task<> ServerSession::run(std::unique_ptr<ServerStream> stream) {
  if (!stream->lost()) {  // not reset in the same breath
    auto handling = handler_.handle(*stream, stream->rejected ? &*stream->rejected : nullptr);
    co_await std::move(handling);
    if (stream->tunnelled()) {
      auto ending = stream->end_tunnel();
      co_await std::move(ending);
    }
  }
  stream->watch_client(nullptr);
  const std::size_t unread = stream->discard_body();
  if (unread > 0) nghttp2_session_consume_connection(session_, unread);
  if (!stream->closed) {
    --open_;
    nghttp2_session_set_stream_user_data(session_, stream->id(), nullptr);
    if (!stream->complete()) {
      // RFC 8441 section 5.3: CANCEL is what a reset of the TCP connection would be.
      const std::uint32_t code = stream->tunnelled() ? NGHTTP2_CANCEL : NGHTTP2_INTERNAL_ERROR;
      nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream->id(), code);
    } else if (!stream->request_complete()) {
      // RFC 9113 section 8.1: the rest of the request is not needed.
      nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream->id(), NGHTTP2_NO_ERROR);
    }
  }
  streams_.back()->position = stream->position;
  std::swap(streams_[stream->position], streams_.back());
  streams_.pop_back();
  handler_.return_request_head(stream->take_head());
  stream.reset();
  pump();
  if (--running_ > 0) co_return;
  handler_.connection_idle(true);
  idle_since_ = loop_.now();
  arm_deadline();
  if (draining_ == Drain::done) end(std::nullopt);
  all_ended_.set();
}

void ServerSession::add_fields(std::span<const Field> fields) {
  for (const Field& field : fields) {
    if (!field.dropped && !is_hop_by_hop(field.id)) fields_.push_back(pair_of(field.name, field.value));
  }
}

void ServerSession::submit_interim(std::int32_t id, const ResponseHead& head) {
  char status[3];
  std::to_chars(status, status + sizeof status, head.status);
  fields_.clear();
  fields_.push_back(pair_of(":status", {status, sizeof status}));
  add_fields(head.fields);
  nghttp2_submit_headers(session_, NGHTTP2_FLAG_NONE, id, nullptr, fields_.data(), fields_.size(), nullptr);
  pump();
}

void ServerSession::submit_head(std::int32_t id, const ResponseHead& head, const std::uint64_t* length,
                                bool end_stream) {
  char status[3];
  std::to_chars(status, status + sizeof status, head.status);
  char digits[20];
  fields_.clear();
  fields_.push_back(pair_of(":status", {status, sizeof status}));
  add_fields(head.fields);
  if (length != nullptr) {
    const char* const digits_end = std::to_chars(digits, digits + sizeof digits, *length).ptr;
    fields_.push_back(pair_of("content-length", {digits, static_cast<std::size_t>(digits_end - digits)}));
  }
  nghttp2_data_provider body{};
  body.read_callback = Callbacks::read_data;
  nghttp2_submit_response(session_, id, fields_.data(), fields_.size(), end_stream ? nullptr : &body);
  pump();
}

void ServerSession::submit_trailers(std::int32_t id, std::span<const Field> trailers) {
  fields_.clear();
  add_fields(trailers);
  nghttp2_submit_trailer(session_, id, fields_.data(), fields_.size());
}

void ServerSession::resume(std::int32_t id) {
  nghttp2_session_resume_data(session_, id);
  pump();
}

void ServerSession::consumed(std::int32_t id, std::size_t bytes) {
  nghttp2_session_consume(session_, id, bytes);
  pump();
}

std::size_t ServerSession::relieve_connection(std::size_t bytes) {
  if (relieved_ + bytes > settings_.http2.websockets_hold_bytes) return 0;
  relieved_ += bytes;
  nghttp2_session_consume_connection(session_, bytes);
  return bytes;
}

void ServerSession::tunnel_consumed(std::int32_t id, std::size_t bytes, std::size_t relieved) {
  relieved_ -= relieved;
  nghttp2_session_consume_stream(session_, id, bytes);
  nghttp2_session_consume_connection(session_, bytes - relieved);
  pump();
}

bool ServerSession::busy_with_others(std::int32_t id, bool has_data) const {
  if (sending_has_data_) return true;  // the write has a time limit of its own
  const bool window = nghttp2_session_get_stream_remote_window_size(session_, id) > 0;
  const bool may_send = !has_data || (window && nghttp2_session_get_remote_window_size(session_) > 0);
  if (may_send && !sending_.empty()) return true;  // the output is full
  return window && loop_.now() - data_written_ < settings_.write_timeout;
}

}  // namespace dao::http::h2

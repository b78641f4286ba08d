#include "dao/http/h2/server_session.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include "dao/http/h1/message_io.h"
#include "dao/rt/join.h"

namespace dao::http::h2 {

namespace {

constexpr Nanoseconds kDrainRoundTrip = std::chrono::seconds(1);
constexpr Nanoseconds kFlushTime = std::chrono::seconds(2);
constexpr Nanoseconds kLingerTime = std::chrono::seconds(2);
constexpr std::size_t kLingerMaxBytes = std::size_t{256} * 1024;
// Reads before other connections have their turn.
constexpr std::uint32_t kReadsPerBatch = 8;
constexpr std::string_view kDrainPing = "daodrain";

ServerStream* stream_of(const StreamState& state) {
  return static_cast<ServerStream*>(state.user);
}

std::array<SettingValue, 5> settings_of(const ServerSettings& settings) {
  return {{
      {Setting::max_concurrent_streams, settings.http2.max_concurrent_streams},
      {Setting::initial_window_size, settings.http2.stream_window_bytes},
      {Setting::max_header_list_size, static_cast<std::uint32_t>(settings.limits.head_max_bytes)},
      {Setting::no_rfc7540_priorities, 1},    // RFC 9218 section 2.1
      {Setting::enable_connect_protocol, 1},  // RFC 8441 section 3
  }};
}

}  // namespace

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
      output_(buffers),
      sending_(buffers),
      connection_(Connection::Role::server, output_, *this,
                  {.stream_window = settings.http2.stream_window_bytes,
                   .connection_window = settings.http2.connection_window_bytes,
                   .header_block_max_bytes =
                       kHeaderBlockFactor * (settings.limits.head_max_bytes + settings.limits.target_max_bytes),
                   .continuations_max = settings.http2.continuations_max},
                  settings_of(settings)),
      watch_(settings.http2),
      assembler_(settings.limits),
      idle_since_(loop.now()),
      data_written_(loop.now()) {
  deadline_.session = drain_timer_.session = flush_timer_.session = drain_hook_.session = this;
  deadline_.fire = [](rt::Timer& self) { static_cast<SessionTimer&>(self).session->deadline_passed(); };
  drain_timer_.fire = [](rt::Timer& self) { static_cast<SessionTimer&>(self).session->finish_drain(); };
  flush_timer_.fire = [](rt::Timer& self) { static_cast<SessionTimer&>(self).session->stop_writing_.request(); };
  drain_hook_.cancelled = [](rt::Cancel::Hook& self, ErrorKind) {
    static_cast<DrainHook&>(self).session->begin_drain();
  };
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
    connection_.output_taken();
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
  const std::uint64_t blocks_before = connection_.header_blocks();
  const bool understood = connection_.receive(bytes);
  if (connection_.header_blocks() != blocks_before || !connection_.in_header_block()) headers_began_ = loop_.now();
  if (const std::optional<Flood> flood = flood_ ? flood_ : connection_.flood()) {
    end_by_flood(*flood);
    return;
  }
  if (!understood) {
    end(connection_.error());
    return;
  }
  if (drain_answered_) finish_drain();
  pump();
  arm_deadline();
}

void ServerSession::pump() {
  if (over()) return;
  connection_.send_data(kOutputMax);
  if (flood_) end_by_flood(*flood_);
  if (!output_.empty()) work_.set();
}

void ServerSession::end(std::optional<ErrorCode> code) {
  if (over()) return;
  ended_ = true;
  if (code) connection_.goaway(last_stream_, *code);
  lose_streams(ErrorKind::closed);
  stop_reading_.request();
  loop_.timers().schedule(flush_timer_, loop_.now() + kFlushTime);
  work_.set();
}

void ServerSession::end_by_flood(Flood flood) {
  if (over()) return;
  handler_.flooded(flood, peer_);
  end(ErrorCode::enhance_your_calm);
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
  if (draining_ != Drain::no || over()) return;
  draining_ = Drain::announced;
  connection_.goaway(kStreamIdMax, ErrorCode::no_error);  // RFC 9113 section 6.8: more may be on their way
  connection_.ping(kDrainPing);
  loop_.timers().schedule(drain_timer_, loop_.now() + kDrainRoundTrip);
  pump();
}

// The client has had time to read the notice: what it sends from now on is refused.
void ServerSession::finish_drain() {
  if (draining_ != Drain::announced || over()) return;
  draining_ = Drain::done;
  loop_.timers().cancel(drain_timer_);
  connection_.goaway(connection_.last_stream(), ErrorCode::no_error);
  connection_.refuse_above(connection_.last_stream());
  pump();
  if (running_ == 0) end(std::nullopt);
}

void ServerSession::arm_deadline() {
  if (over()) return;
  if (!connection_.settings_came()) {
    loop_.timers().schedule(deadline_, accepted_ + settings_.header_timeout);
  } else if (connection_.in_header_block()) {
    loop_.timers().schedule(deadline_, headers_began_ + settings_.header_timeout);
  } else if (running_ == 0) {
    loop_.timers().schedule(deadline_, idle_since_ + settings_.idle_timeout);
  } else {
    loop_.timers().cancel(deadline_);
  }
}

void ServerSession::deadline_passed() {
  if (!connection_.settings_came()) {
    end(ErrorCode::settings_timeout);
  } else {
    end(connection_.in_header_block() ? ErrorCode::protocol_error : ErrorCode::no_error);
  }
}

// --- what the connection tells ---------------------------------------------------------------------------------------

std::optional<ErrorCode> ServerSession::unless_flood(std::optional<Flood> flood) {
  if (!flood) return std::nullopt;
  flood_ = flood;
  return ErrorCode::enhance_your_calm;
}

std::optional<ErrorCode> ServerSession::on_frame(const FrameHeader& header) {
  return unless_flood(watch_.see(header, loop_.now()));
}

std::optional<ErrorCode> ServerSession::on_padding_only() {
  return unless_flood(watch_.padding_only(loop_.now()));
}

void ServerSession::on_section(StreamState&) {
  assembler_.begin();
}

bool ServerSession::on_field(StreamState&, const HpackField& field, FieldId id) {
  return assembler_.add(field, id);
}

void ServerSession::on_section_end(StreamState& state, SectionKind kind, bool ends_stream) {
  if (kind == SectionKind::request) {
    request_arrived(state, ends_stream);
    return;
  }
  ServerStream& stream = *stream_of(state);
  if (stream.trailers_arrived(assembler_)) {
    stream.body_ended();
  } else {
    connection_.reset(state.id, ErrorCode::protocol_error);
  }
}

void ServerSession::on_data(StreamState& state, std::span<const char> bytes) {
  ServerStream& stream = *stream_of(state);
  if (stream.lost()) {
    connection_.consume(state.id, bytes.size());
  } else {
    stream.body_arrived(bytes);
  }
}

void ServerSession::on_remote_end(StreamState& state) {
  stream_of(state)->body_ended();
}

void ServerSession::on_close(StreamState& state, ErrorCode, bool) {
  ServerStream& stream = *stream_of(state);
  stream.closed = true;
  --open_;
  if (!stream.complete() || !stream.request_complete()) stream.lose(ErrorKind::reset);
}

void ServerSession::on_reset_sent(ErrorCode code) {
  const bool of_our_own = code == ErrorCode::no_error || code == ErrorCode::internal_error || code == ErrorCode::cancel;
  if (of_our_own) return;
  if (const std::optional<Flood> flood = watch_.reset(loop_.now())) flood_ = flood;  // the client has made us do it
}

void ServerSession::on_ping_answer(std::string_view payload) {
  if (payload == kDrainPing) drain_answered_ = true;
}

DataOffer ServerSession::offer(StreamState& state, std::size_t most) {
  return stream_of(state)->offer(most);
}

std::span<const char> ServerSession::take(StreamState& state, std::size_t bytes) {
  ServerStream& stream = *stream_of(state);
  const std::span<const char> taken = stream.take(bytes);
  if (bytes > 0) {
    output_has_data_ = true;
    watch_.data_sent(bytes, stream.all_taken());
  }
  return taken;
}

void ServerSession::on_local_end(StreamState& state) {
  stream_of(state)->end_sent();
}

// --- requests --------------------------------------------------------------------------------------------------------

void ServerSession::request_arrived(StreamState& state, bool ends_stream) {
  // Streams that were reset count for the work they still do.
  const std::size_t most = settings_.http2.max_concurrent_streams;
  if (open_ >= most || running_ >= 2 * most) {
    connection_.reset(state.id, ErrorCode::refused_stream);
    return;
  }
  auto stream = std::make_unique<ServerStream>(*this, state.id, handler_.borrow_request_head());
  const Result<> understood = assembler_.finish(ends_stream, stream->request());
  if (!understood) stream->rejected = understood.error();
  if (ends_stream) stream->body_ended();
  state.user = stream.get();
  last_stream_ = state.id;
  stream->position = streams_.size();
  streams_.push_back(stream.get());
  ++open_;
  if (++running_ == 1) handler_.connection_idle(false);
  loop_.spawn(run(std::move(stream)));
}

// What is said of a stream that one of the sides has not ended when its exchange is over.
ErrorCode ServerSession::code_for_rest(const ServerStream& stream) {
  if (stream.complete()) return ErrorCode::no_error;  // RFC 9113 section 8.1: the rest of the request is not needed
  // RFC 8441 section 5.3: CANCEL is what a reset of the TCP connection would be.
  return stream.tunnelled() ? ErrorCode::cancel : ErrorCode::internal_error;
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
  if (unread > 0 && !over()) connection_.consume_connection(unread);
  if (!stream->closed) {
    --open_;
    stream->closed = true;
    connection_.find(stream->id())->user = nullptr;
    if (!over()) connection_.reset(stream->id(), code_for_rest(*stream));
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
    if (!field.dropped && !is_hop_by_hop(field.id)) connection_.add_field(field);
  }
}

void ServerSession::begin_answer(const ResponseHead& head) {
  char status[3];
  std::to_chars(status, status + sizeof status, head.status);
  connection_.begin_head();
  connection_.add_field({.name = ":status", .value = {status, sizeof status}});
  add_fields(head.fields);
}

void ServerSession::submit_interim(std::uint32_t id, const ResponseHead& head) {
  StreamState* const state = connection_.find(id);
  if (state == nullptr || over()) return;
  begin_answer(head);
  connection_.end_head(*state, false);
  pump();
}

void ServerSession::submit_head(std::uint32_t id, const ResponseHead& head, const std::uint64_t* length,
                                bool ends_stream) {
  StreamState* const state = connection_.find(id);
  if (state == nullptr || over()) return;
  begin_answer(head);
  if (length != nullptr) {
    char digits[20];
    const char* const digits_end = std::to_chars(digits, digits + sizeof digits, *length).ptr;
    const std::string_view text{digits, static_cast<std::size_t>(digits_end - digits)};
    connection_.add_field({.name = "content-length", .value = text, .id = FieldId::content_length});
  }
  if (!ends_stream) connection_.start_body(*state);
  connection_.end_head(*state, ends_stream);
  pump();
}

void ServerSession::resume(std::uint32_t id) {
  connection_.resume(id);
  pump();
}

void ServerSession::consumed(std::uint32_t id, std::size_t bytes) {
  if (over()) return;
  connection_.consume(id, bytes);
  pump();
}

std::size_t ServerSession::relieve_connection(std::size_t bytes) {
  if (relieved_ + bytes > settings_.http2.websockets_hold_bytes) return 0;
  relieved_ += bytes;
  if (!over()) connection_.consume_connection(bytes);
  return bytes;
}

void ServerSession::tunnel_consumed(std::uint32_t id, std::size_t bytes, std::size_t relieved) {
  relieved_ -= relieved;
  if (over()) return;
  connection_.consume_stream(id, bytes);
  connection_.consume_connection(bytes - relieved);
  pump();
}

bool ServerSession::busy_with_others(std::uint32_t id, bool has_data) const {
  if (sending_has_data_) return true;  // the write has a time limit of its own
  const StreamState* const state = connection_.find(id);
  const bool window = state != nullptr && state->send_window > 0;
  const bool may_send = !has_data || (window && connection_.send_window() > 0);
  if (may_send && !sending_.empty()) return true;  // the output is full
  return window && loop_.now() - data_written_ < settings_.write_timeout;
}

}  // namespace dao::http::h2

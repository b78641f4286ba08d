#include "dao/http/h2/client_session.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <utility>

#include "dao/http/h1/message_io.h"
#include "dao/http/h2/client_stream.h"
#include "dao/rt/join.h"

namespace dao::http::h2 {

namespace {

// Frames that bring nothing (RFC 9113 section 10.5): so many may come at once, beyond those that useful frames earn,
// and so many each second.
constexpr int kCreditsAtFirst = 1000;
constexpr int kCreditsMost = 10'000;
constexpr int kCreditsEachSecond = 200;

constexpr int kCreditsForBody = 2;  // bytes that came: the frame that brought them cost one
constexpr int kCreditsForData = 4;  // the backend answers DATA with WINDOW_UPDATE, for the stream and the connection

// For the reader, when nothing can be written any more.
constexpr Nanoseconds kLastWords = std::chrono::seconds(1);

Error flaw(std::string_view detail) {
  return {.origin = Origin::backend, .kind = ErrorKind::malformed, .sent = Sent::maybe, .detail = detail};
}

constexpr std::uint32_t kAcknowledgements = 64;  // waiting at once; more is a flood

ClientStream& stream_of(const StreamState& state) {
  return *static_cast<ClientStream*>(state.user);
}

std::array<SettingValue, 3> settings_of(const ClientSettings& settings) {
  return {{
      {Setting::enable_push, 0},
      {Setting::initial_window_size, static_cast<std::uint32_t>(kStreamWindow)},
      {Setting::max_header_list_size, static_cast<std::uint32_t>(settings.response_limits.head_max_bytes)},
  }};
}

}  // namespace

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
      output_(buffers),
      sending_(buffers),
      connection_(Connection::Role::client, output_, *this,
                  {.stream_window = kStreamWindow,
                   .connection_window = kConnectionWindow,
                   .header_block_max_bytes = kHeaderBlockFactor * settings.response_limits.head_max_bytes,
                   .answers_max = kAcknowledgements},
                  settings_of(settings)),
      last_read_(loop.now()),
      idle_since_(loop.now()),
      credits_(kCreditsAtFirst),
      credits_at_(loop.now()) {}

ClientSession::~ClientSession() {
  assert(streams_.empty());
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
  std::erase(waiting_, &stream);
  if (stream.id_ != 0 && !stream.closed_) {
    connection_.find(stream.id_)->user = nullptr;
    connection_.reset(stream.id_, ErrorCode::cancel);
  }
  if (streams_.empty()) {
    idle_since_ = loop_.now();
    if (!connected_) close();  // nobody waits for the connect any more
  }
  wake_writer();
}

void ClientSession::consumed(std::uint32_t stream_id, std::size_t bytes) {
  if (ended_) return;
  connection_.consume_stream(stream_id, bytes);
  if (!output_.empty()) wake_writer();
}

bool ClientSession::usable() const {
  return !ended_ && !retired_ && !flaw_ && !ending_.requested() && !stream_->peer_closed() && connection_.may_open();
}

bool ClientSession::has_room() const {
  return streams_.size() < std::min(settings_.max_streams, connection_.streams_max());
}

bool ClientSession::may_begin() const {
  return connection_.may_open() && connection_.streams() < connection_.streams_max();
}

void ClientSession::begin_waiting() {
  while (!waiting_.empty() && may_begin()) {
    ClientStream& stream = *waiting_.front();
    waiting_.erase(waiting_.begin());
    stream.begin();
  }
}

void ClientSession::fail_waiting() {
  for (ClientStream* stream : waiting_) {
    stream->closed_ = true;
    stream->fail(
        {.origin = Origin::backend, .kind = ErrorKind::closed, .detail = "the connection takes no more requests"});
  }
  waiting_.clear();
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
    Error own = error.with_sent(stream->sent());
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
  if (self->end_watch_ != nullptr) self->end_watch_->request(ErrorKind::closed);
  self->output_.clear();
  self->sending_.clear();
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
        if (understood) continue;
        if (!blocked_) {  // it takes our GOAWAY; the writer ends the connection with it
          wake_writer();
          const rt::Wake wake = co_await rt::sleep_until(loop_, loop_.now() + kLastWords, &ending_);
          static_cast<void>(wake);
        }
        co_return understood;
      }
    }
    large = filled;
    if (something_to_write() || !connection_.may_open()) wake_writer();
    const rt::Wake wake = co_await stream_->wait_readable(loop_, kNever, &ending_);
    if (wake != rt::Wake::ready) co_return std::unexpected(h1::interrupted(wake, Origin::backend, ErrorKind::closed));
  }
}

Result<> ClientSession::receive(std::span<const char> bytes) {
  const bool understood = connection_.receive({bytes.data(), bytes.size()});
  if (!connection_.may_open()) fail_waiting();
  if (understood) return {};
  connection_.goaway(0, *connection_.error());
  if (!flaw_) {
    std::string_view what = "the backend violates HTTP/2 (RFC 9113 5.4.1)";
    if (!connection_.settings_came()) what = "what came is not HTTP/2";
    if (connection_.flood() == Flood::queued_answers) what = "more frames to acknowledge than it reads (RFC 9113 10.5)";
    flaw_ = flaw(what);
  }
  return std::unexpected(*flaw_);
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
    const bool takes_no_more = retired_ || !connection_.may_open();
    if (takes_no_more && streams_.empty()) {
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
    // Once the answers of this batch are on their way to the clients: a backend that is woken last finds more to do.
    co_await rt::after_others(loop_);
  }
}

bool ClientSession::something_to_write() const {
  return !output_.empty() || connection_.has_data() || (!waiting_.empty() && may_begin());
}

void ClientSession::fill() {
  begin_waiting();
  connection_.send_data(kOutputMax);
}

Result<bool> ClientSession::flush() {
  for (;;) {
    if (sending_.empty()) {
      fill();
      if (output_.empty()) return true;
      sending_.swap(output_);
      connection_.output_taken();
      ++outputs_taken_;
      sent_ = 0;
    }
    const iovec piece = h1::piece_of(std::span<const char>{sending_.content()}.subspan(sent_));
    const net::IoResult result = stream_->try_write({&piece, 1});
    if (result.status == net::IoStatus::would_block) return false;
    if (result.status == net::IoStatus::failed) {
      return std::unexpected(stream_->error_of(result, Origin::backend));
    }
    sent_ += result.bytes;
    if (sent_ == sending_.size()) sending_.clear();
    if (!connected_) {
      connected_ = true;
      for (ClientStream* stream : streams_) stream->outgoing_.set();
    }
  }
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
    connection_.goaway(0, ErrorCode::no_error);
    retired_ = true;
    return {};
  }
  if (ping_outstanding_) {
    return std::unexpected(Error{.origin = Origin::backend,
                                 .kind = ErrorKind::closed,
                                 .sent = Sent::maybe,
                                 .detail = "the backend is silent and does not answer PING"});
  }
  connection_.ping(std::string_view{"\0\0\0\0\0\0\0\0", 8});
  ping_outstanding_ = true;
  ping_sent_ = now;
  return {};
}

// --- what the connection tells ---------------------------------------------------------------------------------------

std::optional<ErrorCode> ClientSession::on_frame(const FrameHeader& header) {
  if (header.type == FrameType::push_promise) {
    flaw_ = flaw("PUSH_PROMISE, which we had refused (RFC 9113 8.4)");
    return ErrorCode::protocol_error;
  }
  if (spend_credit()) return std::nullopt;
  flaw_ = flaw("too many frames that bring nothing (RFC 9113 10.5)");
  return ErrorCode::enhance_your_calm;
}

void ClientSession::on_section(StreamState& state) {
  stream_of(state).section_began();
}

bool ClientSession::on_field(StreamState& state, const HpackField& field, FieldId id) {
  return stream_of(state).add_field(field, id);
}

void ClientSession::on_section_end(StreamState& state, SectionKind, bool ends_stream) {
  if (!stream_of(state).section_complete(ends_stream)) connection_.reset(state.id, ErrorCode::enhance_your_calm);
}

void ClientSession::on_data(StreamState& state, std::span<const char> bytes) {
  connection_.consume_connection(bytes.size());
  earn_credit(kCreditsForBody);
  stream_of(state).add_body(bytes);
}

void ClientSession::on_remote_end(StreamState& state) {
  stream_of(state).remote_ended();
}

void ClientSession::on_malformed(StreamState& state) {
  stream_of(state).fail(flaw("the answer violates HTTP/2 (RFC 9113 8)"));
}

void ClientSession::on_close(StreamState& state, ErrorCode code, bool by_peer) {
  stream_of(state).stream_closed(code, by_peer);
}

void ClientSession::on_ping_answer(std::string_view) {
  ping_outstanding_ = false;
}

DataOffer ClientSession::offer(StreamState& state, std::size_t most) {
  return stream_of(state).offer(most);
}

std::span<const char> ClientSession::take(StreamState& state, std::size_t bytes) {
  earn_credit(kCreditsForData);
  return stream_of(state).take(bytes);
}

void ClientSession::on_local_end(StreamState& state) {
  stream_of(state).request_ended();
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

#include "dao/http/h2/server_stream.h"

#include <algorithm>
#include <utility>

#include "dao/http/h2/server_session.h"
#include "dao/http/status.h"
#include "dao/http/websocket_handshake.h"

namespace dao::http::h2 {

ServerStream::ServerStream(ServerSession& session, std::uint32_t id, std::unique_ptr<RequestHead> head)
    : session_(session), id_(id), head_(std::move(head)), started_(session.loop_.now()), inbox_(session.buffers_) {}

const net::TlsFacts* ServerStream::tls() const {
  return session_.stream_->tls();
}

const net::Peer& ServerStream::peer() const {
  return session_.peer_;
}

void ServerStream::body_arrived(std::span<const char> bytes) {
  inbox_.push(bytes);
  arrived_.set();
  if (!tunnel_) return;
  relieved_ += session_.relieve_connection(bytes.size());
  tunnel_->something_to_read();
}

void ServerStream::body_ended() {
  input_ended_ = true;
  arrived_.set();
  if (tunnel_) {
    tunnel_->something_to_read();
  } else if (head_->upgrade != Upgrade::none && watch_ != nullptr) {
    watch_->request(ErrorKind::closed);  // as a client of HTTP/1 that closes before it was answered
  }
}

void ServerStream::lose(ErrorKind why) {
  if (lost()) return;
  lost_ = why;
  if (watch_ != nullptr) watch_->request(why);
  arrived_.set();
  taken_.set();
  if (tunnel_) tunnel_->lost();
}

Error ServerStream::why_lost() const {
  return {.origin = Origin::client, .kind = lost_, .sent = Sent::maybe};
}

void ServerStream::watch_client(rt::Cancel* cancel) {
  watch_ = cancel;
  if (cancel == nullptr) return;
  if (lost()) cancel->request(lost_);
  if (head_->upgrade != Upgrade::none && input_ended_) cancel->request(ErrorKind::closed);
}

void ServerStream::release_piece() {
  if (handed_out_ == 0) return;
  inbox_.consume(handed_out_);
  session_.consumed(id_, std::exchange(handed_out_, 0));
}

std::size_t ServerStream::discard_body() {
  const std::size_t left = inbox_.size() - relieved_;
  inbox_.clear();
  handed_out_ = 0;
  session_.relieved_ -= std::exchange(relieved_, 0);
  return left;
}

// What has arrived; empty and not the last when nothing has.
Result<BodyPiece> ServerStream::next_piece() {
  release_piece();
  const std::span<const char> bytes = inbox_.front();
  if (bytes.empty() && lost()) return std::unexpected(why_lost());
  handed_out_ = bytes.size();
  body_bytes_ += bytes.size();
  const std::size_t most = session_.settings_.body_max_bytes;
  if (most != 0 && body_bytes_ > most) {
    return std::unexpected(Error{.origin = Origin::client, .kind = ErrorKind::body_too_large, .sent = Sent::maybe});
  }
  read_to_end_ = input_ended_ && bytes.size() == inbox_.size();
  return BodyPiece{bytes, read_to_end_};
}

Result<BodyPiece> ServerStream::take_buffered_body() {
  if (head_->upgrade != Upgrade::none) return BodyPiece{{}, true};  // what comes are frames for after the handshake
  return next_piece();
}

rt::Task<Result<BodyPiece>> ServerStream::read_body(rt::Cancel* cancel, Nanoseconds grace) {
  const ServerSettings& settings = session_.settings_;
  const Instant began = session_.loop_.now();
  Nanoseconds patience = settings.body_timeout;
  if (settings.body_min_bytes_per_second > 0) {
    // As in HTTP/1: a body that only trickles ends, too.
    const Nanoseconds earned = std::chrono::seconds(body_bytes_ / settings.body_min_bytes_per_second);
    patience = std::min(patience, earned + settings.body_timeout - waited_for_body_);
  }
  const Instant deadline = began + grace + patience;
  Result<BodyPiece> piece = next_piece();
  while (piece && piece->bytes.empty() && !piece->last) {
    const rt::Wake wake = co_await arrived_.wait(session_.loop_, deadline, cancel);
    if (wake == rt::Wake::cancelled) {
      co_return std::unexpected(Error{.origin = Origin::us, .kind = ErrorKind::cancelled});
    }
    piece = next_piece();
    if (wake == rt::Wake::timed_out && piece && piece->bytes.empty() && !piece->last) {
      piece = std::unexpected(Error{.origin = Origin::client, .kind = ErrorKind::timeout_body, .sent = Sent::maybe});
    }
  }
  waited_for_body_ += std::max(session_.loop_.now() - began - grace, Nanoseconds::zero());
  co_return piece;
}

DataOffer ServerStream::offer(std::size_t most) const {
  if (aborted_) return {.nothing_yet = true};
  const std::size_t bytes = std::min(most, outbox_.size());
  const bool last = last_given_ && bytes == outbox_.size();
  if (bytes == 0 && !last) return {.nothing_yet = true};
  return {.bytes = bytes, .last = last, .trailers = last ? out_trailers_ : std::span<const Field>{}};
}

std::span<const char> ServerStream::take(std::size_t bytes) {
  const std::span<const char> taken = outbox_.first(std::min(bytes, outbox_.size()));
  outbox_ = outbox_.subspan(taken.size());
  sent_bytes_ += taken.size();
  if (outbox_.empty()) {
    taken_.set();
    if (tunnel_) tunnel_->all_taken();
  }
  return taken;
}

void ServerStream::end_sent() {
  end_sent_ = true;
  taken_.set();
  if (tunnel_) arrived_.set();
}

// Until what was given has gone into the session's buffer.
rt::Task<Result<>> ServerStream::until_taken() {
  Result<> result;
  Instant deadline = session_.loop_.now() + session_.settings_.write_timeout;
  std::size_t left = outbox_.size();
  for (;;) {
    if (last_given_ ? end_sent_ : outbox_.empty()) break;
    if (lost()) {
      result = std::unexpected(why_lost());
      break;
    }
    const rt::Wake wake = co_await taken_.wait(session_.loop_, deadline);
    const bool moved = std::exchange(left, outbox_.size()) != outbox_.size();
    // A stream may have to wait for others of its connection: as long as those move, nobody is late.
    if (moved || others_move()) {
      deadline = session_.loop_.now() + session_.settings_.write_timeout;
    } else if (wake == rt::Wake::timed_out) {
      result = std::unexpected(Error{.origin = Origin::client, .kind = ErrorKind::timeout_write, .sent = Sent::maybe});
      break;
    }
  }
  if (!result) aborted_ = true;
  outbox_ = {};
  out_trailers_ = {};
  co_return result;
}

rt::Task<Result<>> ServerStream::send_interim(const ResponseHead& head) {
  // 101 does not exist here (RFC 9113 section 8.6).
  if (lost()) co_return std::unexpected(why_lost());
  if (!head_sent_ && head.status != http::status::kSwitching) session_.submit_interim(id_, head);
  co_return Result<>{};
}

rt::Task<Result<>> ServerStream::send_head(ResponseHead& head, BodyFraming framing, BodyPiece first) {
  head_sent_ = true;
  if (lost()) {
    aborted_ = true;
    co_return std::unexpected(why_lost());
  }
  const bool may_have_body = head_->method != Method::head && head.status != http::status::kNoContent &&
                             head.status != http::status::kNotModified;
  no_body_ = !may_have_body || framing.kind == BodyFraming::Kind::none;
  // An answer without content says so by its END_STREAM; a length of 0 would be metadata to clients of gRPC.
  const bool length_known = framing.kind == BodyFraming::Kind::length;
  const bool add_length = may_have_body && length_known && head.find(FieldId::content_length) == nullptr;
  if (!no_body_) outbox_ = first.bytes;
  last_given_ = first.last || no_body_;
  session_.submit_head(id_, head, add_length ? &framing.length : nullptr, last_given_ && outbox_.empty());
  if (last_given_ ? end_sent_ : outbox_.empty()) co_return Result<>{};
  auto taking = until_taken();
  Result<> taken = co_await std::move(taking);
  co_return taken;
}

rt::Task<Result<>> ServerStream::send_body(BodyPiece piece, std::span<const Field> trailers) {
  if (no_body_) co_return Result<>{};  // the head was the end
  if (lost()) {
    aborted_ = true;
    co_return std::unexpected(why_lost());
  }
  outbox_ = piece.bytes;
  last_given_ = piece.last;
  if (piece.last) out_trailers_ = trailers;
  session_.resume(id_);
  if (last_given_ ? end_sent_ : outbox_.empty()) {
    out_trailers_ = {};
    co_return Result<>{};
  }
  auto taking = until_taken();
  Result<> taken = co_await std::move(taking);
  co_return taken;
}

rt::Task<Result<UpgradedStream>> ServerStream::upgrade(ResponseHead& head) {
  watch_ = nullptr;
  head_sent_ = true;
  if (lost()) {
    aborted_ = true;
    co_return std::unexpected(why_lost());
  }
  become_connect_answer(head);
  tunnel_.emplace(*this);
  relieved_ = session_.relieve_connection(inbox_.size());
  session_.submit_head(id_, head, nullptr, false);
  co_return UpgradedStream{&*tunnel_, {}};
}

rt::Task<> ServerStream::end_tunnel() {
  constexpr Nanoseconds kTunnelLinger = std::chrono::seconds(2);
  if (lost() || aborted_) co_return;
  last_given_ = true;
  session_.resume(id_);
  const Instant deadline = session_.loop_.now() + kTunnelLinger;
  while (!lost() && !(input_ended_ && end_sent_)) {
    const rt::Wake wake = co_await arrived_.wait(session_.loop_, deadline);
    if (wake == rt::Wake::timed_out) break;
  }
}

void ServerStream::consume_input(std::size_t bytes) {
  inbox_.consume(bytes);
  // The connection's window is owed those first that it waits for.
  const std::size_t awaited = inbox_.size() + bytes - relieved_;
  const std::size_t relieved = bytes - std::min(bytes, awaited);
  relieved_ -= relieved;
  session_.tunnel_consumed(id_, bytes, relieved);
}

bool ServerStream::others_move() const {
  return session_.busy_with_others(id_, !outbox_.empty());
}

void ServerStream::pledge(std::span<const char> bytes) {
  outbox_ = bytes;
  session_.resume(id_);
}

}  // namespace dao::http::h2

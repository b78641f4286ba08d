#include "dao/http/h1/server_exchange.h"

#include <algorithm>
#include <array>

#include "dao/http/websocket_handshake.h"

namespace dao::http::h1 {

namespace {

// Unread request bodies up to this size are read and thrown away to keep the connection; larger ones close it.
constexpr std::uint64_t kDiscardMaxBytes = std::uint64_t{64} * 1024;

std::string_view default_reason(std::uint16_t status) {
  switch (status) {
    case 100:
      return "Continue";
    case 101:
      return "Switching Protocols";
    case 102:
      return "Processing";
    case 103:
      return "Early Hints";
    case 200:
      return "OK";
    default:
      return "";
  }
}

// "HTTP/1.1 200 OK\r\n". The reason is the sender's; it carries no meaning (RFC 9112 section 4).
char* write_status_line(char* to, const ResponseHead& head) {
  to = write_text(to, "HTTP/1.1 ");
  to = write_number(to, head.status);
  *to++ = ' ';
  to = write_text(to, head.reason.empty() ? default_reason(head.status) : head.reason);
  return write_text(to, "\r\n");
}

constexpr std::size_t kStatusLineMax = 64;  // beside the reason
constexpr std::size_t kOwnFieldsMax = 128;  // Connection, Content-Length or Transfer-Encoding, the empty line

}  // namespace

ServerExchange::ServerExchange(rt::Loop& loop, net::Stream& stream, Buffer& buffer, BufferPool& buffers,
                               const ServerSettings& settings, const RequestHandler& handler, const net::Peer& peer,
                               RequestHead& head, bool reused, Instant started)
    : loop_(loop),
      stream_(stream),
      buffer_(buffer),
      buffers_(buffers),
      settings_(settings),
      handler_(handler),
      peer_(peer),
      head_(head),
      body_(loop, stream, buffer, Origin::client),
      started_(started),
      reused_(reused),
      keep_alive_(head.keep_alive) {
  body_.start(head, settings.body_max_bytes, settings.limits.head_max_bytes, settings.limits.fields_max);
}

Result<BodyPiece> ServerExchange::take_buffered_body() {
  Result<BodyPiece> piece = body_.take_buffered();
  if (!piece) body_broken_ = true;
  return piece;
}

rt::Task<Result<BodyPiece>> ServerExchange::read_body(rt::Cancel* cancel, Nanoseconds grace) {
  const Instant began = loop_.now();
  Nanoseconds patience = settings_.body_timeout;
  if (settings_.body_min_bytes_per_second > 0) {
    // A body that only trickles: what the bytes so far were worth at the slowest rate, and one timeout of grace. Only
    // time that was spent waiting for the client counts, not what the backend took to read.
    const Nanoseconds earned = std::chrono::seconds(body_.bytes() / settings_.body_min_bytes_per_second);
    patience = std::min(patience, earned + settings_.body_timeout - waited_for_body_);
  }
  auto reading = body_.read(began + grace + patience, ErrorKind::timeout_body, cancel);
  Result<BodyPiece> piece = co_await std::move(reading);
  waited_for_body_ += std::max(loop_.now() - began - grace, Nanoseconds::zero());
  if (!piece) body_broken_ = true;
  co_return piece;
}

bool ServerExchange::rest_of_body_is_small() const {
  if (body_broken_) return false;
  if (body_.ended()) return true;
  return head_.framing.kind == BodyFraming::Kind::length && head_.framing.length - body_.bytes() <= kDiscardMaxBytes &&
         !(head_.expect_continue && body_.bytes() == 0);
}

rt::Task<Result<>> ServerExchange::send_interim(const ResponseHead& head) {
  if (head_.version_minor == 0 || head_sent_) co_return Result<>{};  // RFC 9110 section 15.2
  const ScratchBlock block(buffers_, kStatusLineMax + head.reason.size() + size_of_fields(head.fields) + kOwnFieldsMax);
  char* at = write_status_line(block.begin(), head);
  at = write_fields(at, head.fields);
  at = write_text(at, "\r\n");
  iovec piece{block.begin(), static_cast<std::size_t>(at - block.begin())};
  auto writing = write_all(loop_, stream_, {&piece, 1}, Origin::client, settings_.write_timeout, nullptr);
  Result<> written = co_await std::move(writing);
  co_return written;
}

BodyFraming ServerExchange::frame_for_client(const ResponseHead& head, BodyFraming framing) {
  if (head_.method == Method::head || head.status == 204 || head.status == 304) return {};
  if (framing.kind == BodyFraming::Kind::none || framing.kind == BodyFraming::Kind::length) return framing;
  // RFC 9112 section 6.1: a chunked body only to a client that can read it.
  return {head_.version_minor >= 1 ? BodyFraming::Kind::chunked : BodyFraming::Kind::until_close, 0};
}

rt::Task<Result<>> ServerExchange::send_head(ResponseHead& head, BodyFraming framing, BodyPiece first) {
  co_await rt::after_others(loop_);
  head_sent_ = true;
  out_framing_ = frame_for_client(head, framing);
  if (out_framing_.kind == BodyFraming::Kind::until_close || handler_.draining() || !rest_of_body_is_small()) {
    keep_alive_ = false;
  }
  const ScratchBlock block(buffers_, kStatusLineMax + head.reason.size() + size_of_fields(head.fields) + kOwnFieldsMax);
  char* at = write_status_line(block.begin(), head);
  at = write_fields(at, head.fields);
  if (!keep_alive_) {
    at = write_text(at, "Connection: close\r\n");
  } else if (head_.version_minor == 0) {
    at = write_text(at, "Connection: keep-alive\r\n");
  }
  if (out_framing_.kind == BodyFraming::Kind::chunked) at = write_text(at, "Transfer-Encoding: chunked\r\n");
  const bool may_have_body = head_.method != Method::head && head.status != 204 && head.status != 304;
  if (may_have_body && head.find(FieldId::content_length) == nullptr && framing.kind != BodyFraming::Kind::chunked &&
      framing.kind != BodyFraming::Kind::until_close) {
    at = write_text(at, "Content-Length: ");
    at = write_number(at, framing.length);
    at = write_text(at, "\r\n");
  }
  at = write_text(at, "\r\n");

  Pieces chunk_pieces;
  std::array<iovec, 2> pieces;
  std::size_t count = 0;
  const bool plain_body =
      out_framing_.kind == BodyFraming::Kind::length || out_framing_.kind == BodyFraming::Kind::until_close;
  const bool body_in_block = plain_body && block.worth_copying(at, first.bytes.size());
  if (plain_body) sent_bytes_ += first.bytes.size();
  if (body_in_block) at = write_text(at, {first.bytes.data(), first.bytes.size()});
  pieces[count++] = {block.begin(), static_cast<std::size_t>(at - block.begin())};
  std::span<iovec> all;
  if (out_framing_.kind == BodyFraming::Kind::chunked) {
    chunk_pieces.push_back(pieces[0]);
    add_body_pieces(first, {}, chunk_pieces);
    all = chunk_pieces.all();
  } else {
    if (plain_body && !body_in_block) pieces[count++] = piece_of(first.bytes);
    all = {pieces.data(), count};
  }
  if (first.last && closes_at_once()) stream_.closing_after_write();
  bool any_sent = false;
  const Result<bool> at_once = try_write_all(stream_, all, Origin::client, any_sent);
  Result<> written;
  if (!at_once) {
    written = std::unexpected(at_once.error());
  } else if (!*at_once) {
    auto writing = write_all(loop_, stream_, all, Origin::client, settings_.write_timeout, nullptr);
    written = co_await std::move(writing);
  }
  if (!written) {
    aborted_ = true;
    co_return written;
  }
  if (first.last) finished_ = true;
  co_return Result<>{};
}

rt::Task<Result<UpgradedStream>> ServerExchange::upgrade(ResponseHead& head) {
  stream_.watch_peer(nullptr, false);
  head_sent_ = true;
  keep_alive_ = false;
  const ScratchBlock block(buffers_, kStatusLineMax + head.reason.size() + size_of_fields(head.fields) + kOwnFieldsMax);
  char* at = write_status_line(block.begin(), head);
  at = write_fields(at, head.fields);
  at = write_text(at, kWebSocketUpgradeLines);
  at = write_text(at, "\r\n");
  iovec piece{block.begin(), static_cast<std::size_t>(at - block.begin())};
  auto writing = write_all(loop_, stream_, {&piece, 1}, Origin::client, settings_.write_timeout, nullptr);
  const Result<> written = co_await std::move(writing);
  if (!written) {
    aborted_ = true;
    co_return std::unexpected(written.error());
  }
  finished_ = upgraded_ = true;
  co_return UpgradedStream{&stream_, buffer_.mutable_content()};
}

void ServerExchange::add_body_pieces(BodyPiece piece, std::span<const Field> trailers, Pieces& pieces) {
  sent_bytes_ += piece.bytes.size();
  if (piece.bytes.empty() && !piece.last) return;
  chunks_.encode(piece, trailers, pieces);
}

rt::Task<Result<>> ServerExchange::send_body(BodyPiece piece, std::span<const Field> trailers) {
  Pieces chunk_pieces;
  std::array<iovec, 1> plain;
  std::span<iovec> all;
  if (out_framing_.kind == BodyFraming::Kind::chunked) {
    add_body_pieces(piece, trailers, chunk_pieces);
    all = chunk_pieces.all();
  } else if (out_framing_.kind != BodyFraming::Kind::none && !piece.bytes.empty()) {
    plain[0] = piece_of(piece.bytes);
    sent_bytes_ += piece.bytes.size();
    all = plain;
  }
  if (piece.last && closes_at_once()) stream_.closing_after_write();
  if (!all.empty()) {
    auto writing = write_all(loop_, stream_, all, Origin::client, settings_.write_timeout, nullptr);
    const Result<> written = co_await std::move(writing);
    if (!written) {
      aborted_ = true;
      co_return written;
    }
  }
  if (piece.last) finished_ = true;
  co_return Result<>{};
}

}  // namespace dao::http::h1

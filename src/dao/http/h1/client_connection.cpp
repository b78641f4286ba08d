#include "dao/http/h1/client_connection.h"

#include <utility>

#include "dao/http/h1/head_parser.h"
#include "dao/http/websocket_handshake.h"

namespace dao::http::h1 {

namespace {

constexpr std::size_t kRequestLineMax = 32;  // beside method and target
constexpr std::size_t kFramingMax = 64;      // or of an upgrade, which has no body

}  // namespace

ClientConnection::ClientConnection(rt::Loop& loop, std::unique_ptr<net::Stream> stream, BufferPool& buffers)
    : loop_(loop),
      stream_(std::move(stream)),
      buffers_(buffers),
      buffer_(buffers),
      body_(loop, *stream_, buffer_, Origin::backend) {}

rt::Task<Result<>> ClientConnection::send_request(const RequestHead& head, std::string_view base_path, BodyPiece first,
                                                  std::span<const Field> trailers, Nanoseconds connecting,
                                                  Nanoseconds stall, rt::Cancel* cancel) {
  co_await rt::after_others(loop_);
  ++exchanges_;
  request_sent_ = first.last;
  chunked_request_ = head.framing.kind == BodyFraming::Kind::chunked;
  const std::size_t size = kRequestLineMax + head.method_text.size() + base_path.size() + head.path.size() +
                           size_of_fields(head.fields) + kFramingMax;
  const ScratchBlock block(buffers_, size);
  char* at = write_text(block.begin(), head.method_text);
  *at++ = ' ';
  if (head.path != "*") at = write_text(at, base_path);  // "*" is about the server as a whole
  at = write_text(at, head.path);
  at = write_text(at, " HTTP/1.1\r\n");
  at = write_fields(at, head.fields);
  if (chunked_request_) at = write_text(at, "Transfer-Encoding: chunked\r\n");
  if (head.upgrade == Upgrade::websocket) at = write_text(at, kWebSocketUpgradeLines);
  at = write_text(at, "\r\n");

  const bool body_in_block = !chunked_request_ && block.worth_copying(at, first.bytes.size());
  if (body_in_block) at = write_text(at, {first.bytes.data(), first.bytes.size()});
  Pieces chunk_pieces;
  std::array<iovec, 2> plain;
  const iovec head_piece{block.begin(), static_cast<std::size_t>(at - block.begin())};
  std::span<iovec> pieces;
  if (chunked_request_ && (first.last || !first.bytes.empty())) {
    chunk_pieces.push_back(head_piece);
    chunks_.encode(first, trailers, chunk_pieces);
    pieces = chunk_pieces.all();
  } else {
    plain = {head_piece, piece_of(first.bytes)};
    pieces = std::span(plain).first(body_in_block ? 1 : 2);
  }

  bool any_sent = false;
  const bool connected = connecting == Nanoseconds::zero();
  const Instant connect_deadline = loop_.now() + connecting;
  for (;;) {
    const Result<bool> done = try_write_all(*stream_, pieces, Origin::backend, any_sent);
    if (!done) co_return std::unexpected(connected || any_sent ? done.error() : net::connect_error(done.error()));
    if (*done) co_return Result<>{};
    if (connected || any_sent) break;
    // The first write that does not block tells that the connection stands.
    const rt::Wake wake = co_await stream_->wait_writable(loop_, connect_deadline, cancel);
    if (wake != rt::Wake::ready) {
      co_return std::unexpected(interrupted(wake, Origin::backend, ErrorKind::timeout_connect));
    }
  }
  auto writing = write_all(loop_, *stream_, pieces, Origin::backend, stall, cancel);
  Result<> written = co_await std::move(writing);
  if (!written && any_sent) co_return std::unexpected(written.error().with_sent(Sent::maybe));
  co_return written;
}

rt::Task<Result<>> ClientConnection::send_body(BodyPiece piece, std::span<const Field> trailers, Nanoseconds stall,
                                               rt::Cancel* cancel) {
  Pieces chunk_pieces;
  iovec plain = piece_of(piece.bytes);
  std::span<iovec> pieces{&plain, piece.bytes.empty() ? 0U : 1U};
  if (chunked_request_) {
    chunks_.encode(piece, trailers, chunk_pieces);
    pieces = chunk_pieces.all();
  }
  auto writing = write_all(loop_, *stream_, pieces, Origin::backend, stall, cancel);
  Result<> written = co_await std::move(writing);
  if (written && piece.last) request_sent_ = true;
  if (!written) co_return std::unexpected(written.error().with_sent(Sent::maybe));
  co_return written;
}

rt::Task<Result<>> ClientConnection::read_head(ResponseHead& head, Method request_method, const HeadLimits& limits,
                                               Instant deadline, rt::Cancel* cancel) {
  std::size_t seen = 0;  // content below this was looked at
  for (;;) {
    const std::string_view content = buffer_.content();
    // Only a new line end can complete the head.
    if (!content.empty() && (seen == 0 || content.find('\n', seen) != std::string_view::npos)) {
      head.clear();
      const Result<ParsedBytes> parsed = parse_response_head(content, limits, request_method, head);
      if (!parsed) co_return std::unexpected(parsed.error().with_sent(Sent::maybe));
      if (*parsed > 0) {
        buffer_.consume(*parsed);  // the views live on until the next read
        co_return Result<>{};
      }
    }
    seen = content.size();
    const std::span<char> room = buffer_.room(limits.head_max_bytes + 1);
    if (room.empty()) {
      co_return std::unexpected(Error{.origin = Origin::backend,
                                      .kind = ErrorKind::head_too_large,
                                      .sent = Sent::maybe,
                                      .detail = "head too large"});
    }
    std::optional<Result<std::size_t>> reading = try_read_some(*stream_, room, Origin::backend);
    while (!reading) {
      const rt::Wake wake = co_await stream_->wait_readable(loop_, deadline, cancel);
      reading = wake == rt::Wake::ready ? try_read_some(*stream_, room, Origin::backend)
                                        : std::unexpected(interrupted(wake, Origin::backend, ErrorKind::timeout_head));
    }
    const Result<std::size_t>& got = *reading;
    const bool some_came = !content.empty();
    if (!got) {
      Error error = got.error().with_sent(Sent::maybe);
      if (some_came && error.kind == ErrorKind::reset) error.kind = ErrorKind::incomplete;
      co_return std::unexpected(error);
    }
    if (*got == 0) {
      co_return std::unexpected(
          Error{.origin = Origin::backend,
                .kind = some_came ? ErrorKind::incomplete : ErrorKind::closed,
                .sent = Sent::maybe,
                .detail = some_came ? "closed within the response head" : "closed before a response"});
    }
    buffer_.filled(*got);
  }
}

void ClientConnection::start_body(const ResponseHead& head, const HeadLimits& limits) {
  body_.start(head, 0, limits.head_max_bytes, limits.fields_max);
}

bool ClientConnection::reusable(const ResponseHead& head) {
  body_.release_piece();
  return request_sent_ && body_.ended() && head.keep_alive && head.framing.kind != BodyFraming::Kind::until_close &&
         buffer_.empty() && !stream_->peer_closed();
}

}  // namespace dao::http::h1

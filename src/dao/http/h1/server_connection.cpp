#include "dao/http/h1/server_connection.h"

#include <algorithm>
#include <utility>

#include "dao/http/h1/head_parser.h"
#include "dao/http/h1/server_exchange.h"
#include "dao/net/socket_stream.h"

namespace dao::http::h1 {

namespace {
// How long and how much an ended connection is read on, so that our last answer is not lost to a reset
// (RFC 9112 section 9.6).
constexpr Nanoseconds kLingerTime = std::chrono::seconds(2);
constexpr std::size_t kLingerMaxBytes = std::size_t{256} * 1024;
// A client that pipelines requests which need no waiting lets the others have their turn after so many.
constexpr std::uint32_t kRequestsPerBatch = 64;
// RFC 9113 section 3.4: as much of it as is a request line, for which the parser has refused it.
constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n";
constexpr Nanoseconds kDiscardTime = std::chrono::seconds(5);
}  // namespace

ServerConnection::ServerConnection(rt::Loop& loop, std::unique_ptr<net::Stream> stream, net::Peer peer,
                                   BufferPool& buffers, const ServerSettings& settings, RequestHandler& handler,
                                   rt::Cancel& drain)
    : loop_(loop),
      stream_(std::move(stream)),
      buffer_(buffers),
      buffers_(buffers),
      peer_(peer),
      settings_(settings),
      handler_(handler),
      drain_(drain),
      accepted_(loop.now()) {}

rt::Task<> ServerConnection::serve() {
  for (;;) {
    if (buffer_.empty()) {
      // Idle: no buffer is held, only this frame and the connection itself.
      buffer_.drop();
      const Instant deadline =
          served_ == 0 ? accepted_ + settings_.header_timeout : loop_.now() + settings_.idle_timeout;
      handler_.connection_idle(true);
      rt::Wake wake = rt::Wake::ready;
      while (wake == rt::Wake::ready && !stream_->may_read())
        wake = co_await stream_->wait_readable(loop_, deadline, &drain_);
      // A request that has come already is served, as the last one: a reset would leave its client in doubt.
      if (wake == rt::Wake::cancelled) co_await rt::next_batch(loop_);
      handler_.connection_idle(false);
      if (wake != rt::Wake::ready && !stream_->may_read()) break;
    }
    if (loop_.now() != batch_) {
      batch_ = loop_.now();
      in_batch_ = 0;
    } else if (++in_batch_ == kRequestsPerBatch) {
      const rt::Wake wake = co_await rt::sleep_until(loop_, loop_.now(), &drain_);
      static_cast<void>(wake);
    }
    auto serving = serve_one();
    const Next next = co_await std::move(serving);
    if (next == Next::request) continue;
    if (next == Next::linger) {
      auto lingering = linger();
      co_await std::move(lingering);
    }
    break;
  }
  if (is_http2_) co_return;
  stream_.reset();
  buffer_.drop();
}

rt::Task<Result<ServerConnection::HeadRead>> ServerConnection::read_head(RequestHead& head, Instant& first_byte) {
  Instant deadline = (served_ == 0 ? accepted_ : loop_.now()) + settings_.header_timeout;
  std::size_t seen = 0;  // content below this was looked at and is not a whole head
  bool start_line_ended = false;
  const std::size_t most = settings_.limits.head_max_bytes + settings_.limits.target_max_bytes;
  for (;;) {
    if (!skipped_crlf_) {
      const std::size_t crlf = leading_crlf(buffer_.content());
      if (crlf > 0) {
        buffer_.consume(crlf);
        skipped_crlf_ = true;
        if (buffer_.empty()) co_return HeadRead::nothing_yet;
      }
    }
    const std::string_view content = buffer_.content();
    if (!content.empty() && content != "\r") {
      if (first_byte == Instant{}) first_byte = loop_.now();
      // Only a new line end can complete the head, and only a target without end is refused before one: a head that
      // comes byte by byte is not parsed each time.
      const bool line_ended = content.find('\n', seen) != std::string_view::npos;
      start_line_ended = start_line_ended || line_ended;
      const bool worth_it =
          seen == 0 || line_ended || (!start_line_ended && content.size() > settings_.limits.target_max_bytes);
      if (worth_it) {
        head.clear();
        const Result<ParsedBytes> parsed = parse_request_head(content, settings_.limits, head);
        const bool preface_begins = http2_allowed_ && served_ == 0 && content.size() < kHttp2Preface.size() &&
                                    kHttp2Preface.starts_with(content);
        if (!parsed && !preface_begins) co_return std::unexpected(parsed.error());
        if (parsed && *parsed > 0) {
          buffer_.pin();
          buffer_.consume(*parsed);
          skipped_crlf_ = false;
          co_return HeadRead::complete;
        }
      }
      seen = content.size();
    }
    const std::span<char> room = buffer_.room(most);
    if (room.empty()) {
      co_return std::unexpected(
          Error{.origin = Origin::client, .kind = ErrorKind::head_too_large, .detail = "head too large"});
    }
    std::optional<Result<std::size_t>> reading = try_read_some(*stream_, room, Origin::client);
    if (!reading && buffer_.empty()) co_return HeadRead::nothing_yet;
    while (!reading) {
      const rt::Wake wake = co_await stream_->wait_readable(loop_, deadline, nullptr);
      reading = wake == rt::Wake::ready ? try_read_some(*stream_, room, Origin::client)
                                        : std::unexpected(interrupted(wake, Origin::client, ErrorKind::timeout_head));
    }
    const Result<std::size_t>& got = *reading;
    if (!got) {
      if (buffer_.empty()) co_return HeadRead::closed;  // nothing was asked: nothing to answer
      co_return std::unexpected(got.error());
    }
    if (*got == 0) {
      if (buffer_.empty()) co_return HeadRead::closed;
      co_return std::unexpected(
          Error{.origin = Origin::client, .kind = ErrorKind::incomplete, .detail = "closed within the head"});
    }
    buffer_.filled(*got);
  }
}

rt::Task<ServerConnection::Next> ServerConnection::serve_one() {
  std::unique_ptr<RequestHead> head = handler_.borrow_request_head();
  Instant first_byte{};
  auto reading = read_head(*head, first_byte);
  const Result<HeadRead> read = co_await std::move(reading);
  Next next = Next::close;
  if (read && *read != HeadRead::complete) {
    handler_.return_request_head(std::move(head));
    co_return *read == HeadRead::nothing_yet ? Next::request : Next::close;
  }
  if (!read && http2_allowed_ && served_ == 0 && buffer_.content().starts_with(kHttp2Preface)) {
    is_http2_ = true;
    handler_.return_request_head(std::move(head));
    co_return Next::close;
  }
  if (!read) {
    // Nothing more is read from this client but to linger. The log wants what was understood; since the parse that
    // understood it the buffer may have moved.
    buffer_.pin();
    head->clear();
    static_cast<void>(parse_request_head(buffer_.content(), settings_.limits, *head));
    if (first_byte == Instant{}) first_byte = loop_.now();
    head->framing = {};
    head->keep_alive = false;
  }
  {
    ServerExchange exchange(loop_, *stream_, buffer_, buffers_, settings_, handler_, peer_, *head, served_ > 0,
                            first_byte);
    if (!read) exchange.body_is_unreadable();
    ++served_;
    auto handling = handler_.handle(exchange, read ? nullptr : &read.error());
    co_await std::move(handling);
    stream_->watch_peer(nullptr, false);
    exchange.release_body();
    if (exchange.aborted()) {
      if (exchange.abort_needs_reset()) {
        if (auto* socket = dynamic_cast<net::SocketStream*>(stream_.get())) socket->abort();
      }
    } else if (exchange.upgraded()) {
      buffer_.consume(buffer_.content().size());
      next = Next::linger;  // what the client still sends must not cost it the end of what it was sent
    } else if (exchange.keep_alive()) {
      bool clean = true;
      if (!exchange.body_read_to_end()) {
        auto discarding = discard_rest_of_body(exchange, clean);
        co_await std::move(discarding);
        exchange.release_body();
      }
      next = clean ? Next::request : Next::close;
    } else {
      // Bytes that we leave unread would make the kernel reset the connection under our answer.
      next = exchange.body_read_to_end() && buffer_.empty() && read ? Next::close : Next::linger;
    }
  }
  buffer_.unpin();
  handler_.return_request_head(std::move(head));
  co_return next;
}

rt::Task<> ServerConnection::discard_rest_of_body(ServerExchange& exchange, bool& clean) {
  const Instant give_up = loop_.now() + kDiscardTime;
  while (!exchange.body_read_to_end()) {
    auto reading = exchange.read_body(nullptr, Nanoseconds::zero());
    const Result<BodyPiece> piece = co_await std::move(reading);
    if (!piece || loop_.now() > give_up) {
      clean = false;
      co_return;
    }
  }
}

rt::Task<> ServerConnection::linger() {
  stream_->shutdown_write();
  buffer_.drop();
  const Instant deadline = loop_.now() + kLingerTime;
  std::size_t discarded = 0;
  while (discarded < kLingerMaxBytes) {
    const std::span<char> room = buffer_.room(BufferPool::kSmall);
    auto reading = read_some(loop_, *stream_, room, Origin::client, deadline, ErrorKind::timeout_idle, nullptr);
    const Result<std::size_t> got = co_await std::move(reading);
    if (!got || *got == 0) co_return;
    discarded += *got;
  }
}

}  // namespace dao::http::h1

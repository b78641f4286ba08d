#include "connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "dao/base/json_text.h"
#include "dao/http/h1/head_parser.h"
#include "server.h"
#include "worker.h"

namespace dao::fault {

namespace {

using http::BodyFraming;
using http::BodyPiece;

constexpr http::HeadLimits kLimits{
    .target_max_bytes = 65536, .head_max_bytes = std::size_t{1} << 20U, .fields_max = 1000};
constexpr std::size_t kTrailerMaxBytes = 65536;
constexpr std::size_t kInspectedBodyBytes = 65536;
constexpr Nanoseconds kWriteStall = std::chrono::hours(1);  // a client may read as slowly as it likes
constexpr Nanoseconds kLingerTime = std::chrono::seconds(2);

// 1024 lines of 64 bytes: what a body of a given size is made of.
constexpr std::size_t kPatternBytes = 65536;
const char* pattern() {
  static const std::string text = [] {
    std::string lines;
    while (lines.size() < kPatternBytes) {
      lines += "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.\n";
    }
    return lines;
  }();
  return text.data();
}

constexpr std::string_view kText = "ok\n";
constexpr std::string_view kPlain = "text/plain";

std::string_view reason_of(unsigned status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 404:
      return "Not Found";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    default:
      return "Scripted";
  }
}

bool has_no_body(http::Method method, unsigned status) {
  return method == http::Method::head || status == 204 || status == 304;
}

Nanoseconds milliseconds(double ms) {
  return Nanoseconds{static_cast<std::int64_t>(ms * 1e6)};
}

}  // namespace

Connection::Connection(Worker& worker, int fd)
    : worker_(worker),
      stream_(worker.loop(), fd),
      buffer_(worker.buffers()),
      body_(worker.loop(), stream_, buffer_, Origin::client) {}

void Connection::drop() {
  stream_.abort();
  cancel_.request();
}

std::span<const char> Connection::Source::at(std::uint64_t offset, std::uint64_t at_most) const {
  const std::uint64_t left = std::min(size - offset, at_most);
  if (!is_pattern) return std::span{text}.subspan(offset, left);
  const std::size_t begin = offset % kPatternBytes;
  return {pattern() + begin, static_cast<std::size_t>(std::min<std::uint64_t>(left, kPatternBytes - begin))};
}

rt::Task<> Connection::run(std::unique_ptr<Connection> connection) {
  Worker& worker = connection->worker_;
  Next next = Next::request;
  while (next == Next::request) {
    auto serving = connection->serve_one();
    next = co_await std::move(serving);
  }
  if (next == Next::close && (!connection->body_.ended() || !connection->buffer_.empty())) {
    auto lingering = connection->linger();
    co_await std::move(lingering);
  }
  worker.connection_ended(*connection);
}

rt::Task<Connection::Next> Connection::serve_one() {
  auto reading = read_head();
  const Next read = co_await std::move(reading);
  if (read != Next::request) co_return read;
  ++requests_;
  body_.start(head_, 0, kTrailerMaxBytes, kLimits.fields_max);

  const std::size_t mark = head_.path.find('?');
  const std::string_view path = head_.path.substr(0, mark);
  const std::string_view query = mark == std::string_view::npos ? std::string_view{} : head_.path.substr(mark + 1);
  Stats& stats = worker_.stats();
  Next next = Next::gone;
  if (path == "/_stats" || path == "/_control") {
    auto answering = answer_internal(path, query);
    next = co_await std::move(answering);
  } else {
    ++stats.requests;
    Behaviour behaviour = worker_.defaults();
    const auto applied = query.empty() ? std::expected<void, std::string>{} : apply_query(behaviour, query);
    if (applied) {
      auto behaving = behave(behaviour);
      next = co_await std::move(behaving);
    } else {
      const std::string text = applied.error() + "\nknown parameters:\n" + parameter_help();
      auto answering = send_text(400, kPlain, text);
      next = co_await std::move(answering);
    }
  }
  if (next == Next::request && !body_.ended()) {
    auto draining = read_body_to_end(nullptr);
    const bool whole = co_await std::move(draining);
    if (!whole) next = Next::gone;
  }
  body_.release_piece();
  buffer_.unpin();
  stats.request_body_bytes += body_.bytes();
  if (next == Next::gone) ++stats.requests_aborted;
  if (next == Next::cut) ++stats.requests_cut;
  co_return next;
}

rt::Task<Connection::Next> Connection::read_head() {
  for (;;) {
    buffer_.consume(http::h1::leading_crlf(buffer_.content()));
    if (buffer_.empty()) {
      // An idle connection holds no buffer.
      buffer_.drop();
      while (!stream_.may_read()) {
        const rt::Wake wake = co_await stream_.wait_readable(worker_.loop(), kNever, &cancel_);
        if (wake != rt::Wake::ready) co_return Next::gone;
      }
    } else {
      head_.clear();
      const Result<http::h1::ParsedBytes> parsed = http::h1::parse_request_head(buffer_.content(), kLimits, head_);
      if (!parsed) {
        ++worker_.stats().requests_malformed;
        head_.keep_alive = false;
        auto answering = send_text(400, kPlain, parsed.error().detail);
        const Next next = co_await std::move(answering);
        co_return next;
      }
      if (*parsed > 0) {
        buffer_.pin();
        buffer_.consume(*parsed);
        co_return Next::request;
      }
    }
    const std::span<char> room = buffer_.room(kLimits.head_max_bytes + 1);
    auto reading =
        http::h1::read_some(worker_.loop(), stream_, room, Origin::client, kNever, ErrorKind::timeout_head, &cancel_);
    const Result<std::size_t> got = co_await std::move(reading);
    if (!got || *got == 0) co_return Next::gone;
    buffer_.filled(*got);
  }
}

rt::Task<Connection::Next> Connection::answer_internal(std::string_view path, std::string_view query) {
  if (path == "/_stats") {
    auto gathering = worker_.server().stats_json(worker_, cancel_);
    const std::string json = co_await std::move(gathering);
    auto answering = send_text(200, "application/json", json);
    const Next next = co_await std::move(answering);
    co_return next;
  }
  std::expected<void, std::string> obeyed = std::unexpected("/_control changes things: ask with POST");
  if (head_.method == http::Method::post) {
    auto controlling = worker_.server().control(worker_, query, this, cancel_);
    obeyed = co_await std::move(controlling);
  }
  const std::string text = obeyed ? "ok\n" : obeyed.error() + "\n";
  auto answering = send_text(obeyed ? 200 : 400, kPlain, text);
  const Next next = co_await std::move(answering);
  co_return next;
}

rt::Task<Connection::Next> Connection::behave(Behaviour behaviour) {
  Stats& stats = worker_.stats();
  const bool fails = behaviour.fail_rate > 0 && worker_.chance(behaviour.fail_rate);
  if (fails) {
    ++stats.requests_failed;
    behaviour.status = behaviour.fail_status;
  }
  const bool echo = behaviour.echo && !behaviour.inspect;
  std::string kept;
  if (!body_.ended() && !behaviour.early) {
    if (head_.expect_continue) {
      auto inviting = write_text("HTTP/1.1 100 Continue\r\n\r\n");
      const bool invited = co_await std::move(inviting);
      if (!invited) co_return Next::gone;
    }
    if (!echo) {
      auto reading = read_body_to_end(behaviour.echo ? &kept : nullptr);
      const bool whole = co_await std::move(reading);
      if (!whole) co_return Next::gone;
    }
  }
  const bool at_once = fails && behaviour.fail_at_once;
  if (!at_once && (worker_.slots().limited() || behaviour.delay_ms > 0 || behaviour.delay_exp_ms > 0)) {
    auto waiting = wait_for_service(behaviour);
    const bool served = co_await std::move(waiting);
    if (!served) co_return Next::gone;
  }
  if (behaviour.strikes_at(Stage::head)) {
    auto cutting = cut(Stage::head, behaviour);
    const Next next = co_await std::move(cutting);
    co_return next;
  }
  if (head_.version_minor > 0 && (behaviour.interim_count > 0 || behaviour.interim_flood > 0)) {
    auto sending = send_interims(behaviour);
    const bool sent = co_await std::move(sending);
    if (!sent) co_return Next::gone;
  }
  if (behaviour.garbage) {
    auto sending = write_text(std::string_view{"\x16\x03\x01 this is not HTTP\r\n\0\xff\r\n\r\n", 30});
    const bool sent = co_await std::move(sending);
    co_return sent ? Next::cut : Next::gone;
  }

  Source source{.text = kText, .size = kText.size()};
  std::string json;
  if (behaviour.inspect) {
    json = inspection(behaviour.echo ? &kept : nullptr);
    source = {.text = json, .size = json.size()};
  } else if (behaviour.size) {
    source = {.text = {}, .size = *behaviour.size, .is_pattern = true};
  }
  BodyFraming framing{BodyFraming::Kind::length, echo ? head_.framing.length : source.size};
  if (behaviour.chunked || behaviour.trailers || (echo && head_.framing.kind == BodyFraming::Kind::chunked)) {
    framing = {BodyFraming::Kind::chunked, 0};
  }
  const bool no_body = has_no_body(head_.method, behaviour.status);
  if (no_body && head_.method != http::Method::head) framing = {BodyFraming::Kind::none, 0};
  const bool chunked_unknown = framing.kind == BodyFraming::Kind::chunked && head_.version_minor == 0;
  if (!no_body && (behaviour.no_length || chunked_unknown)) framing = {BodyFraming::Kind::until_close, 0};
  const bool keep_alive = head_.keep_alive && behaviour.keep_alive && framing.kind != BodyFraming::Kind::until_close;
  ++stats.answers[behaviour.status / 100];
  make_head(behaviour, behaviour.inspect ? "application/json" : kPlain, framing, keep_alive);

  if (behaviour.strikes_at(Stage::mid_head)) {
    auto sending = write_text(std::string_view{head_text_}.substr(0, head_text_.size() / 2));
    const bool sent = co_await std::move(sending);
    if (!sent) co_return Next::gone;
    auto cutting = cut(Stage::mid_head, behaviour);
    const Next next = co_await std::move(cutting);
    co_return next;
  }
  const bool chunked = framing.kind == BodyFraming::Kind::chunked;
  if (echo && !no_body) {
    auto echoing = send_echo(behaviour, chunked, keep_alive);
    const Next next = co_await std::move(echoing);
    co_return next;
  }
  const bool cuts_body = behaviour.strikes_at(Stage::body);
  if (no_body) source = {};
  auto sending = send_body(behaviour, source, cuts_body ? source.size / 2 : source.size, chunked && !no_body);
  const bool sent = co_await std::move(sending);
  if (!sent) co_return Next::gone;
  if (cuts_body) {
    auto cutting = cut(Stage::body, behaviour);
    const Next next = co_await std::move(cutting);
    co_return next;
  }
  co_return keep_alive ? Next::request : Next::close;
}

rt::Task<bool> Connection::wait_for_service(const Behaviour& behaviour) {
  stream_.watch_peer(&cancel_, behaviour.notice_close);
  auto acquiring = worker_.slots().acquire(worker_.loop(), cancel_);
  const bool acquired = co_await std::move(acquiring);
  if (!acquired) co_return false;
  const Nanoseconds delay = worker_.service_time(behaviour);
  rt::Wake wake = rt::Wake::timed_out;
  if (delay.count() > 0) wake = co_await rt::sleep_until(worker_.loop(), worker_.loop().now() + delay, &cancel_);
  worker_.slots().release();
  stream_.watch_peer(nullptr, false);
  co_return wake == rt::Wake::timed_out;
}

rt::Task<bool> Connection::read_body_to_end(std::string* keep) {
  while (!body_.ended()) {
    auto reading = body_.read(kNever, ErrorKind::timeout_body, &cancel_);
    const Result<BodyPiece> piece = co_await std::move(reading);
    if (!piece) co_return false;
    if (keep != nullptr && keep->size() < kInspectedBodyBytes) {
      keep->append(piece->bytes.data(), std::min(piece->bytes.size(), kInspectedBodyBytes - keep->size()));
    }
  }
  co_return true;
}

rt::Task<bool> Connection::send_interims(const Behaviour& behaviour) {
  constexpr std::string_view kEarlyHints = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";
  constexpr std::uint64_t kAtOnce = 512;
  std::string text;
  for (std::size_t i = 0; i < behaviour.interim_count; ++i) {
    const unsigned status = behaviour.interim[i];
    if (status == 103) {
      text += kEarlyHints;
    } else {
      text += fmt::format("HTTP/1.1 {} {}\r\n\r\n", status, status == 100 ? "Continue" : "Interim");
    }
  }
  std::uint64_t left = behaviour.interim_flood;
  for (;;) {
    const std::uint64_t now = std::min(left, kAtOnce);
    for (std::uint64_t i = 0; i < now; ++i) text += kEarlyHints;
    left -= now;
    auto sending = write_text(text);
    const bool sent = co_await std::move(sending);
    if (!sent || left == 0) co_return sent;
    text.clear();
  }
}

rt::Task<bool> Connection::send_body(const Behaviour& behaviour, const Source& source, std::uint64_t stop_at,
                                     bool chunked) {
  constexpr std::size_t kPiecesAtOnce = 16;
  const bool in_steps = chunked || behaviour.trickle_ms > 0;
  const std::string body_bytes = behaviour.trailers ? std::to_string(source.size) : std::string{};
  const http::Field trailers[] = {{"X-Trailer", "yes"}, {"X-Body-Bytes", body_bytes}};
  http::h1::ChunkedEncoder chunks;
  std::uint64_t at = 0;
  pieces_.clear();
  pieces_.push_back(http::h1::piece_of(std::string_view{head_text_}));
  for (;;) {
    do {
      const auto bytes = source.at(at, std::min<std::uint64_t>(stop_at - at, in_steps ? behaviour.chunk : ~0ULL));
      at += bytes.size();
      if (chunked) {
        const bool last = at == source.size && stop_at == source.size && !behaviour.strikes_at(Stage::body);
        chunks.encode({bytes, last}, behaviour.trailers ? trailers : std::span<const http::Field>{}, pieces_);
      } else {
        pieces_.push_back(http::h1::piece_of(bytes));
      }
      worker_.stats().response_body_bytes += bytes.size();
    } while (!in_steps && at < stop_at && pieces_.size() < kPiecesAtOnce);
    auto writing = write_pieces();
    const bool written = co_await std::move(writing);
    if (!written || at == stop_at) co_return written;
    if (behaviour.trickle_ms > 0) {
      const Instant until = worker_.loop().now() + milliseconds(behaviour.trickle_ms);
      const rt::Wake wake = co_await rt::sleep_until(worker_.loop(), until, &cancel_);
      if (wake == rt::Wake::cancelled) co_return false;
    }
  }
}

rt::Task<Connection::Next> Connection::send_echo(const Behaviour& behaviour, bool chunked, bool keep_alive) {
  http::h1::ChunkedEncoder chunks;
  pieces_.clear();
  pieces_.push_back(http::h1::piece_of(std::string_view{head_text_}));
  for (bool last = false; !last;) {
    BodyPiece piece{{}, true};
    if (!body_.ended()) {
      auto reading = body_.read(kNever, ErrorKind::timeout_body, &cancel_);
      const Result<BodyPiece> read = co_await std::move(reading);
      if (!read) co_return Next::gone;
      piece = *read;
    }
    last = piece.last;
    const bool cuts = behaviour.strikes_at(Stage::body);
    if (chunked) {
      chunks.encode({piece.bytes, last && !cuts}, {}, pieces_);
    } else {
      pieces_.push_back(http::h1::piece_of(cuts ? piece.bytes.first(piece.bytes.size() / 2) : piece.bytes));
    }
    worker_.stats().response_body_bytes += piece.bytes.size();
    auto writing = write_pieces();
    const bool written = co_await std::move(writing);
    if (!written) co_return Next::gone;
    if (cuts) {
      auto cutting = cut(Stage::body, behaviour);
      const Next next = co_await std::move(cutting);
      co_return next;
    }
  }
  co_return keep_alive ? Next::request : Next::close;
}

rt::Task<Connection::Next> Connection::send_text(unsigned status, std::string_view type, std::string_view text) {
  Behaviour plain;
  plain.status = status;
  const bool no_body = head_.method == http::Method::head;
  make_head(plain, type, {BodyFraming::Kind::length, text.size()}, head_.keep_alive);
  const Source source{.text = text, .size = no_body ? 0 : text.size()};
  auto sending = send_body(plain, source, source.size, false);
  const bool sent = co_await std::move(sending);
  if (!sent) co_return Next::gone;
  co_return head_.keep_alive ? Next::request : Next::close;
}

rt::Task<Connection::Next> Connection::cut(Stage stage, const Behaviour& behaviour) {
  if (behaviour.hang == stage) {
    stream_.watch_peer(&cancel_, true);
    (void)co_await rt::sleep_until(worker_.loop(), kNever, &cancel_);
    stream_.watch_peer(nullptr, false);
  } else if (behaviour.reset == stage) {
    stream_.abort();
  }
  co_return Next::cut;
}

rt::Task<bool> Connection::write_pieces() {
  auto writing = http::h1::write_all(worker_.loop(), stream_, pieces_, Origin::client, kWriteStall, &cancel_);
  const Result<> written = co_await std::move(writing);
  pieces_.clear();
  co_return written.has_value();
}

rt::Task<bool> Connection::write_text(std::string_view text) {
  pieces_.clear();
  pieces_.push_back(http::h1::piece_of(text));
  return write_pieces();
}

rt::Task<> Connection::linger() {
  stream_.shutdown_write();
  buffer_.drop();
  const Instant deadline = worker_.loop().now() + kLingerTime;
  for (;;) {
    const std::span<char> room = buffer_.room(http::BufferPool::kSmall);
    auto reading =
        http::h1::read_some(worker_.loop(), stream_, room, Origin::client, deadline, ErrorKind::timeout_idle, &cancel_);
    const Result<std::size_t> got = co_await std::move(reading);
    if (!got || *got == 0) co_return;
  }
}

void Connection::make_head(const Behaviour& behaviour, std::string_view type, BodyFraming framing, bool keep_alive) {
  std::string& text = head_text_;
  char digits[20];
  const auto number = [&digits](std::uint64_t value) {
    return std::string_view{digits, static_cast<std::size_t>(http::h1::write_number(digits, value) - digits)};
  };
  text.clear();
  text += "HTTP/1.1 ";
  text += number(behaviour.status);
  text += ' ';
  text += reason_of(behaviour.status);
  text += "\r\nServer: dao-upstream\r\nDate: ";
  text += worker_.date();
  if (!worker_.server().name().empty()) {
    text += "\r\nX-Upstream: ";
    text += worker_.server().name();
  }
  if (framing.kind != BodyFraming::Kind::none) {
    text += "\r\nContent-Type: ";
    text += type;
  }
  if (framing.kind == BodyFraming::Kind::length) {
    text += "\r\nContent-Length: ";
    text += number(framing.length);
  } else if (framing.kind == BodyFraming::Kind::chunked) {
    text += "\r\nTransfer-Encoding: chunked";
    if (behaviour.trailers) text += "\r\nTrailer: X-Trailer, X-Body-Bytes";
  }
  if (!keep_alive) {
    text += "\r\nConnection: close";
  } else if (head_.version_minor == 0) {
    text += "\r\nConnection: keep-alive";
  }
  constexpr std::size_t kFillerBytes = 1000;
  for (std::uint64_t added = 0; added < behaviour.header_flood_bytes; added += kFillerBytes) {
    text += "\r\nX-Filler-";
    text += number(added / kFillerBytes);
    text += ": ";
    text.append(std::min<std::uint64_t>(kFillerBytes - 20, behaviour.header_flood_bytes - added), 'f');
  }
  text += "\r\n\r\n";
}

std::string Connection::inspection(const std::string* body) const {
  nlohmann::ordered_json json;
  const auto list = [](std::span<const http::Field> fields) {
    auto pairs = nlohmann::ordered_json::array();
    for (const http::Field& field : fields) pairs.push_back({field.name, field.value});
    return pairs;
  };
  json["upstream"] = worker_.server().name();
  json["requests_on_connection"] = requests_;
  json["method"] = head_.method_text;
  json["target"] = head_.target;
  json["version"] = fmt::format("HTTP/1.{}", head_.version_minor);
  json["fields"] = list(head_.fields);
  json["body_bytes"] = body_.bytes();
  json["trailers"] = list(body_.trailers());
  if (body != nullptr) json["body"] = *body;
  return json_text(json) + "\n";
}

}  // namespace dao::fault

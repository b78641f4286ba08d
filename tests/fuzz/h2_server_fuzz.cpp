// A client's frames into a ServerSession in virtual time: the harness sends preface and SETTINGS, then makes frames of
// what the input says, valid ones and any others, in segments of any size, with pauses, reading or not. The handler
// reads bodies, answers, or opens a WebSocket and echoes. What the handler saw, written as HTTP/1.1 and parsed, must be
// the same request; its body must have the length it said; what DAO holds and sends must stay within the windows and
// bounds; its answers must be whole frames that HPACK decodes; nothing may be left behind.
#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <memory>
#include <set>
#include <vector>

#include "dao/http/h1/head_parser.h"
#include "dao/http/h1/message_io.h"
#include "dao/http/h2/server_session.h"
#include "dao/net/memory_stream.h"
#include "input.h"
#include "oracle.h"

using namespace dao;
using http::BodyFraming;
using http::BodyPiece;
using http::Exchange;

namespace {

class Handler final : public http::RequestHandler {
 public:
  Handler(rt::Loop& loop, unsigned mode, std::size_t body_max) : loop_(loop), mode_(mode), body_max_(body_max) {}

  rt::Task<> handle(Exchange& exchange, const Error* rejected) override {
    ++handled;
    if (rejected == nullptr) check_request(exchange.request());
    if (rejected == nullptr && exchange.request().upgrade != http::Upgrade::none && (mode_ & 1U) == 0) {
      auto echoing = echo(exchange);
      co_await std::move(echoing);
    } else {
      auto answering = answer(exchange, rejected);
      co_await std::move(answering);
    }
  }
  std::unique_ptr<http::RequestHead> borrow_request_head() override {
    ++heads_out;
    return std::make_unique<http::RequestHead>();
  }
  void return_request_head(std::unique_ptr<http::RequestHead>) override { --heads_out; }
  [[nodiscard]] bool draining() const override { return false; }
  void connection_idle(bool idle) override { idle_connections += idle ? 1 : -1; }

  std::size_t handled = 0;
  int heads_out = 0;
  int idle_connections = 0;

 private:
  static std::string text_of(const http::RequestHead& head) {
    return std::string{head.method_text} + " " + std::string{head.target} + " HTTP/1.1\r\n" +
           fuzz::fields_text(head.fields) + "\r\n";
  }
  static void check_request(const http::RequestHead& head) {
    const std::string text = text_of(head);
    http::RequestHead again;
    const Result<http::h1::ParsedBytes> parsed =
        http::h1::parse_request_head(text, {.head_max_bytes = 1U << 20U}, again);
    fuzz::check(parsed && *parsed == text.size(), "what the handler sees is a request");
    fuzz::check(again.path == head.path && again.authority == head.authority && again.method == head.method,
                "and it is the same one");
    fuzz::check(head.method != http::Method::connect, "no CONNECT gets here");
    if (head.framing.kind == BodyFraming::Kind::length) fuzz::check(again.framing == head.framing, "framed as it says");
    if (head.upgrade == http::Upgrade::none) return;
    fuzz::check(head.method == http::Method::get && head.framing.kind == BodyFraming::Kind::none,
                "an upgrade is a GET without a body");
    fuzz::check(head.find("sec-websocket-key") == nullptr && head.find("content-length") == nullptr,
                "and has no key of the client's");
  }

  rt::Task<> answer(Exchange& exchange, const Error* rejected) {
    http::ResponseHead head;
    head.status = rejected == nullptr ? 200 : 400;
    if (rejected == nullptr && ((mode_ & 2U) == 0 || handled % 2 == 0)) {  // some answer without reading
      const std::string before = text_of(exchange.request());
      std::string body;
      Result<BodyPiece> piece = exchange.take_buffered_body();
      while (piece) {
        body.append(piece->bytes.data(), piece->bytes.size());
        if (piece->last) break;
        auto reading = exchange.read_body(nullptr, Nanoseconds::zero());
        piece = co_await std::move(reading);
      }
      fuzz::check(before == text_of(exchange.request()), "the head stays as it was while the body is read");
      if (piece) {
        fuzz::check(exchange.request_body_bytes() == body.size(), "all of the body was given");
        fuzz::check(body_max_ == 0 || body.size() <= body_max_, "within the limit");
        if (exchange.request().framing.kind == BodyFraming::Kind::length) {
          fuzz::check(body.size() == exchange.request().framing.length, "the body has the length it said");
        }
      } else {
        head.status = 408;
      }
    }
    const std::string body((mode_ & 4U) != 0 ? 100'000 : 2, 'o');
    if ((mode_ & 8U) != 0) {
      http::ResponseHead early;
      early.status = 103;
      auto hinting = exchange.send_interim(early);
      const Result<> hinted = co_await std::move(hinting);
      if (!hinted) co_return;
    }
    if ((mode_ & 16U) == 0) {
      auto sending = exchange.send_head(head, {BodyFraming::Kind::length, body.size()}, {body, true});
      const Result<> sent = co_await std::move(sending);
      static_cast<void>(sent);
      co_return;
    }
    auto sending = exchange.send_head(head, {BodyFraming::Kind::chunked, 0}, {{}, false});
    const Result<> sent = co_await std::move(sending);
    if (!sent) co_return;
    const std::array<http::Field, 1> trailers{http::Field{"x-end", "1"}};
    auto ending = exchange.send_body({body, true}, trailers);
    const Result<> ended = co_await std::move(ending);
    static_cast<void>(ended);
  }

  rt::Task<> echo(Exchange& exchange) {
    http::ResponseHead head;
    head.status = 101;
    auto upgrading = exchange.upgrade(head);
    const Result<http::UpgradedStream> upgraded = co_await std::move(upgrading);
    if (!upgraded) co_return;
    net::Stream& stream = *upgraded->stream;
    for (;;) {
      const std::span<const char> bytes = stream.buffered();
      if (!bytes.empty()) {
        iovec piece = http::h1::piece_of(bytes);
        auto writing =
            http::h1::write_all(loop_, stream, {&piece, 1}, Origin::client, std::chrono::seconds(30), nullptr);
        const Result<> written = co_await std::move(writing);
        if (!written) {
          stream.abandon_write();
          co_return;
        }
        stream.consume(bytes.size());
        continue;
      }
      char byte;
      if (stream.may_read() && stream.try_read({&byte, 1}).status != net::IoStatus::would_block) co_return;
      const rt::Wake wake = co_await stream.wait_readable(loop_, loop_.now() + std::chrono::seconds(30), nullptr);
      if (wake == rt::Wake::timed_out) co_return;
    }
  }

  rt::Loop& loop_;
  unsigned mode_;
  std::size_t body_max_;
};

// What the client gets: whole frames, header blocks in HPACK's order, no more DATA than it allows.
class Reader {
 public:
  Reader() { nghttp2_hd_inflate_new(&inflater_); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { nghttp2_hd_inflate_del(inflater_); }

  void take(std::string_view bytes) {
    buffer_ += bytes;
    while (buffer_.size() >= 9) {
      const auto byte = [this](std::size_t at) { return static_cast<unsigned char>(buffer_[at]); };
      const std::size_t length = std::size_t{byte(0)} << 16U | std::size_t{byte(1)} << 8U | byte(2);
      fuzz::check(length <= 16384, "no frame is larger than the client takes");
      if (buffer_.size() < 9 + length) return;
      const std::uint32_t id = static_cast<std::uint32_t>(byte(5)) << 24U | static_cast<std::uint32_t>(byte(6)) << 16U |
                               static_cast<std::uint32_t>(byte(7)) << 8U | byte(8);
      frame(byte(3), byte(4), id, std::string_view{buffer_}.substr(9, length));
      buffer_.erase(0, 9 + length);
    }
  }
  [[nodiscard]] bool whole() const { return buffer_.empty(); }

  std::size_t data = 0;  // bytes of it
  std::size_t answers = 0;
  bool goaway = false;

 private:
  void frame(unsigned type, unsigned flags, std::uint32_t id, std::string_view payload) {
    fuzz::check(type <= NGHTTP2_CONTINUATION && type != NGHTTP2_PUSH_PROMISE, "only frames of a server");
    if (type == NGHTTP2_GOAWAY) goaway = true;
    if (type == NGHTTP2_DATA) {
      fuzz::check(answered_.contains(id) && !ended_.contains(id), "DATA only within an answer");
      data += payload.size();
    }
    if (type == NGHTTP2_HEADERS) {
      fuzz::check((flags & NGHTTP2_FLAG_END_HEADERS) != 0 && !ended_.contains(id), "a whole head");
      if (final_head(payload)) {
        if (answered_.insert(id).second) ++answers;
      } else {
        fuzz::check(!answered_.contains(id) || (flags & NGHTTP2_FLAG_END_STREAM) != 0, "trailers are the end");
      }
    }
    const bool may_end = type == NGHTTP2_DATA || type == NGHTTP2_HEADERS;
    if (may_end && (flags & NGHTTP2_FLAG_END_STREAM) != 0) ended_.insert(id);
  }
  bool final_head(std::string_view block) {
    bool final = false;
    const auto* at = reinterpret_cast<const std::uint8_t*>(block.data());
    std::size_t left = block.size();
    for (;;) {
      nghttp2_nv pair;
      int flags = 0;
      const ssize_t used = nghttp2_hd_inflate_hd2(inflater_, &pair, &flags, at, left, 1);
      fuzz::check(used >= 0, "HPACK decodes");
      at += used;
      left -= static_cast<std::size_t>(used);
      if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
        const std::string_view name{reinterpret_cast<const char*>(pair.name), pair.namelen};
        if (name == ":status") final = pair.value[0] != '1';
      }
      if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
    }
    nghttp2_hd_inflate_end_headers(inflater_);
    return final;
  }

  nghttp2_hd_inflater* inflater_ = nullptr;
  std::string buffer_;
  std::set<std::uint32_t> answered_;
  std::set<std::uint32_t> ended_;
};

// Frames out of the input.
class Writer {
 public:
  explicit Writer(std::string_view input) : input_(input) {}

  [[nodiscard]] bool more() const { return !input_.empty(); }
  // The next bytes to send. `pause`, `drain`, `toggle_reading` are for the caller.
  std::string next() {
    pause = Nanoseconds::zero();
    drain = toggle_reading = false;
    const unsigned what = input_.byte();
    const unsigned flags = what >> 4U;
    switch (what % 16U) {
      case 0:
        return headers(new_stream(), "GET", NGHTTP2_FLAG_END_STREAM);
      case 1:
        return headers(new_stream(), "POST", 0);
      case 2:
        return headers(new_stream(), "CONNECT", 0);
      case 3: {
        const std::size_t size = (flags & 2U) != 0 ? std::size_t{input_.byte()} * 64 : input_.byte() % 32U;
        return frame(NGHTTP2_DATA, flags & 1U, stream(), std::string(size, 'd'));
      }
      case 4: {
        const std::uint32_t increment = (flags & 2U) != 0 ? input_.byte() * 256U : input_.byte();
        const std::uint32_t id = (flags & 1U) != 0 ? 0 : stream();
        if (id == 0) window += increment;
        return frame(NGHTTP2_WINDOW_UPDATE, 0, id, number(increment));
      }
      case 5:
        return frame(NGHTTP2_RST_STREAM, 0, stream(), number(input_.byte() % 16U));
      case 6: {
        const unsigned setting = input_.byte() % 10U;
        const std::uint32_t value = input_.byte() * ((flags & 1U) != 0 ? 256U : 1U);
        return frame(NGHTTP2_SETTINGS, 0, 0, std::string{'\0', static_cast<char>(setting)} + number(value));
      }
      case 7:
        return (flags & 1U) != 0 ? frame(NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, "pingpong") : ping();
      case 8: {  // any frame
        exact = false;
        const unsigned type = input_.byte();
        const unsigned frame_flags = input_.byte();
        const std::uint32_t id = input_.byte();
        return frame(type, frame_flags, id, input_.take(input_.byte()));
      }
      case 9:  // any header block
        return frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | (flags & 1U), new_stream(),
                     input_.take(input_.byte()));
      case 10: {  // in two frames
        std::string whole = headers(new_stream(), "POST", 0);
        const std::size_t at = 9 + input_.byte() % (whole.size() - 8);
        const std::uint32_t id = last_ - 2;
        const std::string rest = whole.substr(at);
        return frame(NGHTTP2_HEADERS, 0, id, std::string_view{whole}.substr(9, at - 9)) +
               frame(NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, id, rest);
      }
      case 11:  // trailers
        return frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | (flags == 15 ? 0U : 1U), stream(), extra());
      case 12:
        pause = std::chrono::milliseconds(input_.byte() * (flags + 1U));
        return {};
      case 13:  // any bytes
        exact = false;
        return std::string{input_.take(input_.byte())};
      case 14:
        toggle_reading = true;
        return {};
      default:
        drain = flags == 15;
        return drain ? std::string{} : frame(NGHTTP2_PRIORITY_UPDATE, 0, 0, number(stream()) + "u=1");
    }
  }

  static std::string ping() { return frame(NGHTTP2_PING, 0, 0, "pingpong"); }

  Nanoseconds pause{};
  bool drain = false;
  bool toggle_reading = false;
  bool exact = true;           // `window` is what the server may send
  std::size_t window = 65535;  // on the connection

 private:
  std::uint32_t new_stream() { return std::exchange(last_, last_ + 2); }
  std::uint32_t stream() {  // one of the last eight
    const std::uint32_t back = 2 * (input_.byte() % 8U + 1);
    return last_ > back ? last_ - back : 1;
  }
  static std::string number(std::uint32_t value) {
    std::string text;
    for (const unsigned shift : {24U, 16U, 8U, 0U}) text += static_cast<char>(value >> shift);
    return text;
  }
  static std::string frame(unsigned type, unsigned flags, std::uint32_t id, std::string_view payload) {
    std::string text = number(static_cast<std::uint32_t>(payload.size())).substr(1);
    text += static_cast<char>(type);
    text += static_cast<char>(flags);
    return text + number(id) + std::string{payload};
  }
  static std::string literal(std::string_view name, std::string_view value) {
    std::string text{'\0', static_cast<char>(name.size())};
    text += name;
    text += static_cast<char>(value.size());
    return text.append(value);
  }
  // Fields from a table, and some of the input's own.
  std::string extra() {
    static constexpr std::array<std::pair<std::string_view, std::string_view>, 16> kFields = {{
        {"content-length", "5"},
        {"content-length", "0"},
        {"content-length", "64"},
        {"host", "a.test"},
        {"host", "b.test"},
        {"cookie", "a=1"},
        {"te", "trailers"},
        {"expect", "100-continue"},
        {"x-any", "value"},
        {"sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="},
        {"sec-websocket-version", "13"},
        {"connection", "close"},
        {"transfer-encoding", "chunked"},
        {"upgrade", "websocket"},
        {":protocol", "websocket"},
        {"X-Upper", "1"},
    }};
    std::string block;
    for (unsigned count = input_.byte() % 4U; count > 0; --count) {
      const auto& [name, value] = kFields[input_.byte() % kFields.size()];
      block += literal(name, value);
    }
    if (input_.byte() % 8U == 7U) {
      const std::string_view name = input_.take(input_.byte() % 16U);
      block += literal(name, input_.take(input_.byte() % 100U));
    }
    return block;
  }
  std::string headers(std::uint32_t id, std::string_view method, unsigned flags) {
    static constexpr std::array<std::string_view, 6> kPaths = {"/", "/a?b=c", "*", "a", "/%00", "/with space"};
    static constexpr std::array<std::string_view, 4> kSchemes = {"https", "http", "HTTP", "ftp"};
    static constexpr std::array<std::string_view, 5> kAuthorities = {"a.test", "a.test:80", "[::1]", "a@b", ""};
    const unsigned shape = input_.byte();
    std::string block = literal(":method", method);
    if (method == "CONNECT" && shape % 8U != 7U)
      block += literal(":protocol", shape % 8U == 6U ? "other" : "websocket");
    const unsigned values = shape < 128 ? 0 : input_.byte();  // most are well-formed
    block += literal(":scheme", kSchemes[values % kSchemes.size()]);
    block += literal(":path", kPaths[values % kPaths.size()]);
    if (values != 255) block += literal(":authority", kAuthorities[values % kAuthorities.size()]);
    block += extra();
    return frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | flags, id, block);
  }

  fuzz::Input input_;
  std::uint32_t last_ = 1;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  // Four bytes choose: handler, limits and end, capacity of the pipe, segment size. The rest is the client's.
  if (size < 4) return 0;
  const unsigned mode = data[0];
  const unsigned how = data[1];
  const std::size_t capacity = data[2] == 0 ? 65536 : data[2] * 16U;
  const std::size_t segment = data[3] == 0 ? 65536 : data[3];
  Writer writer({reinterpret_cast<const char*>(data + 4), size - 4});

  rt::VirtualLoop loop;
  http::BufferPool pool;
  http::ServerSettings settings;
  settings.http2 = {.max_concurrent_streams = 8,
                    .stream_window_bytes = 20'000,
                    .connection_window_bytes = 65535,
                    .websockets_hold_bytes = 30'000,
                    .resets_burst = 20,
                    .resets_per_second = 2,
                    .control_frames_burst = 40,
                    .control_frames_per_second = 10};
  if ((how & 1U) != 0) settings.body_max_bytes = 100;
  if ((how & 2U) != 0) settings.limits = {.target_max_bytes = 40, .head_max_bytes = 200, .fields_max = 4};
  Handler handler(loop, mode, settings.body_max_bytes);
  rt::Cancel drain;
  auto [server_side, client] = net::MemoryStream::make_pair(capacity);
  http::h2::ServerSession session(loop, std::move(server_side), net::Peer{}, pool, settings, handler, drain);
  loop.spawn(session.serve({}));

  // Two output buffers, one read block, and request bodies: the windows in blocks that may be part full, for as many
  // streams as may run.
  const std::size_t most_held =
      3 * http::BufferPool::kLarge + 65535 + 30'000 + 20'000 + std::size_t{2} * 2 * 8 * http::BufferPool::kSmall;
  Reader reader;
  bool reads = true;
  bool stopped_reading = false;
  bool closed = false;
  const auto settle = [&, stream = client.get()] {
    for (bool moved = true; moved && !closed;) {
      loop.run_for(Nanoseconds::zero());
      moved = false;
      char bytes[4096];
      if (!reads) break;
      const net::IoResult got = stream->try_read(bytes);
      if (got.status == net::IoStatus::ok) {
        reader.take({bytes, got.bytes});
        moved = true;
      } else if (got.status != net::IoStatus::would_block) {
        closed = true;
      }
    }
    loop.run_for(Nanoseconds::zero());
    fuzz::check(pool.in_use() <= most_held, "what is held is bounded");
    if (writer.exact) fuzz::check(reader.data <= writer.window, "no more DATA than the window allows");
  };
  std::string outbox = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  outbox += std::string{"\0\0\0\4\0\0\0\0\0", 9};
  std::size_t stuck = 0;
  while ((!outbox.empty() || writer.more()) && !closed) {
    if (outbox.empty() || (segment > 200 && outbox.size() < 60'000 && writer.more())) {
      outbox += writer.next();
      if (writer.toggle_reading) {
        reads = !reads;
        stopped_reading = true;
      }
      if (writer.drain) drain.request();
      for (Nanoseconds left = writer.pause; left > Nanoseconds::zero();) {
        constexpr Nanoseconds kStep = std::chrono::milliseconds(500);  // a client that is alive reads that often
        loop.run_for(std::min(left, kStep));
        left -= std::min(left, kStep);
        settle();
      }
      if (segment > 200 && writer.more() && writer.pause == Nanoseconds::zero()) continue;
    }
    if (outbox.empty()) continue;
    const iovec piece{outbox.data(), std::min(segment, outbox.size())};
    const net::IoResult wrote = client->try_write({&piece, 1});
    if (wrote.status == net::IoStatus::failed) break;
    stuck = wrote.status == net::IoStatus::ok ? 0 : stuck + 1;
    if (wrote.status == net::IoStatus::ok) outbox.erase(0, wrote.bytes);
    settle();
    if (stuck == 3) break;
  }
  if ((how & 16U) != 0) {
    client->shutdown_write();
  } else if ((how & 32U) != 0) {
    client->reset();
  }
  settle();
  if ((how & 48U) == 0) {
    reads = true;
    const bool pings = (how & 64U) != 0 && writer.exact && outbox.empty();
    for (int second = 0; second < 300; ++second) {  // every timeout fires, but the client keeps reading
      if (pings && second % 20 == 0) {              // and says that it is there, which must not help it
        std::string ping = Writer::ping();
        const iovec piece{ping.data(), ping.size()};
        static_cast<void>(client->try_write({&piece, 1}));
      }
      loop.run_for(std::chrono::seconds(1));
      settle();
    }
    fuzz::check(loop.live_tasks() == 0, "every connection ends by itself");
    fuzz::check(closed && (reader.whole() || stopped_reading), "and its last frame is whole");
  }
  fuzz::check(reader.answers <= handler.handled, "no answer without a request");
  client.reset();
  loop.run();
  fuzz::check(loop.live_tasks() == 0 && loop.timers().size() == 0, "no task and no timer is left");
  fuzz::check(pool.in_use() == 0, "no buffer is left");
  fuzz::check(handler.heads_out == 0 && handler.idle_connections == 0, "what was borrowed came back");
  return 0;
}

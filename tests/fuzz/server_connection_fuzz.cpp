// A client's bytes, in segments of any size and with pauses, into a ServerConnection in virtual time; the handler reads
// the body and answers. What the handler saw, written back and parsed, must be the same request; no bytes of the client
// may become a request of their own that a plain reading of the input does not have; nothing may be left behind.
#include <algorithm>
#include <memory>
#include <vector>

#include "dao/http/h1/head_parser.h"
#include "dao/http/h1/server_connection.h"
#include "dao/net/memory_stream.h"
#include "oracle.h"

using namespace dao;
using http::BodyFraming;
using http::BodyPiece;
using http::Exchange;

namespace {

struct Request {
  std::string head;
  std::string body;
};

class Handler final : public http::RequestHandler {
 public:
  explicit Handler(unsigned mode) : mode_(mode) {}

  rt::Task<> handle(Exchange& exchange, const Error* rejected) override {
    ++handled;
    http::ResponseHead head;
    head.status = rejected == nullptr ? 200 : 400;
    bool read_all = false;
    if (rejected == nullptr) {
      Request request;
      request.head = fuzz::request_text(exchange.request(), exchange.request().target);
      check_reads_the_same(exchange.request(), request.head);
      // Some handlers answer without reading.
      if ((mode_ & 1U) == 0 || handled % 2 == 0) {
        Result<BodyPiece> piece = exchange.take_buffered_body();
        while (piece) {
          request.body.append(piece->bytes.data(), piece->bytes.size());
          if (piece->last) break;
          auto reading = exchange.read_body(nullptr, Nanoseconds::zero());
          piece = co_await std::move(reading);
        }
        read_all = piece.has_value();
        if (!piece) head.status = 408;
      }
      fuzz::check(request.head == fuzz::request_text(exchange.request(), exchange.request().target),
                  "the head stays as it was while the body is read");
      if (read_all) {
        fuzz::check(exchange.request_body_bytes() == request.body.size(), "all of the body was given");
        if (exchange.request().framing.kind == BodyFraming::Kind::length) {
          fuzz::check(request.body.size() == exchange.request().framing.length, "the body has the length it said");
        }
      }
    }
    BodyFraming framing{BodyFraming::Kind::length, 2};
    if ((mode_ & 2U) != 0) framing = {BodyFraming::Kind::chunked, 0};
    auto sending = exchange.send_head(head, framing, {std::string_view{"ok"}, true});
    const Result<> sent = co_await std::move(sending);
    if (sent) ++answered;
  }
  std::unique_ptr<http::RequestHead> borrow_request_head() override {
    ++heads_out;
    return std::make_unique<http::RequestHead>();
  }
  void return_request_head(std::unique_ptr<http::RequestHead>) override { --heads_out; }
  [[nodiscard]] bool draining() const override { return false; }
  void connection_idle(bool idle) override { idle_connections += idle ? 1 : -1; }

  std::size_t handled = 0;
  std::size_t answered = 0;
  int heads_out = 0;
  int idle_connections = 0;

 private:
  static void check_reads_the_same(const http::RequestHead& head, const std::string& text) {
    http::RequestHead again;
    const Result<http::h1::ParsedBytes> parsed =
        http::h1::parse_request_head(text, {.head_max_bytes = 1U << 20U}, again);
    fuzz::check(parsed && *parsed == text.size(), "what the handler sees is a request");
    fuzz::check(again.framing == head.framing && again.path == head.path && again.authority == head.authority,
                "and it is the same one");
  }
  unsigned mode_;
};

// The heads of the answers in what the client got. Their bodies ("ok") hold none.
std::size_t count_responses(std::string_view received) {
  std::size_t count = 0;
  for (std::size_t at = received.find("HTTP/1.1 "); at != std::string_view::npos;
       at = received.find("HTTP/1.1 ", at + 1)) {
    ++count;
  }
  return count;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  // Four bytes choose: handler, capacity of the pipe, segment size, pause between segments. The rest is the client's.
  if (size < 4) return 0;
  const unsigned mode = data[0];
  const std::size_t capacity = data[1] == 0 ? 65536 : data[1];
  const std::size_t segment = data[2] == 0 ? size : data[2];
  const Nanoseconds pause = std::chrono::milliseconds(data[3] * 4);
  std::string_view input{reinterpret_cast<const char*>(data + 4), size - 4};

  rt::VirtualLoop loop;
  http::BufferPool pool;
  http::ServerSettings settings;
  if ((mode & 4U) != 0) settings.body_max_bytes = 100;
  if ((mode & 8U) != 0) settings.limits = {.target_max_bytes = 40, .head_max_bytes = 200, .fields_max = 4};
  Handler handler(mode);
  rt::Cancel drain;
  auto [server_side, client] = net::MemoryStream::make_pair(capacity);
  http::h1::ServerConnection connection(loop, std::move(server_side), net::Peer{}, pool, settings, handler, drain);
  loop.spawn(connection.serve());

  std::string received;
  bool closed = false;
  const auto settle = [&, stream = client.get()] {
    for (bool moved = true; moved && !closed;) {
      loop.run_for(Nanoseconds::zero());
      moved = false;
      char bytes[1024];
      const net::IoResult got = stream->try_read(bytes);
      if (got.status == net::IoStatus::ok) {
        received.append(bytes, got.bytes);
        moved = true;
      } else if (got.status != net::IoStatus::would_block) {
        closed = true;
      }
    }
    loop.run_for(Nanoseconds::zero());
  };
  settle();
  std::size_t stuck = 0;
  while (!input.empty() && stuck < 3) {
    std::string_view part = input.substr(0, segment);
    const iovec piece{const_cast<char*>(part.data()), part.size()};
    const net::IoResult wrote = client->try_write({&piece, 1});
    if (wrote.status == net::IoStatus::failed) break;
    stuck = wrote.status == net::IoStatus::ok ? 0 : stuck + 1;
    if (wrote.status == net::IoStatus::ok) input.remove_prefix(wrote.bytes);
    settle();
    if (pause > Nanoseconds::zero()) loop.run_for(pause);
  }
  if ((mode & 16U) != 0) {
    client->shutdown_write();
  } else if ((mode & 32U) != 0) {
    client->reset();
  }
  settle();
  if ((mode & 48U) == 0) {
    for (int second = 0; second < 240; ++second) {  // every timeout fires, but the client keeps reading
      loop.run_for(std::chrono::seconds(1));
      settle();
    }
    fuzz::check(loop.live_tasks() == 0, "every connection ends by itself");
  }
  if ((mode & 32U) == 0) fuzz::check(count_responses(received) == handler.answered, "one response for each request");
  client.reset();
  loop.run();
  fuzz::check(loop.live_tasks() == 0 && loop.timers().size() == 0, "no task and no timer is left");
  fuzz::check(pool.in_use() == 0, "no buffer is left");
  fuzz::check(handler.heads_out == 0 && handler.idle_connections == 0, "what was borrowed came back");
  return 0;
}

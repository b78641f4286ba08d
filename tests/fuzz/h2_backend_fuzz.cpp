// Frames of a hostile HTTP/2 backend, in any order and with pauses, into a ClientSession in virtual time, with several
// exchanges at once that read, stall, are called off and are joined by others. What an exchange sees of a response,
// written down as HTTP/1.1, must be read the same by the other parser; a body has the length its head said; memory
// stays within the windows; nothing may be left behind.
//
// The input is a program for the backend. A byte below 0xe0 begins a frame: its type (4 bits), 0x10 = a length that
// lies by one, 0x20 = the frame 200 times (20 times if it is large), 0x40 = the payload 600 times (as often as fits);
// then flags, stream, size of the payload, payload. The other bytes are events.
#include <algorithm>
#include <memory>
#include <vector>

#include "dao/http/h1/head_parser.h"
#include "dao/http/h2/client_session.h"
#include "dao/http/h2/client_stream.h"
#include "dao/net/memory_stream.h"
#include "input.h"
#include "oracle.h"

using namespace dao;
using http::BodyFraming;
using http::BodyPiece;
using http::Method;

namespace {

constexpr std::size_t kExchangesMost = 6;

struct Exchange {
  std::unique_ptr<http::h2::ClientStream> stream;
  Method method = Method::get;
  rt::Cancel cancel;
  rt::Event may_read;  // the body is taken piece by piece, as the input says
  bool ended = false;
};

void check_fields(std::span<const http::Field> fields) {
  for (const http::Field& field : fields) {
    fuzz::check(!field.name.empty(), "every field has a name");
    fuzz::check(
        field.name.find_first_of(std::string_view{"\r\n\0 :ABCDEFGHIJKLMNOPQRSTUVWXYZ", 31}) == std::string_view::npos,
        "names are lower-case tokens");
    fuzz::check(field.value.find_first_of(std::string_view{"\r\n\0", 3}) == std::string_view::npos,
                "no value ends its line");
    fuzz::check(!http::is_hop_by_hop(field.id), "no field is about the connection (RFC 9113 8.2.2)");
  }
}

void check_head(const http::ResponseHead& head, Method method) {
  check_fields(head.fields);
  fuzz::check(head.status != 101, "HTTP/2 has no 101 (RFC 9113 8.6)");
  const std::string text =
      "HTTP/1.1 " + std::to_string(head.status) + " \r\n" + fuzz::fields_text(head.fields) + "\r\n";
  http::ResponseHead again;
  const Result<http::h1::ParsedBytes> parsed =
      http::h1::parse_response_head(text, {.head_max_bytes = 1U << 20U, .fields_max = 2000}, method, again);
  fuzz::check(parsed && *parsed == text.size(), "what was understood is a response in HTTP/1.1");
  fuzz::check(again.status == head.status, "of the same status");
  fuzz::check(fuzz::fields_text(again.fields) == fuzz::fields_text(head.fields), "with the same fields");
  if (again.framing.kind == BodyFraming::Kind::length && head.status >= 200) {
    fuzz::check(head.framing == again.framing, "and the same length");
  }
}

rt::Task<> run_exchange(rt::Loop& loop, Exchange& exchange, BodyPiece upload) {
  http::RequestHead request;
  const std::string_view text = exchange.method == Method::head ? "HEAD /h HTTP/1.1\r\nHost: a\r\n\r\n"
                                : upload.bytes.empty()          ? "GET /g HTTP/1.1\r\nHost: a\r\n\r\n"
                                                                : "POST /p HTTP/1.1\r\nHost: a\r\n\r\n";
  fuzz::check(http::h1::parse_request_head(text, {}, request).has_value(), "our own request");
  auto sending = exchange.stream->send_request(request, {}, upload, {}, std::chrono::seconds(1),
                                               std::chrono::seconds(1), &exchange.cancel);
  const Result<> sent = co_await std::move(sending);
  http::ResponseHead head;
  Result<> read = sent;
  std::uint32_t interim = 0;
  while (read) {
    auto reading =
        exchange.stream->read_head(head, exchange.method, {}, loop.now() + std::chrono::seconds(20), &exchange.cancel);
    read = co_await std::move(reading);
    if (!read) break;
    check_head(head, exchange.method);
    if (head.status >= 200) break;
    fuzz::check(++interim < 1000, "interim responses end");
  }
  if (read) {
    exchange.stream->start_body(head, {});
    std::size_t total = 0;
    Result<BodyPiece> piece = exchange.stream->take_buffered_body();
    while (piece) {
      total += piece->bytes.size();
      if (piece->last) break;
      const rt::Wake wake =
          co_await exchange.may_read.wait(loop, loop.now() + std::chrono::seconds(5), &exchange.cancel);
      if (wake == rt::Wake::cancelled) break;
      auto reading = exchange.stream->read_body(loop.now() + std::chrono::seconds(5), &exchange.cancel);
      piece = co_await std::move(reading);
    }
    if (piece && piece->last) {
      if (head.framing.kind == BodyFraming::Kind::length) {
        fuzz::check(total == head.framing.length, "a complete body has the length it said");
      }
      if (head.framing.kind == BodyFraming::Kind::none) fuzz::check(total == 0, "no body where there is none");
      check_fields(exchange.stream->trailers());
    }
  }
  exchange.stream.reset();
  exchange.ended = true;
}

std::string frame_of(unsigned type, fuzz::Input& input) {
  const unsigned flags = input.byte();
  const unsigned stream = input.byte() % 16;
  const std::string_view piece = input.take(input.byte());
  std::string payload{piece};
  if ((type & 0x40U) != 0) {
    constexpr std::size_t kLargestFrame = 16384;
    for (int i = 1; i < 600 && payload.size() + piece.size() <= kLargestFrame; ++i) payload += piece;
  }
  const std::size_t length = payload.size() + ((type & 0x10U) != 0 ? 1 : 0);
  std::string frame;
  for (const unsigned shift : {16U, 8U, 0U}) frame.push_back(static_cast<char>(length >> shift));
  frame.push_back(static_cast<char>(type & 0x0fU));
  frame.push_back(static_cast<char>(flags));
  frame.append(3, '\0').push_back(static_cast<char>(stream));
  frame += payload;
  if ((type & 0x20U) == 0) return frame;
  std::string many;
  for (std::size_t i = 0; i < (frame.size() > 1000 ? 20U : 200U); ++i) many += frame;
  return many;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  fuzz::Input input({reinterpret_cast<const char*>(data), size});
  const unsigned mode = input.byte();
  rt::VirtualLoop loop;
  http::BufferPool pool;
  http::h2::ClientSettings settings;
  if ((mode & 1U) != 0) settings.response_limits = {.head_max_bytes = 300, .fields_max = 5};
  if ((mode & 2U) != 0) settings.interim_responses_max = 1;
  auto [ours, theirs] = net::MemoryStream::make_pair((mode & 4U) != 0 ? 200 : std::size_t{1} << 20U);
  std::unique_ptr<net::MemoryStream> backend = std::move(theirs);
  std::shared_ptr<http::h2::ClientSession> session =
      http::h2::ClientSession::start(loop, std::move(ours), pool, settings);

  const std::string upload(70'000, 'u');
  std::vector<std::unique_ptr<Exchange>> exchanges;
  const auto ask = [&](unsigned kind) {
    if (exchanges.size() == kExchangesMost || !session->usable()) return;
    auto& exchange = *exchanges.emplace_back(std::make_unique<Exchange>());
    if (kind % 3 == 1) exchange.method = Method::head;
    if (kind % 3 == 2) exchange.method = Method::post;
    exchange.stream = session->open();
    loop.spawn(run_exchange(loop, exchange, {kind % 3 == 2 ? std::string_view{upload} : std::string_view{}, true}));
    loop.run_for(Nanoseconds::zero());
  };
  const auto settle = [&] {
    loop.run_for(Nanoseconds::zero());
    constexpr std::size_t kBlock = std::size_t{64} * 1024;
    const std::size_t each = http::h2::kStreamWindow + 2 * kBlock + http::BufferPool::kSmall;
    fuzz::check(pool.in_use() <= exchanges.size() * each + http::BufferPool::kLarge + http::BufferPool::kSmall,
                "bounded by the windows");
  };
  // What DAO writes is read now and then, and thrown away.
  const auto take_all = [&] {
    char bytes[4096];
    while (backend->try_read(bytes).status == net::IoStatus::ok) loop.run_for(Nanoseconds::zero());
  };
  std::size_t given = 0;
  const auto give = [&](std::string_view bytes) {
    given += bytes.size();
    for (int stuck = 0; !bytes.empty() && stuck < 2;) {
      const iovec piece{const_cast<char*>(bytes.data()), bytes.size()};
      const net::IoResult put = backend->try_write({&piece, 1});
      if (put.status == net::IoStatus::failed) return;
      stuck = put.status == net::IoStatus::ok ? 0 : stuck + 1;
      bytes.remove_prefix(put.bytes);
      settle();
    }
  };

  for (unsigned i = 0; i <= (mode >> 3U) % 4; ++i) ask(i + (mode >> 5U));
  take_all();
  constexpr std::size_t kEnough = std::size_t{2} << 20U;  // for every window, and to find more in the same time
  while (!input.empty() && backend != nullptr && given < kEnough) {
    const unsigned what = input.byte();
    if (what < 0xe0) {
      give(frame_of(what, input));
      continue;
    }
    const unsigned which = (what < 0xf0 || exchanges.empty()) ? 0 : input.byte() % exchanges.size();
    switch (what) {
      case 0xe0:  // frames as they are
        give(input.take(input.byte()));
        break;
      case 0xe1:
        loop.run_for(std::chrono::milliseconds(100 * input.byte()));
        break;
      case 0xe2:
        backend->shutdown_write();
        break;
      case 0xe3:
        backend->reset();
        break;
      case 0xe4:
        backend.reset();
        break;
      case 0xe5:
        session->retire();
        break;
      case 0xe6:
        take_all();
        break;
      case 0xe7:
      case 0xe8:
      case 0xe9:
        ask(what - 0xe7);
        break;
      case 0xf0:
        if (!exchanges.empty()) exchanges[which]->cancel.request();
        break;
      default:
        if (!exchanges.empty()) exchanges[which]->may_read.set();
        break;
    }
    settle();
    if (backend != nullptr && (mode & 4U) == 0) take_all();
  }

  for (int second = 0; second < 120; ++second) {  // every timeout fires, but the backend keeps reading
    loop.run_for(std::chrono::seconds(1));
    if (backend != nullptr) take_all();
    for (const auto& exchange : exchanges) exchange->may_read.set();
  }
  for (const auto& exchange : exchanges) fuzz::check(exchange->ended, "every exchange ends by itself");
  fuzz::check(session->streams() == 0, "the session has forgotten them");
  session->close();
  loop.run();
  fuzz::check(session->ended(), "the session ends");
  fuzz::check(loop.live_tasks() == 0 && loop.timers().size() == 0, "no task and no timer is left");
  fuzz::check(pool.in_use() == 0, "no buffer is left");
  return 0;
}

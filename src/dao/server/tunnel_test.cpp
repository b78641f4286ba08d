#include "dao/server/tunnel.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "dao/http/h1/message_io.h"
#include "dao/net/memory_stream.h"

namespace dao::server {
namespace {

using namespace std::chrono_literals;
using sense::WebSocketEnd;

enum Opcode : unsigned { kText = 1, kBinary = 2, kCloseFrame = 8, kPing = 9, kPong = 10 };

// RFC 6455 section 5.2; with a mask when it is to come from the client side of a connection.
std::string frame(unsigned opcode, std::string_view payload, bool masked = false, bool fin = true) {
  std::string text;
  text += static_cast<char>((fin ? 0x80U : 0U) | opcode);
  const unsigned mask_bit = masked ? 0x80U : 0U;
  if (payload.size() < 126) {
    text += static_cast<char>(mask_bit | payload.size());
  } else {
    text += static_cast<char>(mask_bit | 127U);
    for (unsigned shift = 64; shift > 0; shift -= 8) text += static_cast<char>(payload.size() >> (shift - 8));
  }
  constexpr std::string_view kMask = "\x11\x22\x33\x44";
  if (masked) text += kMask;
  for (std::size_t i = 0; i < payload.size(); ++i)
    text += masked ? static_cast<char>(payload[i] ^ kMask[i % 4]) : payload[i];
  return text;
}
std::string close_payload(unsigned code) {
  return {static_cast<char>(code >> 8U), static_cast<char>(code)};
}

// The code of a Close frame that DAO wrote to this side; 0 if `text` is anything else than one whole Close.
unsigned close_code(std::string_view text, bool masked) {
  const std::size_t size = masked ? 8 : 4;
  if (text.size() != size || text[0] != '\x88' || text[1] != (masked ? '\x82' : '\x02')) return 0;
  std::string code{text.substr(size - 2)};
  if (masked) {
    code[0] = static_cast<char>(code[0] ^ text[2]);
    code[1] = static_cast<char>(code[1] ^ text[3]);
  }
  return static_cast<unsigned>(static_cast<unsigned char>(code[0])) << 8U | static_cast<unsigned char>(code[1]);
}

// The tunnel between two peers that the tests play.
class TunnelTest : public testing::Test {
 protected:
  ~TunnelTest() override {
    client.reset();
    backend.reset();
    loop.run();
    EXPECT_EQ(loop.live_tasks(), 0U);
    EXPECT_EQ(buffers.in_use(), 0U);
    EXPECT_EQ(shard.worker().websockets.value(), 0);
  }

  void start(std::size_t capacity = 65536) {
    std::tie(client_stream, client) = net::MemoryStream::make_pair(capacity);
    std::tie(backend_stream, backend) = net::MemoryStream::make_pair(capacity);
    loop.spawn(run());
    pump();
  }
  rt::Task<> run() {
    auto running = tunnel({.loop = loop,
                           .buffers = buffers,
                           .random = random,
                           .counters = shard.worker(),
                           .client = {client_stream.get(), client_read_ahead},
                           .backend = {backend_stream.get(), backend_read_ahead},
                           .idle_timeout = idle_timeout,
                           .ping_interval = ping_interval,
                           .client_stall = 30s,
                           .backend_stall = 20s,
                           .drain = drain});
    outcome = co_await std::move(running);
    client_stream.reset();
    backend_stream.reset();
  }
  void pump() { loop.run_for(Nanoseconds::zero()); }
  void pass(Nanoseconds time) { loop.run_for(time); }

  void send(net::MemoryStream& from, std::string_view text) {
    while (!text.empty()) {
      iovec piece = http::h1::piece_of(text);
      const net::IoResult wrote = from.try_write({&piece, 1});
      if (wrote.status == net::IoStatus::ok) text.remove_prefix(wrote.bytes);
      pump();
      ASSERT_EQ(wrote.status, net::IoStatus::ok);
    }
  }
  // All that has come; `ended` tells whether the stream has, too.
  std::string take(net::MemoryStream& at, bool* ended = nullptr) {
    std::string text;
    for (;;) {
      pump();
      char bytes[8192];
      const net::IoResult got = at.try_read(bytes);
      if (ended != nullptr) *ended = got.status == net::IoStatus::end || got.status == net::IoStatus::failed;
      if (got.status != net::IoStatus::ok) return text;
      text.append(bytes, got.bytes);
    }
  }
  unsigned client_gets_close() { return close_code(take(*client), false); }
  unsigned backend_gets_close() { return close_code(take(*backend), true); }
  void expect_end(WebSocketEnd end) {
    pump();
    ASSERT_TRUE(outcome);
    EXPECT_EQ(static_cast<int>(outcome->end), static_cast<int>(end));
    EXPECT_EQ(shard.worker().websocket_ends[static_cast<std::size_t>(end)].value(), 1U);
  }

  rt::VirtualLoop loop;
  http::BufferPool buffers;
  Random random{1};
  sense::Shard shard{0, 0};
  rt::Cancel drain;
  Nanoseconds idle_timeout = 60s;
  Nanoseconds ping_interval{};
  std::string client_read_ahead;
  std::string backend_read_ahead;
  std::unique_ptr<net::MemoryStream> client_stream;
  std::unique_ptr<net::MemoryStream> backend_stream;
  std::unique_ptr<net::MemoryStream> client;  // the far ends
  std::unique_ptr<net::MemoryStream> backend;
  std::optional<TunnelOutcome> outcome;
};

TEST_F(TunnelTest, PassesBytesBothWaysAndCountsThem) {
  start();
  EXPECT_EQ(shard.worker().websockets.value(), 1);
  const std::string question = frame(kText, "question", true) + frame(kPing, "", true);
  const std::string answer = frame(kText, "an", false, false) + frame(kPong, "") + frame(0, "swer");
  send(*client, question);
  EXPECT_EQ(take(*backend), question);
  send(*backend, answer);
  EXPECT_EQ(take(*client), answer);
  EXPECT_EQ(shard.worker().websocket_messages_from_client.value(), 1U);
  EXPECT_EQ(shard.worker().websocket_messages_from_backend.value(), 1U);
  EXPECT_EQ(shard.worker().websocket_bytes_from_client.value(), question.size());
  EXPECT_EQ(shard.worker().websocket_bytes_from_backend.value(), answer.size());
  EXPECT_EQ(buffers.in_use(), 0U) << "an idle tunnel holds no block";
}

TEST_F(TunnelTest, BytesReadBehindTheHeadsGoFirst) {
  client_read_ahead = frame(kText, "early", true);
  backend_read_ahead = frame(kText, "hello");
  start();
  send(*client, frame(kText, "later", true));
  EXPECT_EQ(take(*backend), client_read_ahead + frame(kText, "later", true));
  EXPECT_EQ(take(*client), backend_read_ahead);
}

TEST_F(TunnelTest, AClosingHandshakeOfTheClient) {
  start();
  const std::string close = frame(kCloseFrame, close_payload(1000) + "done", true);
  send(*client, close);
  EXPECT_EQ(take(*backend), close);
  EXPECT_FALSE(outcome);
  send(*backend, frame(kCloseFrame, close_payload(1000)));
  EXPECT_EQ(take(*client), frame(kCloseFrame, close_payload(1000)));
  expect_end(WebSocketEnd::client_close);
  EXPECT_EQ(outcome->error.kind, ErrorKind::none);
  EXPECT_EQ(outcome->from_client, close.size());
}

TEST_F(TunnelTest, AClosingHandshakeOfTheBackendWithAMessageOnTheWay) {
  start();
  send(*backend, frame(kCloseFrame, close_payload(4000)));
  EXPECT_EQ(take(*client), frame(kCloseFrame, close_payload(4000)));
  const std::string rest = frame(kText, "last", true) + frame(kCloseFrame, close_payload(4000), true);
  send(*client, rest);
  EXPECT_EQ(take(*backend), rest);
  expect_end(WebSocketEnd::backend_close);
}

TEST_F(TunnelTest, NothingPassesBehindAClose) {
  start();
  const std::string close = frame(kCloseFrame, "", true);
  send(*client, close + frame(kText, "too late", true));
  EXPECT_EQ(take(*backend), close);
}

TEST_F(TunnelTest, ACloseWithoutAnAnswerIsAnsweredInTheEnd) {
  start();
  send(*client, frame(kCloseFrame, close_payload(1000), true));
  take(*backend);
  pass(kCloseTime - 1ms);
  EXPECT_EQ(take(*client), "");
  pass(1ms);
  EXPECT_EQ(client_gets_close(), 1011U);
  expect_end(WebSocketEnd::client_close);
}

TEST_F(TunnelTest, ABackendThatClosesWithoutACloseFrame) {
  start();
  send(*client, frame(kText, "x", true));
  backend.reset();
  EXPECT_EQ(client_gets_close(), 1001U);
  EXPECT_FALSE(outcome) << "the client's answer is waited for";
  send(*client, frame(kCloseFrame, close_payload(1001), true));
  expect_end(WebSocketEnd::backend_lost);
  EXPECT_EQ(outcome->error.origin, Origin::backend);
  EXPECT_EQ(outcome->error.kind, ErrorKind::closed);
}

TEST_F(TunnelTest, ABackendThatResets) {
  start();
  backend->reset();
  EXPECT_EQ(client_gets_close(), 1011U);
  send(*client, frame(kCloseFrame, close_payload(1011), true));
  expect_end(WebSocketEnd::backend_lost);
  EXPECT_EQ(outcome->error.kind, ErrorKind::reset);
}

TEST_F(TunnelTest, AClientThatIsGone) {
  start();
  client.reset();
  EXPECT_EQ(backend_gets_close(), 1001U);
  send(*backend, frame(kText, "nobody hears this") + frame(kCloseFrame, close_payload(1001)));
  expect_end(WebSocketEnd::client_lost);
  EXPECT_EQ(outcome->error.origin, Origin::client);
}

TEST_F(TunnelTest, TheAnswerToDaosCloseIsNotWaitedForForEver) {
  start();
  client.reset();
  EXPECT_EQ(backend_gets_close(), 1001U);
  pass(kCloseTime - 1ms);
  EXPECT_FALSE(outcome);
  pass(1ms);
  expect_end(WebSocketEnd::client_lost);
}

TEST_F(TunnelTest, AHalfClosedClientGetsWhatTheBackendStillSays) {
  start();
  client->shutdown_write();
  EXPECT_EQ(backend_gets_close(), 1001U);
  const std::string rest = frame(kText, "rest") + frame(kCloseFrame, close_payload(1001));
  send(*backend, rest);
  EXPECT_EQ(take(*client), rest);
  expect_end(WebSocketEnd::client_lost);
}

TEST_F(TunnelTest, ACutFrameGetsNoCloseInItsMiddle) {
  start();
  const std::string whole = frame(kBinary, std::string(1000, 'x'));
  send(*backend, whole.substr(0, 500));
  backend.reset();
  bool ended = false;
  EXPECT_EQ(take(*client, &ended), whole.substr(0, 500));
  EXPECT_TRUE(ended);
  expect_end(WebSocketEnd::backend_lost);
}

TEST_F(TunnelTest, ACloseThatTheBackendLeftBehindStillPasses) {
  start(1024);
  // The client writes to a backend that has said everything, closed, and no longer reads.
  send(*backend, frame(kText, "bye") + frame(kCloseFrame, close_payload(1000)));
  backend.reset();
  EXPECT_EQ(take(*client), frame(kText, "bye") + frame(kCloseFrame, close_payload(1000)));
  send(*client, frame(kCloseFrame, close_payload(1000), true));
  expect_end(WebSocketEnd::backend_close);
}

TEST_F(TunnelTest, SilenceOfBothEndsIt) {
  start();
  pass(30s);
  send(*backend, frame(kText, "x"));
  take(*client);
  pass(idle_timeout - 1ms);
  EXPECT_EQ(take(*client), "");
  pass(1ms);
  EXPECT_EQ(client_gets_close(), 1001U);
  EXPECT_EQ(backend_gets_close(), 1001U);
  send(*client, frame(kCloseFrame, close_payload(1001), true));
  send(*backend, frame(kCloseFrame, close_payload(1001)));
  EXPECT_EQ(take(*client), "") << "the answers are not passed on";
  expect_end(WebSocketEnd::idle);
}

TEST_F(TunnelTest, AStreamInOneDirectionIsNotSilence) {
  start();
  for (int i = 0; i < 10; ++i) {
    pass(idle_timeout - 1s);
    send(*backend, frame(kText, "tick"));
  }
  EXPECT_EQ(take(*client).size(), 10 * frame(kText, "tick").size());
  EXPECT_FALSE(outcome);
}

TEST_F(TunnelTest, AClientThatMissesThePingsOfTheBackendIsGone) {
  start();
  send(*backend, frame(kPing, "1"));
  pass(40s);
  send(*backend, frame(kPing, "2"));
  pass(19s);
  EXPECT_EQ(take(*backend), "");
  pass(1s);
  EXPECT_EQ(backend_gets_close(), 1001U);
  const std::string got = take(*client);
  EXPECT_EQ(got.substr(0, 6), frame(kPing, "1") + frame(kPing, "2"));
  EXPECT_EQ(close_code(got.substr(6), false), 1001U) << "it may hear although it does not speak";
  send(*backend, frame(kCloseFrame, close_payload(1001)));
  expect_end(WebSocketEnd::client_timeout);
}

TEST_F(TunnelTest, AnythingIsAnAnswerToAPing) {
  start();
  send(*backend, frame(kPing, "1"));
  for (int i = 0; i < 5; ++i) {
    pass(idle_timeout - 1s);
    send(*client, frame(kText, "x", true));
    send(*backend, frame(kPing, "1"));
  }
  EXPECT_FALSE(outcome);
}

TEST_F(TunnelTest, PingsOfItsOwnKeepLivingPeersAndFindDeadOnes) {
  ping_interval = 20s;
  start();
  pass(20s);
  EXPECT_EQ(take(*client), frame(kPing, ""));
  const std::string ping = take(*backend);
  ASSERT_EQ(ping.size(), 6U);
  EXPECT_EQ(ping.substr(0, 2), "\x89\x80") << "masked, towards a server";
  send(*backend, frame(kPong, ""));
  EXPECT_EQ(take(*client), frame(kPong, ""));
  pass(59s);
  EXPECT_FALSE(outcome);
  pass(1s);
  const std::string got = take(*backend);
  EXPECT_EQ(close_code(got.substr(got.size() - 8), true), 1001U);
  pass(kCloseTime);
  expect_end(WebSocketEnd::client_timeout);
}

TEST_F(TunnelTest, NoPingWithinAFrame) {
  ping_interval = 10s;
  start();
  const std::string whole = frame(kBinary, std::string(10, 'x'));
  send(*backend, whole.substr(0, 5));
  pass(30s);
  EXPECT_EQ(take(*client), whole.substr(0, 5));
  send(*backend, whole.substr(5));
  EXPECT_EQ(take(*client), whole.substr(5));
  pass(10s);
  EXPECT_EQ(take(*client).substr(0, 2), frame(kPing, ""));
}

TEST_F(TunnelTest, ADrainClosesBothSidesPolitely) {
  start();
  drain.request(ErrorKind::draining);
  EXPECT_EQ(client_gets_close(), 1012U);
  EXPECT_EQ(backend_gets_close(), 1012U);
  send(*backend, frame(kText, "crossed it") + frame(kCloseFrame, close_payload(1012)));
  EXPECT_FALSE(outcome);
  send(*client, frame(kCloseFrame, close_payload(1012), true));
  expect_end(WebSocketEnd::drain);
  EXPECT_EQ(outcome->error.kind, ErrorKind::none);
}

TEST_F(TunnelTest, ADrainWaitsForTheEndOfAFrame) {
  start();
  const std::string whole = frame(kBinary, std::string(1000, 'x'), true);
  send(*client, whole.substr(0, 100));
  take(*backend);
  drain.request(ErrorKind::draining);
  EXPECT_EQ(take(*backend), "");
  send(*client, whole.substr(100) + frame(kText, "not this", true));
  const std::string got = take(*backend);
  EXPECT_EQ(got.substr(0, 900 + whole.size() - 1000), whole.substr(100));
  EXPECT_EQ(close_code(got.substr(whole.size() - 100), true), 1012U);
  pass(kCloseTime);
  expect_end(WebSocketEnd::drain);
}

TEST_F(TunnelTest, ADrainThatHasBegunBeforeEndsItAtOnce) {
  drain.request(ErrorKind::draining);
  start();
  EXPECT_EQ(client_gets_close(), 1012U);
  EXPECT_EQ(backend_gets_close(), 1012U);
  pass(kCloseTime);
  expect_end(WebSocketEnd::drain);
}

TEST_F(TunnelTest, ADrainDoesNotWaitForAReaderThatDoesNotRead) {
  start(1024);
  std::string much = frame(kBinary, std::string(50'000, 'x'));
  iovec piece = http::h1::piece_of(std::string_view{much});
  backend->try_write({&piece, 1});
  pump();
  drain.request(ErrorKind::draining);
  pass(kCloseTime);
  expect_end(WebSocketEnd::drain);
}

TEST_F(TunnelTest, ASlowReaderStopsTheSender) {
  start(1024);
  const std::string much(1'000'000, 'x');
  std::string_view text = much;
  const std::string header = frame(kBinary, much).substr(0, 10);
  send(*backend, header);
  std::size_t taken = 0;
  for (int i = 0; i < 100; ++i) {
    iovec piece = http::h1::piece_of(text);
    const net::IoResult wrote = backend->try_write({&piece, 1});
    if (wrote.status == net::IoStatus::ok) text.remove_prefix(wrote.bytes);
    pass(1ms);
  }
  EXPECT_LE(much.size() - text.size(), http::BufferPool::kSmall + 2 * 1024);
  EXPECT_LE(buffers.in_use(), http::BufferPool::kSmall);
  for (int i = 0; i < 10'000 && taken < much.size() + header.size(); ++i) {
    pass(1ms);
    taken += take(*client).size();
    iovec piece = http::h1::piece_of(text);
    const net::IoResult wrote =
        text.empty() ? net::IoResult{net::IoStatus::would_block} : backend->try_write({&piece, 1});
    if (wrote.status == net::IoStatus::ok) text.remove_prefix(wrote.bytes);
  }
  EXPECT_EQ(taken, much.size() + header.size());
  EXPECT_EQ(shard.worker().websocket_messages_from_backend.value(), 1U);
}

TEST_F(TunnelTest, AClientThatTakesNothingIsGone) {
  start(1024);
  for (int i = 0; i < 4; ++i) {
    const std::string much = frame(kBinary, std::string(1000, 'x'));
    iovec piece = http::h1::piece_of(std::string_view{much});
    EXPECT_EQ(backend->try_write({&piece, 1}).status, net::IoStatus::ok);
    pump();
  }
  pass(31s);
  // Its frame is cut, but the one towards the backend is not.
  EXPECT_EQ(backend_gets_close(), 1001U);
  pass(kCloseTime);
  expect_end(WebSocketEnd::client_timeout);
  EXPECT_EQ(outcome->error.kind, ErrorKind::timeout_write);
}

// A stream as HTTP/2 has it: what has come lies in its memory, and what is written may stay with the writer for a
// while.
class LendingStream final : public net::Stream {
 public:
  net::IoResult try_read(std::span<char>) override {
    return {inbox.empty() && ended ? net::IoStatus::end : net::IoStatus::would_block};
  }
  [[nodiscard]] std::span<const char> buffered() const override { return inbox; }
  void consume(std::size_t bytes) override { inbox.erase(0, bytes); }
  [[nodiscard]] bool may_read() const override { return !inbox.empty() || ended; }
  net::IoResult try_write(std::span<const iovec> pieces) override {
    held = {static_cast<const char*>(pieces.front().iov_base), pieces.front().iov_len};
    const std::size_t taken = std::min(room, held.size());
    outbox += held.substr(0, taken);
    held.remove_prefix(taken);
    room -= taken;
    return taken > 0 ? net::IoResult{net::IoStatus::ok, 0, taken} : net::IoResult{net::IoStatus::would_block};
  }
  void abandon_write() override { held = {}, abandoned = true; }
  [[nodiscard]] bool held_up_by_others() const override { return others_move; }
  [[nodiscard]] std::size_t unread_by_peer() const override { return held.size(); }
  bool idle_and_open() override { return !may_read(); }
  void shutdown_write() override {}
  void came(std::string_view text) { inbox += text, readable.set(); }
  void allow(std::size_t bytes) { room += bytes, writable.set(); }

  std::string inbox;
  bool ended = false;
  std::string outbox;
  std::string_view held;
  std::size_t room = 1 << 20;
  bool abandoned = false;
  bool others_move = false;
};

class LendingTunnelTest : public TunnelTest {
 protected:
  void start_lending(std::size_t capacity = 65536) {
    std::tie(backend_stream, backend) = net::MemoryStream::make_pair(capacity);
    loop.spawn(run_lending());
    pump();
  }
  rt::Task<> run_lending() {
    auto running = tunnel({.loop = loop,
                           .buffers = buffers,
                           .random = random,
                           .counters = shard.worker(),
                           .client = {&lender, {}},
                           .backend = {backend_stream.get(), {}},
                           .client_stall = 30s,
                           .backend_stall = 20s,
                           .drain = drain});
    outcome = co_await std::move(running);
    backend_stream.reset();
  }
  LendingStream lender;
};

TEST_F(LendingTunnelTest, LentBytesAreConsumedWhenTheBackendHasThem) {
  start_lending(1000);
  const std::string whole = frame(kBinary, std::string(3000, 'x'), true);
  lender.came(whole);
  pump();
  EXPECT_EQ(lender.inbox, whole) << "the backend has not taken all of it";
  EXPECT_EQ(buffers.in_use(), 0U) << "nothing is copied";
  std::string got = take(*backend);
  got += take(*backend);
  EXPECT_EQ(got, whole);
  EXPECT_EQ(lender.inbox, "");
  lender.ended = true;
  lender.came({});
  EXPECT_EQ(backend_gets_close(), 1001U);
  backend.reset();
  expect_end(WebSocketEnd::client_lost);
}

TEST_F(LendingTunnelTest, WhatCannotBeWrittenIsAbandoned) {
  start_lending();
  lender.room = 10;
  send(*backend, frame(kBinary, std::string(1000, 'x')));
  EXPECT_EQ(lender.outbox.size(), 10U);
  lender.others_move = true;
  pass(120s);
  EXPECT_FALSE(lender.abandoned) << "it is the others' turn";
  lender.allow(20);
  pump();
  EXPECT_EQ(lender.outbox.size(), 30U);
  lender.others_move = false;
  pass(60s);
  EXPECT_TRUE(lender.abandoned);
  EXPECT_TRUE(lender.held.empty());
  EXPECT_EQ(backend_gets_close(), 1001U);
  backend.reset();
  pass(10s);
  expect_end(WebSocketEnd::client_timeout);
}

}  // namespace
}  // namespace dao::server

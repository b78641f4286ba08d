// A client's connection as RFC 9112 section 9 wants it, in virtual time: persistence, pipelining, timeouts, bodies in
// both directions, refusals and the ways it ends. After each test no task and no buffer may be left.
#include "dao/http/h1/server_connection.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "dao/net/memory_stream.h"

namespace dao::http::h1 {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

rt::Task<> respond(Exchange& exchange, std::uint16_t status, std::string body) {
  ResponseHead head;
  head.status = status;
  const BodyFraming framing{body.empty() ? BodyFraming::Kind::none : BodyFraming::Kind::length, body.size()};
  auto sending = exchange.send_head(head, framing, {{body.data(), body.size()}, true});
  static_cast<void>(co_await std::move(sending));
}

// What a handler saw of one request.
struct Seen {
  std::string method;
  std::string target;
  std::string body;
  std::string trailers;
  ErrorKind body_error = ErrorKind::none;
  ErrorKind rejected = ErrorKind::none;
  bool reused = false;
};

class Handler final : public RequestHandler {
 public:
  using Behaviour = std::function<rt::Task<>(Exchange&, Seen&)>;

  rt::Task<> handle(Exchange& exchange, const Error* rejected) override {
    const std::size_t at = seen.size();
    Seen one;
    one.method = exchange.request().method_text;
    one.target = exchange.request().target;
    one.rejected = rejected == nullptr ? ErrorKind::none : rejected->kind;
    one.reused = exchange.reused_connection();
    seen.push_back(one);
    if (rejected != nullptr) {
      auto responding = respond(exchange, 400, "no");
      co_await std::move(responding);
    } else {
      auto behaving = behaviour(exchange, one);
      co_await std::move(behaving);
    }
    seen[at] = one;
    ++handled;
  }
  std::unique_ptr<RequestHead> borrow_request_head() override {
    ++heads_out;
    return std::make_unique<RequestHead>();
  }
  void return_request_head(std::unique_ptr<RequestHead>) override { --heads_out; }
  [[nodiscard]] bool draining() const override { return is_draining; }
  void connection_idle(bool idle) override { idle_connections += idle ? 1 : -1; }

  // Reads the body to its end and answers with it.
  static rt::Task<> echo(Exchange& exchange, Seen& seen) {
    Result<BodyPiece> piece = exchange.take_buffered_body();
    while (piece) {
      seen.body.append(piece->bytes.data(), piece->bytes.size());
      if (piece->last) break;
      auto reading = exchange.read_body(nullptr, Nanoseconds::zero());
      piece = co_await std::move(reading);
    }
    for (const Field& field : exchange.request_trailers()) {
      seen.trailers += std::string{field.name} + "=" + std::string{field.value} + ";";
    }
    if (!piece) seen.body_error = piece.error().kind;
    auto responding = respond(exchange, piece ? 200 : 408, seen.body.empty() ? "ok" : seen.body);
    co_await std::move(responding);
  }

  Behaviour behaviour = echo;
  std::vector<Seen> seen;
  std::size_t handled = 0;
  int heads_out = 0;
  int idle_connections = 0;
  bool is_draining = false;
};

class ServerConnectionTest : public testing::Test {
 protected:
  // Ends the connection of before, if there was one.
  void connect(std::size_t capacity = 65536) {
    client.reset();
    loop.run();
    closed = false;
    outbox.clear();
    auto [server_side, client_side] = net::MemoryStream::make_pair(capacity);
    client = std::move(client_side);
    connection =
        std::make_unique<ServerConnection>(loop, std::move(server_side), net::Peer{}, pool, settings, handler, drain);
    loop.spawn(connection->serve());
    pump();
  }

  // Moves bytes both ways until nothing moves, without letting time pass.
  void pump() {
    for (bool moved = true; moved;) {
      moved = false;
      loop.run_for(Nanoseconds::zero());
      if (client == nullptr) return;
      while (!outbox.empty()) {
        iovec piece{outbox.data(), outbox.size()};
        const net::IoResult wrote = client->try_write({&piece, 1});
        if (wrote.status != net::IoStatus::ok) {
          if (wrote.status == net::IoStatus::failed) outbox.clear();
          break;
        }
        outbox.erase(0, wrote.bytes);
        moved = true;
      }
      char bytes[4096];
      while (client_reads && !closed) {
        const net::IoResult got = client->try_read(bytes);
        if (got.status == net::IoStatus::end || got.status == net::IoStatus::failed) closed = true;
        if (got.status != net::IoStatus::ok) break;
        received.append(bytes, got.bytes);
        moved = true;
      }
    }
    loop.run_for(Nanoseconds::zero());
  }
  void send(std::string_view text) {
    outbox += text;
    pump();
  }
  void send_byte_by_byte(std::string_view text) {
    for (const char c : text) send({&c, 1});
  }
  void pass(Nanoseconds time) {
    loop.run_for(time);
    pump();
  }
  std::string take() { return std::exchange(received, {}); }

  void TearDown() override {
    client.reset();
    loop.run();
    EXPECT_EQ(loop.live_tasks(), 0U);
    EXPECT_EQ(loop.timers().size(), 0U);
    EXPECT_EQ(pool.in_use(), 0U);
    EXPECT_EQ(handler.heads_out, 0);
    EXPECT_EQ(handler.idle_connections, 0);
  }

  rt::VirtualLoop loop;
  BufferPool pool;
  ServerSettings settings;
  Handler handler;
  rt::Cancel drain;
  std::unique_ptr<net::MemoryStream> client;
  std::unique_ptr<ServerConnection> connection;
  std::string outbox;
  std::string received;
  bool client_reads = true;
  bool closed = false;
};

constexpr std::string_view kGet = "GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n";
constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

std::string post(std::string_view fields, std::string_view body, std::string_view version = "1.1") {
  return "POST /p HTTP/" + std::string{version} + "\r\nHost: a.test\r\n" + std::string{fields} + "\r\n" +
         std::string{body};
}

// --- persistence ---------------------------------------------------------------------------------------------------

TEST_F(ServerConnectionTest, AnswersAndStaysOpen) {  // RFC 9112 section 9.3
  connect();
  send(kGet);
  EXPECT_EQ(take(), kOk);
  pass(seconds(1));
  send(kGet);
  EXPECT_EQ(take(), kOk);
  EXPECT_FALSE(closed);
  ASSERT_EQ(handler.seen.size(), 2U);
  EXPECT_FALSE(handler.seen[0].reused);
  EXPECT_TRUE(handler.seen[1].reused);
}

TEST_F(ServerConnectionTest, HoldsNoBufferWhileIdle) {
  connect();
  EXPECT_EQ(pool.in_use(), 0U);
  send(kGet);
  EXPECT_EQ(pool.in_use(), 0U);
  EXPECT_EQ(handler.idle_connections, 1);
}

TEST_F(ServerConnectionTest, AnswersPipelinedRequestsInOrder) {  // RFC 9112 section 9.3.2
  connect();
  send(post("Content-Length: 1\r\n", "1") + std::string{kGet} +
       post("Transfer-Encoding: chunked\r\n", "1\r\n2\r\n0\r\n\r\n") + post("Content-Length: 1\r\n", "3"));
  EXPECT_EQ(take(), "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1" + std::string{kOk} +
                        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n3");
  EXPECT_FALSE(closed);
}

TEST_F(ServerConnectionTest, ManyPipelinedRequestsWaitInABoundedBuffer) {
  connect();
  std::string many;
  for (int i = 0; i < 5000; ++i) many += kGet;
  std::size_t most = 0;
  handler.behaviour = [&](Exchange& exchange, Seen& seen) -> rt::Task<> {
    most = std::max(most, pool.in_use());
    auto echoing = Handler::echo(exchange, seen);
    co_await std::move(echoing);
  };
  send(many);
  EXPECT_EQ(handler.handled, 63U) << "then the other connections have their turn";
  for (int turn = 0; turn < 200 && handler.handled < 5000U; ++turn) pass(std::chrono::milliseconds(1));
  EXPECT_EQ(handler.handled, 5000U);
  EXPECT_LE(most, std::size_t{64} * 1024);
}

TEST_F(ServerConnectionTest, ReadsBytesOneByOne) {
  connect();
  send_byte_by_byte(std::string{kGet} +
                    post("Transfer-Encoding: chunked\r\n", "2;x\r\nab\r\n1\r\nc\r\n0\r\nT: 1\r\n\r\n"));
  EXPECT_EQ(take(), std::string{kOk} + "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
  EXPECT_EQ(handler.seen.at(1).trailers, "T=1;");
}

TEST_F(ServerConnectionTest, ClosesWhenAskedTo) {  // RFC 9112 section 9.6
  connect();
  send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(take(), "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
  EXPECT_TRUE(closed);
}

TEST_F(ServerConnectionTest, NothingAfterTheLastRequestIsRead) {
  connect();
  send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + std::string{kGet});
  EXPECT_EQ(handler.handled, 1U);
  pass(seconds(3));
  EXPECT_TRUE(closed);
}

TEST_F(ServerConnectionTest, Http10ClosesUnlessAskedNotTo) {  // RFC 9112 section 9.3
  connect();
  send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(take(), "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok");
  EXPECT_FALSE(closed);
  send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_EQ(take(), "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
  EXPECT_TRUE(closed);
}

TEST_F(ServerConnectionTest, HandlerMayEndTheConnection) {
  connect();
  handler.behaviour = [](Exchange& exchange, Seen& seen) -> rt::Task<> {
    exchange.close_after();
    auto echoing = Handler::echo(exchange, seen);
    co_await std::move(echoing);
  };
  send(kGet);
  EXPECT_TRUE(closed);
  EXPECT_NE(take().find("Connection: close\r\n"), std::string::npos);
}

TEST_F(ServerConnectionTest, AClientThatHalfClosesGetsItsAnswer) {
  connect();
  outbox += kGet;
  pump();
  client->shutdown_write();
  pump();
  EXPECT_EQ(take(), kOk);
  EXPECT_TRUE(closed);
}

TEST_F(ServerConnectionTest, OneEmptyLineBeforeARequestIsIgnored) {  // RFC 9112 section 2.2
  connect();
  send("\r\n" + std::string{kGet} + "\r\n" + std::string{kGet});
  EXPECT_EQ(take(), std::string{kOk} + std::string{kOk});
  send("\r");
  send("\n");
  send(kGet);
  EXPECT_EQ(take(), kOk);
}

TEST_F(ServerConnectionTest, TwoEmptyLinesAreNot) {
  connect();
  send("\r\n\r\n" + std::string{kGet});
  ASSERT_EQ(handler.seen.size(), 1U);
  EXPECT_EQ(handler.seen[0].rejected, ErrorKind::malformed);
}

TEST_F(ServerConnectionTest, AnEmptyLineLeavesTheConnectionIdle) {
  connect();
  send(kGet);
  static_cast<void>(take());
  send("\r\n");  // what old browsers send after a form
  EXPECT_EQ(handler.idle_connections, 1);
  EXPECT_EQ(pool.in_use(), 0U);
  pass(settings.header_timeout + seconds(1));
  EXPECT_FALSE(closed) << "the header timeout is for requests that have begun";
  send(kGet);
  EXPECT_EQ(take(), kOk);
  send("\r\n");
  drain.request();
  pump();
  EXPECT_TRUE(closed);
}

// --- time ----------------------------------------------------------------------------------------------------------

TEST_F(ServerConnectionTest, IdleConnectionsEndSilently) {
  connect();
  send(kGet);
  static_cast<void>(take());
  pass(settings.idle_timeout - milliseconds(10));
  EXPECT_FALSE(closed);
  pass(milliseconds(20));
  EXPECT_TRUE(closed);
  EXPECT_EQ(take(), "");
  EXPECT_EQ(handler.seen.size(), 1U);
}

TEST_F(ServerConnectionTest, SoDoThoseThatNeverAsked) {
  connect();
  pass(settings.header_timeout + milliseconds(10));
  EXPECT_TRUE(closed);
  EXPECT_EQ(take(), "");
  EXPECT_TRUE(handler.seen.empty());
}

TEST_F(ServerConnectionTest, AHeadThatDoesNotCompleteIsAnswered) {  // 408, RFC 9110 section 15.5.9
  connect();
  pass(settings.header_timeout - seconds(2));
  send("GET / HT");
  pass(seconds(2) - milliseconds(10));
  EXPECT_TRUE(handler.seen.empty());
  pass(milliseconds(20));
  ASSERT_EQ(handler.seen.size(), 1U) << "the first head is due from accept";
  EXPECT_EQ(handler.seen[0].rejected, ErrorKind::timeout_head);
  EXPECT_NE(take().find("Connection: close"), std::string::npos);
  pass(seconds(3));
  EXPECT_TRUE(closed);
}

TEST_F(ServerConnectionTest, ATrickledHeadGetsNoMoreTime) {
  connect();
  send(kGet);
  static_cast<void>(take());
  pass(seconds(20));
  for (int i = 0; i < 9; ++i) {
    send("G");
    pass(seconds(1));
  }
  EXPECT_EQ(handler.seen.size(), 1U);
  pass(milliseconds(1020));
  ASSERT_EQ(handler.seen.size(), 2U) << "later heads are due from their first byte";
  EXPECT_EQ(handler.seen[1].rejected, ErrorKind::timeout_head);
}

TEST_F(ServerConnectionTest, WhatWasUnderstoodOfALateHeadOutlivesTheBuffersGrowth) {
  connect();
  send("GET /the-target HTTP/1.1\r\nHost: a.test\r\nA: ");
  send(std::string(BufferPool::kSmall, 'v'));  // the first block is given back
  char* other = pool.acquire(BufferPool::kSmall);
  std::fill_n(other, BufferPool::kSmall, '!');
  pass(settings.header_timeout + milliseconds(10));
  pool.release(other, BufferPool::kSmall);
  ASSERT_EQ(handler.seen.size(), 1U);
  EXPECT_EQ(handler.seen[0].method, "GET");
  EXPECT_EQ(handler.seen[0].target, "/the-target");
}

TEST_F(ServerConnectionTest, ABodyMustKeepComing) {
  connect();
  send(post("Content-Length: 10\r\n", "12345"));
  pass(settings.body_timeout + milliseconds(10));
  ASSERT_EQ(handler.handled, 1U);
  EXPECT_EQ(handler.seen[0].body_error, ErrorKind::timeout_body);
  EXPECT_NE(take().find("Connection: close"), std::string::npos);
}

TEST_F(ServerConnectionTest, ABodyMustNotTrickle) {
  connect();
  send(post("Content-Length: 100000\r\n", ""));
  for (int second = 0; second < 100 && handler.handled == 0; ++second) {
    send("12345678");
    pass(seconds(1));
  }
  ASSERT_EQ(handler.handled, 1U);
  EXPECT_EQ(handler.seen[0].body_error, ErrorKind::timeout_body);
  EXPECT_GE(loop.now().time_since_epoch(), settings.body_timeout);
  EXPECT_LE(loop.now().time_since_epoch(), settings.body_timeout * 2);
}

TEST_F(ServerConnectionTest, ABodyAtTheSlowestRateIsRead) {
  connect();
  send(post("Content-Length: 6400\r\n", ""));
  for (int second = 0; second < 100; ++second) {
    send(std::string(64, 'b'));
    pass(seconds(1));
  }
  ASSERT_EQ(handler.handled, 1U);
  EXPECT_EQ(handler.seen[0].body.size(), 6400U);
}

TEST_F(ServerConnectionTest, AClientThatDoesNotReadIsLeft) {
  connect(1000);
  client_reads = false;
  handler.behaviour = [](Exchange& exchange, Seen&) -> rt::Task<> {
    auto responding = respond(exchange, 200, std::string(5000, 'b'));
    co_await std::move(responding);
  };
  send(kGet);
  pass(settings.write_timeout - milliseconds(10));
  EXPECT_EQ(handler.handled, 0U);
  pass(milliseconds(20));
  EXPECT_EQ(handler.handled, 1U);
  EXPECT_EQ(loop.live_tasks(), 0U);
}

// --- requests refused ----------------------------------------------------------------------------------------------

TEST_F(ServerConnectionTest, ARefusedRequestIsAnsweredAndTheRestIsNotInterpreted) {
  connect();
  send("GET / HTTP/1.1\r\n\r\n" + std::string{kGet});
  EXPECT_EQ(take(), "HTTP/1.1 400 \r\nConnection: close\r\nContent-Length: 2\r\n\r\nno");
  EXPECT_EQ(handler.seen.size(), 1U);
  EXPECT_TRUE(closed) << "our side is closed at once";
  send(std::string(10000, 'x'));  // read and thrown away, so that the answer is not lost to a reset (9.6)
  EXPECT_EQ(loop.live_tasks(), 1U);
  pass(seconds(3));
  EXPECT_EQ(loop.live_tasks(), 0U);
}

TEST_F(ServerConnectionTest, LingeringIsBounded) {
  connect();
  send("GET / HTTP/1.1\r\n\r\n");
  send(std::string(1000000, 'x'));
  EXPECT_EQ(loop.live_tasks(), 0U);
}

TEST_F(ServerConnectionTest, AHeadCutShortIsIncomplete) {
  connect();
  send("GET / HTTP/1.1\r\nHo");
  client->shutdown_write();
  pump();
  ASSERT_EQ(handler.seen.size(), 1U);
  EXPECT_EQ(handler.seen[0].rejected, ErrorKind::incomplete);
}

TEST_F(ServerConnectionTest, AHeadWithoutEndIsRefused) {
  settings.limits.head_max_bytes = 4096;
  settings.limits.target_max_bytes = 1024;
  for (const char* begin : {"", "GET /", "GET / HTTP/1.1\r\nHost: a\r\nA: ", "GET / HTTP/1.1\r\n"}) {
    SCOPED_TRACE(begin);
    handler.seen.clear();
    closed = false;
    connect();
    send(begin);
    for (int i = 0; i < 10 && handler.seen.empty(); ++i) send(std::string(1000, 'n'));
    EXPECT_EQ(handler.seen.size(), 1U);
    pass(seconds(3));
  }
}

// --- request bodies ------------------------------------------------------------------------------------------------

TEST_F(ServerConnectionTest, BodiesGetThroughANarrowPipe) {
  connect(7);
  std::string body(100000, 'b');
  for (std::size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>('a' + i % 23);
  send(post("Content-Length: 100000\r\n", body));
  EXPECT_EQ(take(), "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + body);
  EXPECT_EQ(handler.seen.at(0).body, body);
}

TEST_F(ServerConnectionTest, ChunkedBodiesOfManySizes) {
  connect();
  std::string chunked;
  std::string body;
  for (std::size_t size = 1; size < 70000; size = size * 3 + 1) {
    char line[32];
    snprintf(line, sizeof line, "%zx\r\n", size);
    const std::string data(size, static_cast<char>('a' + size % 26));
    chunked += line + data + "\r\n";
    body += data;
  }
  send(post("Transfer-Encoding: chunked\r\n", chunked + "0\r\n\r\n") + std::string{kGet});
  EXPECT_EQ(handler.seen.at(0).body, body);
  EXPECT_EQ(handler.handled, 2U);
}

TEST_F(ServerConnectionTest, TheHeadStaysReadableWhileTheBodyIsRead) {
  connect();
  const std::string fill(BufferPool::kSmall - 1000, 'v');
  handler.behaviour = [&](Exchange& exchange, Seen& seen) -> rt::Task<> {
    auto echoing = Handler::echo(exchange, seen);
    co_await std::move(echoing);
    EXPECT_EQ(exchange.request().target, "/p");
    EXPECT_EQ(exchange.request().fields.at(1).value, fill);
  };
  send(post("A: " + fill + "\r\nContent-Length: 300000\r\n", std::string(300000, 'b')));
  EXPECT_EQ(handler.handled, 1U);
  EXPECT_EQ(handler.seen.at(0).body.size(), 300000U);
}

TEST_F(ServerConnectionTest, NothingIsReadThatTheHandlerDoesNotAskFor) {
  connect(1000);
  rt::Event go_on;
  handler.behaviour = [&](Exchange& exchange, Seen& seen) -> rt::Task<> {
    static_cast<void>(co_await go_on.wait(loop));
    auto echoing = Handler::echo(exchange, seen);
    co_await std::move(echoing);
  };
  send(post("Content-Length: 500000\r\n", std::string(500000, 'b')));
  EXPECT_GE(outbox.size(), 500000 - 1000 - BufferPool::kSmall) << "the client is held back";
  EXPECT_LE(pool.in_use(), BufferPool::kSmall);
  go_on.set();
  pump();
  EXPECT_EQ(handler.seen.at(0).body.size(), 500000U);
}

TEST_F(ServerConnectionTest, ALargeBlockIsTakenOnlyForBodiesThatHaveCome) {
  connect();
  send(post("Content-Length: 10000000\r\n", "x"));
  EXPECT_LE(pool.in_use(), 2 * BufferPool::kSmall) << "announcing a body costs us nothing";
}

TEST_F(ServerConnectionTest, ASmallBodyNobodyReadIsThrownAway) {
  connect();
  handler.behaviour = [](Exchange& exchange, Seen&) -> rt::Task<> {
    auto responding = respond(exchange, 404, "gone");
    co_await std::move(responding);
  };
  pass(settings.header_timeout - seconds(1));
  send(post("Content-Length: 10\r\n", "12345"));
  EXPECT_EQ(take(), "HTTP/1.1 404 \r\nContent-Length: 4\r\n\r\ngone");
  pass(seconds(4));
  EXPECT_FALSE(closed) << "the rest may take its time";
  send("67890" + std::string{kGet});
  EXPECT_EQ(take(), "HTTP/1.1 404 \r\nContent-Length: 4\r\n\r\ngone");
  EXPECT_EQ(handler.seen.at(1).target, "/x");
}

TEST_F(ServerConnectionTest, ASmallBodyNobodyReadIsThrownAwayLongAfterTheStart) {
  loop.run_for(std::chrono::hours(1));
  connect();
  handler.behaviour = [](Exchange& exchange, Seen&) -> rt::Task<> {
    auto responding = respond(exchange, 404, "gone");
    co_await std::move(responding);
  };
  send(post("Content-Length: 10\r\n", "12345"));
  pass(seconds(1));
  EXPECT_FALSE(closed);
  send("67890" + std::string{kGet});
  EXPECT_EQ(handler.handled, 2U);
}

struct Unread {
  const char* name;
  std::string request;
};

TEST_F(ServerConnectionTest, ABodyWeDoNotWantToReadEndsTheConnection) {
  handler.behaviour = [](Exchange& exchange, Seen&) -> rt::Task<> {
    auto responding = respond(exchange, 404, "gone");
    co_await std::move(responding);
  };
  for (const Unread& sample : {Unread{"large", post("Content-Length: 70000\r\n", "x")},
                               Unread{"of unknown length", post("Transfer-Encoding: chunked\r\n", "1\r\nx\r\n")},
                               Unread{"not begun, as it waits for a 100 (9110 10.1.1)",
                                      post("Content-Length: 5\r\nExpect: 100-continue\r\n", "")}}) {
    SCOPED_TRACE(sample.name);
    closed = false;
    connect();
    send(sample.request);
    EXPECT_EQ(take(), "HTTP/1.1 404 \r\nConnection: close\r\nContent-Length: 4\r\n\r\ngone");
    send(kGet);
    pass(seconds(3));
    EXPECT_TRUE(closed);
  }
  EXPECT_EQ(handler.handled, 3U);
}

TEST_F(ServerConnectionTest, BodiesOverTheLimitAreRefusedWhenAnnounced) {
  settings.body_max_bytes = 10;
  struct Sample {
    std::string request;
    ErrorKind error;
  };
  for (const Sample& sample :
       {Sample{post("Content-Length: 10\r\n", "1234567890"), ErrorKind::none},
        Sample{post("Content-Length: 11\r\n", ""), ErrorKind::body_too_large},
        Sample{post("Transfer-Encoding: chunked\r\n", "a\r\n1234567890\r\n0\r\n\r\n"), ErrorKind::none},
        Sample{post("Transfer-Encoding: chunked\r\n", "b\r\n"), ErrorKind::body_too_large},
        Sample{post("Transfer-Encoding: chunked\r\n", "9\r\n123456789\r\n2\r\n"), ErrorKind::body_too_large},
        Sample{post("Transfer-Encoding: chunked\r\n", "7fffffffffffffff\r\n"), ErrorKind::body_too_large}}) {
    SCOPED_TRACE(sample.request);
    handler.seen.clear();
    connect();
    send(sample.request);
    ASSERT_EQ(handler.seen.size(), 1U);
    EXPECT_EQ(handler.seen[0].body_error, sample.error);
    pass(seconds(3));
  }
}

TEST_F(ServerConnectionTest, TrailersThatConnectionNamesAreHopByHop) {  // RFC 9110 section 7.6.1
  connect();
  send(post("Connection: a, t\r\nTransfer-Encoding: chunked\r\n", "0\r\nT: 1\r\nKept: 2\r\nA: 3\r\n\r\n"));
  EXPECT_EQ(handler.seen.at(0).trailers, "Kept=2;");
}

TEST_F(ServerConnectionTest, BrokenBodiesAreErrors) {
  struct Sample {
    std::string request;
    ErrorKind error;
  };
  for (const Sample& sample :
       {Sample{post("Transfer-Encoding: chunked\r\n", "x\r\n"), ErrorKind::malformed},
        Sample{post("Transfer-Encoding: chunked\r\n", "0\r\nA : 1\r\n\r\n"), ErrorKind::malformed},
        Sample{post("Transfer-Encoding: chunked\r\n", "2\r\na"), ErrorKind::incomplete},
        Sample{post("Content-Length: 2\r\n", "a"), ErrorKind::incomplete}}) {
    SCOPED_TRACE(sample.request);
    handler.seen.clear();
    closed = false;
    connect();
    send(sample.request);
    client->shutdown_write();
    pump();
    ASSERT_EQ(handler.seen.size(), 1U);
    EXPECT_EQ(handler.seen[0].body_error, sample.error);
    EXPECT_NE(take().find("Connection: close"), std::string::npos);
    pass(seconds(3));
    EXPECT_TRUE(closed);
  }
}

// --- responses -----------------------------------------------------------------------------------------------------

rt::Task<> stream_body(Exchange& exchange, std::uint16_t status, BodyFraming framing) {
  ResponseHead head;
  head.status = status;
  auto sending = exchange.send_head(head, framing, {std::string_view{"ab"}, false});
  static_cast<void>(co_await std::move(sending));
  auto more = exchange.send_body({std::string_view{"cd"}, false}, {});
  static_cast<void>(co_await std::move(more));
  auto nothing = exchange.send_body({{}, false}, {});
  static_cast<void>(co_await std::move(nothing));
  const Field trailer{"Sum", "1", FieldId::other, false};
  auto end = exchange.send_body({std::string_view{"e"}, true}, {&trailer, 1});
  static_cast<void>(co_await std::move(end));
}

struct Streamed {
  const char* name;
  std::string request;
  std::uint16_t status;
  BodyFraming framing;
  std::string answer;
  bool closes;
};

TEST_F(ServerConnectionTest, ResponseBodiesAreFramedForTheClient) {  // RFC 9112 section 6.3
  const BodyFraming chunked{BodyFraming::Kind::chunked, 0};
  const BodyFraming until_close{BodyFraming::Kind::until_close, 0};
  const std::string get{kGet};
  const std::string chunks = "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\ncd\r\n1\r\ne\r\n0\r\nSum: 1\r\n\r\n";
  const Streamed samples[] = {
      {"length", get, 200, {BodyFraming::Kind::length, 5}, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde", false},
      {"chunked", get, 200, chunked, "HTTP/1.1 200 OK\r\n" + chunks, false},
      {"until close becomes chunked", get, 200, until_close, "HTTP/1.1 200 OK\r\n" + chunks, false},
      {"HTTP/1.0 knows no chunks", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 200, chunked,
       "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde", true},
      {"HEAD has no body", "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", 200, chunked,
       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false},
      {"204 has no body", get, 204, chunked, "HTTP/1.1 204 \r\n\r\n", false},
      {"304 has no body", get, 304, {BodyFraming::Kind::length, 5}, "HTTP/1.1 304 \r\n\r\n", false},
  };
  for (const Streamed& sample : samples) {
    SCOPED_TRACE(sample.name);
    closed = false;
    handler.behaviour = [&sample](Exchange& exchange, Seen&) {
      return stream_body(exchange, sample.status, sample.framing);
    };
    connect();
    send(sample.request);
    std::string answer = take();
    if (std::string_view{sample.name}.starts_with("HEAD")) {  // both ways of telling HEAD about chunks are allowed
      const std::size_t coding = answer.find("Transfer-Encoding: chunked\r\n");
      if (coding == std::string::npos) answer.insert(answer.size() - 2, "Transfer-Encoding: chunked\r\n");
    }
    EXPECT_EQ(answer, sample.answer);
    EXPECT_EQ(closed, sample.closes);
  }
}

TEST_F(ServerConnectionTest, InterimResponses) {  // RFC 9110 section 15.2
  handler.behaviour = [](Exchange& exchange, Seen& seen) -> rt::Task<> {
    ResponseHead head;
    head.status = 100;
    auto sending = exchange.send_interim(head);
    EXPECT_TRUE(co_await std::move(sending));
    auto echoing = Handler::echo(exchange, seen);
    co_await std::move(echoing);
  };
  connect();
  send(post("Content-Length: 5\r\nExpect: 100-continue\r\n", ""));
  EXPECT_EQ(take(), "HTTP/1.1 100 Continue\r\n\r\n");
  send("hello");
  EXPECT_EQ(take(), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
  send(post("Content-Length: 5\r\n", "hello", "1.0"));
  EXPECT_EQ(take(), "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello") << "none for HTTP/1.0";
}

TEST_F(ServerConnectionTest, AnAbortedAnswerCannotBeTakenForAWholeOne) {
  handler.behaviour = [](Exchange& exchange, Seen&) -> rt::Task<> {
    ResponseHead head;
    head.status = 200;
    auto sending = exchange.send_head(head, {BodyFraming::Kind::chunked, 0}, {std::string_view{"ab"}, false});
    EXPECT_TRUE(co_await std::move(sending));
    exchange.abort();
  };
  connect();
  send(kGet);
  EXPECT_EQ(take(), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n");
  EXPECT_TRUE(closed);
}

TEST_F(ServerConnectionTest, AnAnswerLeftUnfinishedIsAborted) {
  handler.behaviour = [](Exchange& exchange, Seen&) -> rt::Task<> {
    ResponseHead head;
    head.status = 200;
    auto sending = exchange.send_head(head, {BodyFraming::Kind::length, 5}, {std::string_view{"ab"}, false});
    EXPECT_TRUE(co_await std::move(sending));
  };
  connect();
  send(std::string{kGet} + std::string{kGet});
  EXPECT_EQ(take(), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab");
  EXPECT_TRUE(closed);
  EXPECT_EQ(handler.handled, 1U);
}

TEST_F(ServerConnectionTest, TellsTheHandlerWhenTheClientGoes) {
  ErrorKind why = ErrorKind::none;
  handler.behaviour = [&](Exchange& exchange, Seen&) -> rt::Task<> {
    static_cast<void>(exchange.take_buffered_body());
    rt::Cancel cancel;
    exchange.watch_client(&cancel);
    rt::Event never;
    const rt::Wake wake = co_await never.wait(loop, kNever, &cancel);
    EXPECT_EQ(wake, rt::Wake::cancelled);
    why = cancel.why();
    exchange.watch_client(nullptr);
    exchange.abort();
  };
  connect();
  send(kGet);
  client->reset();
  pump();
  EXPECT_EQ(why, ErrorKind::reset);
  closed = false;
  connect();
  send(kGet);
  client.reset();
  pump();
  EXPECT_EQ(why, ErrorKind::closed);
}

// --- drain ---------------------------------------------------------------------------------------------------------

TEST_F(ServerConnectionTest, DrainEndsIdleConnectionsAtOnce) {
  connect();
  send(kGet);
  static_cast<void>(take());
  drain.request(ErrorKind::draining);
  pump();
  EXPECT_TRUE(closed);
}

TEST_F(ServerConnectionTest, DrainServesARequestThatHasCome) {
  connect();
  handler.is_draining = true;
  drain.request(ErrorKind::draining);
  std::string request(kGet);
  const iovec piece{request.data(), request.size()};
  static_cast<void>(client->try_write({&piece, 1}));  // before the loop has gone on
  pump();
  EXPECT_EQ(take(), "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
  EXPECT_TRUE(closed);
}

TEST_F(ServerConnectionTest, DrainLetsARequestFinishAsTheLast) {
  rt::Event go_on;
  handler.behaviour = [&](Exchange& exchange, Seen& seen) -> rt::Task<> {
    static_cast<void>(co_await go_on.wait(loop));
    auto echoing = Handler::echo(exchange, seen);
    co_await std::move(echoing);
  };
  connect();
  send(kGet);
  handler.is_draining = true;
  drain.request(ErrorKind::draining);
  pass(seconds(1));
  EXPECT_FALSE(closed);
  go_on.set();
  pump();
  EXPECT_EQ(take(), "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
  EXPECT_TRUE(closed);
}

}  // namespace
}  // namespace dao::http::h1

// A connection to a backend: what goes out, what is read, which failure is which, and when it may be used again.
#include "dao/http/h1/client_connection.h"

#include <gtest/gtest.h>

#include <string>

#include "dao/http/h1/head_parser.h"
#include "dao/net/memory_stream.h"

namespace dao::http::h1 {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class ClientConnectionTest : public testing::Test {
 protected:
  void connect(std::size_t capacity = 65536) {
    connection.reset();
    auto [ours, theirs] = net::MemoryStream::make_pair(capacity);
    backend = std::move(theirs);
    connection = std::make_unique<ClientConnection>(loop, std::move(ours), pool);
    got.clear();
  }
  // A request as it comes from a client and is sent on.
  Result<> send(const std::string& text, BodyPiece first = {{}, true}, std::string_view base_path = "",
                Nanoseconds connecting = Nanoseconds::zero(), std::span<const Field> trailers = {}) {
    RequestHead request;
    EXPECT_TRUE(parse_request_head(text, {}, request)) << text;
    for (Field& field : request.fields) field.dropped = is_hop_by_hop(field.id);
    return loop.run_task(
        connection->send_request(request, base_path, first, trailers, connecting, seconds(30), nullptr));
  }
  Result<> send_body(BodyPiece piece, std::span<const Field> trailers = {}) {
    return loop.run_task(connection->send_body(piece, trailers, seconds(30), nullptr));
  }
  std::string sent() {
    char bytes[4096];
    for (;;) {
      const net::IoResult result = backend->try_read(bytes);
      if (result.status != net::IoStatus::ok) return std::exchange(got, {});
      got.append(bytes, result.bytes);
    }
  }
  void answer(std::string_view text) {
    const iovec piece = piece_of(text);
    EXPECT_EQ(backend->try_write({&piece, 1}).bytes, text.size());
  }
  Result<> read_head(Method method = Method::get) {
    return loop.run_task(connection->read_head(head, method, limits, loop.now() + seconds(30), nullptr));
  }
  ErrorKind read_head_error() {
    const Result<> read = read_head();
    if (read) return ErrorKind::none;
    EXPECT_EQ(read.error().origin, Origin::backend);
    EXPECT_NE(read.error().sent, Sent::nothing);
    return read.error().kind;
  }
  Result<std::string> read_body() {
    connection->start_body(head, limits);
    std::string body;
    for (;;) {
      const Result<BodyPiece> piece = loop.run_task(connection->read_body(loop.now() + seconds(30), nullptr));
      if (!piece) return std::unexpected(piece.error());
      body.append(piece->bytes.data(), piece->bytes.size());
      if (piece->last) return body;
    }
  }
  void TearDown() override {
    connection.reset();
    EXPECT_EQ(pool.in_use(), 0U);
    EXPECT_EQ(loop.live_tasks(), 0U);
    EXPECT_EQ(loop.timers().size(), 0U);
  }

  rt::VirtualLoop loop;
  BufferPool pool;
  HeadLimits limits;
  std::unique_ptr<net::MemoryStream> backend;
  std::unique_ptr<ClientConnection> connection;
  ResponseHead head;
  std::string got;
};

const std::string kGet = "GET /x?y HTTP/1.1\r\nHost: a.test\r\n\r\n";
constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

// --- requests ------------------------------------------------------------------------------------------------------

TEST_F(ClientConnectionTest, SendsTheHeadInOriginForm) {
  connect();
  ASSERT_TRUE(send("GET http://b.test/x HTTP/1.0\r\nConnection: close\r\nA:  1 \r\nHost: b.test\r\n\r\n"));
  EXPECT_EQ(sent(), "GET /x HTTP/1.1\r\nA: 1\r\nHost: b.test\r\n\r\n");
}

TEST_F(ClientConnectionTest, PutsTheBasePathFirst) {
  connect();
  ASSERT_TRUE(send(kGet, {{}, true}, "/base"));
  EXPECT_EQ(sent(), "GET /base/x?y HTTP/1.1\r\nHost: a.test\r\n\r\n");
  connect();
  ASSERT_TRUE(send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", {{}, true}, "/base"));
  EXPECT_EQ(sent(), "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n") << "RFC 9112 section 3.2.4";
}

TEST_F(ClientConnectionTest, SendsABodyWithALength) {
  connect();
  ASSERT_TRUE(send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", {std::string_view{"he"}, false}));
  ASSERT_TRUE(send_body({{}, false}));
  ASSERT_TRUE(send_body({std::string_view{"llo"}, true}));
  EXPECT_EQ(sent(), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
}

TEST_F(ClientConnectionTest, SendsAChunkedBodyWithTrailers) {
  connect();
  const std::string request = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
  ASSERT_TRUE(send(request, {{}, false}));
  EXPECT_EQ(sent(), request) << "the head does not wait for the body";
  ASSERT_TRUE(send_body({std::string_view{"hello, world"}, false}));
  const Field trailers[] = {{"Sum", "1", FieldId::other, false}, {"Not", "2", FieldId::other, true}};
  ASSERT_TRUE(send_body({std::string_view{"!"}, true}, trailers));
  EXPECT_EQ(sent(), "c\r\nhello, world\r\n1\r\n!\r\n0\r\nSum: 1\r\n\r\n");
  connect();
  ASSERT_TRUE(send(request, {std::string_view{"x"}, true}));
  EXPECT_EQ(sent(), request + "1\r\nx\r\n0\r\n\r\n");
  connect();
  ASSERT_TRUE(send(request, {std::string_view{"x"}, true}, "", Nanoseconds::zero(), trailers));
  EXPECT_EQ(sent(), request + "1\r\nx\r\n0\r\nSum: 1\r\n\r\n") << "all of it was there from the start";
}

TEST_F(ClientConnectionTest, AWriteThatStallsTimesOut) {
  connect(10);
  const Result<> result = send(kGet);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::timeout_write);
  EXPECT_EQ(result.error().sent, Sent::maybe) << "the backend may have read the beginning";
}

TEST_F(ClientConnectionTest, AConnectThatDoesNotCompleteTimesOutWithNothingSent) {
  connect(0);  // as a socket that is still connecting: every write would block
  const Instant begin = loop.now();
  const Result<> result = send(kGet, {{}, true}, "", seconds(1));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::timeout_connect);
  EXPECT_EQ(result.error().sent, Sent::nothing);
  EXPECT_LE(loop.now() - begin, milliseconds(1010));
}

TEST_F(ClientConnectionTest, AFailureBeforeAnythingLeftBelongsToTheConnect) {
  connect();
  backend->reset();
  const Result<> result = send(kGet, {{}, true}, "", seconds(1));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::connect_failed);
  EXPECT_EQ(result.error().sent, Sent::nothing);
}

TEST_F(ClientConnectionTest, AReusedConnectionThatDiedSentNothing) {
  connect();
  backend.reset();
  const Result<> result = send(kGet);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, ErrorKind::reset);
  EXPECT_EQ(result.error().sent, Sent::nothing);
}

// --- responses -----------------------------------------------------------------------------------------------------

TEST_F(ClientConnectionTest, ReadsOneAnswerAfterTheOther) {
  connect();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(send(kGet));
    answer(kOk);
    ASSERT_TRUE(read_head());
    EXPECT_EQ(head.status, 200);
    EXPECT_EQ(read_body().value(), "ok");
    EXPECT_TRUE(connection->reusable(head));
    connection->become_idle();
    EXPECT_EQ(pool.in_use(), 0U);
  }
  EXPECT_EQ(connection->exchanges(), 3U);
}

TEST_F(ClientConnectionTest, ReadsInterimAnswersFirst) {  // RFC 9110 section 15.2
  connect();
  ASSERT_TRUE(send(kGet));
  answer("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + std::string{kOk});
  ASSERT_TRUE(read_head());
  EXPECT_EQ(head.status, 100);
  ASSERT_TRUE(read_head());
  EXPECT_EQ(head.status, 103);
  EXPECT_EQ(head.fields.at(0).name, "Link");
  ASSERT_TRUE(read_head());
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(read_body().value(), "ok");
}

TEST_F(ClientConnectionTest, ReadsAnAnswerThatComesByteByByte) {
  connect();
  ASSERT_TRUE(send(kGet));
  auto trickle = [](rt::Loop& l, net::MemoryStream& to) -> rt::Task<> {
    for (const char c :
         std::string_view{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nok\r\n0\r\nT: 1\r\n\r\n"}) {
      static_cast<void>(co_await rt::sleep_until(l, l.now() + milliseconds(20)));
      const iovec piece = piece_of(std::string_view{&c, 1});
      EXPECT_EQ(to.try_write({&piece, 1}).bytes, 1U);
    }
  };
  loop.spawn(trickle(loop, *backend));
  ASSERT_TRUE(read_head());
  EXPECT_EQ(read_body().value(), "ok");
  ASSERT_EQ(connection->trailers().size(), 1U);
  EXPECT_EQ(connection->trailers()[0].name, "T");
  EXPECT_TRUE(connection->reusable(head));
  loop.run();
}

struct Broken {
  const char* name;
  std::string answer;
  bool closes;
  ErrorKind kind;
};

TEST_F(ClientConnectionTest, TellsHowAnAnswerFailed) {
  const Broken samples[] = {
      {"nothing comes", "", false, ErrorKind::timeout_head},
      {"half a head comes", "HTTP/1.1 200 OK\r\nA", false, ErrorKind::timeout_head},
      {"closed before an answer", "", true, ErrorKind::closed},
      {"closed within the head", "HTTP/1.1 200 OK\r\nA: 1\r\n", true, ErrorKind::incomplete},
      {"garbage", "SSH-2.0-OpenSSH_9.2\r\n", false, ErrorKind::malformed},
      {"both framings", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", false,
       ErrorKind::malformed},
      {"head too large", "HTTP/1.1 200 OK\r\nA: " + std::string(40000, 'v') + "\r\n\r\n", false,
       ErrorKind::head_too_large},
      {"head without end", "HTTP/1.1 200 OK\r\nA: " + std::string(40000, 'v'), false, ErrorKind::head_too_large},
      {"too many fields",
       "HTTP/1.1 200 OK\r\n" +
           [] {
             std::string many;
             for (int i = 0; i < 101; ++i) many += "A: 1\r\n";
             return many;
           }() +
           "\r\n",
       false, ErrorKind::head_too_large},
  };
  for (const Broken& sample : samples) {
    SCOPED_TRACE(sample.name);
    connect();
    ASSERT_TRUE(send(kGet));
    answer(sample.answer);
    if (sample.closes) backend->shutdown_write();
    EXPECT_EQ(read_head_error(), sample.kind);
  }
  connect();
  ASSERT_TRUE(send(kGet));
  backend->reset();
  EXPECT_EQ(read_head_error(), ErrorKind::reset);
}

struct BrokenBody {
  const char* name;
  std::string answer;
  bool closes;
  ErrorKind kind;
};

TEST_F(ClientConnectionTest, TellsHowABodyFailed) {
  for (const BrokenBody& sample :
       {BrokenBody{"stalls", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", false, ErrorKind::timeout_body},
        BrokenBody{"closed too early", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", true, ErrorKind::incomplete},
        BrokenBody{"closed within chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", true,
                   ErrorKind::incomplete},
        BrokenBody{"closed before the last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
                   true, ErrorKind::incomplete},
        BrokenBody{"broken chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", false,
                   ErrorKind::malformed}}) {
    SCOPED_TRACE(sample.name);
    connect();
    ASSERT_TRUE(send(kGet));
    answer(sample.answer);
    if (sample.closes) backend->shutdown_write();
    ASSERT_TRUE(read_head());
    const Result<std::string> body = read_body();
    ASSERT_FALSE(body);
    EXPECT_EQ(body.error().kind, sample.kind);
    EXPECT_EQ(body.error().origin, Origin::backend);
    EXPECT_FALSE(connection->reusable(head));
  }
}

TEST_F(ClientConnectionTest, ABodyUntilCloseEndsWithTheConnection) {
  connect();
  ASSERT_TRUE(send(kGet));
  answer("HTTP/1.1 200 OK\r\n\r\nsome");
  backend->shutdown_write();
  ASSERT_TRUE(read_head());
  EXPECT_EQ(read_body().value(), "some");
  EXPECT_FALSE(connection->reusable(head));
}

TEST_F(ClientConnectionTest, TheHeadsTextStaysUntilTheNextRead) {
  connect();
  ASSERT_TRUE(send(kGet));
  answer("HTTP/1.1 200 Fine\r\nA: value\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n");
  ASSERT_TRUE(read_head());
  connection->start_body(head, limits);
  const Result<BodyPiece> piece = connection->take_buffered_body();
  ASSERT_TRUE(piece);
  EXPECT_EQ(std::string(piece->bytes.data(), piece->bytes.size()), "ab");
  EXPECT_EQ(head.reason, "Fine");
  EXPECT_EQ(head.fields.at(0).value, "value");
}

struct Reuse {
  const char* name;
  std::string answer;
  bool reusable;
  Method method = Method::get;
};

TEST_F(ClientConnectionTest, IsUsedAgainOnlyWhenNothingIsLeftOver) {
  for (const Reuse& sample : {
           Reuse{"whole answer", std::string{kOk}, true},
           Reuse{"no body", "HTTP/1.1 204 No Content\r\n\r\n", true},
           Reuse{"answer to HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, Method::head},
           Reuse{"close", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", false},
           Reuse{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false},
           Reuse{"a byte too many", std::string{kOk} + "x", false},
           Reuse{"an answer nobody asked for", std::string{kOk} + std::string{kOk}, false},
           Reuse{"a body to HEAD", std::string{kOk}, false, Method::head},
           Reuse{"a body to 204", "HTTP/1.1 204 No Content\r\n\r\nx", false},
       }) {
    SCOPED_TRACE(sample.name);
    connect();
    ASSERT_TRUE(send(kGet));
    answer(sample.answer);
    ASSERT_TRUE(read_head(sample.method));
    ASSERT_TRUE(read_body());
    EXPECT_EQ(connection->reusable(head), sample.reusable);
  }
}

TEST_F(ClientConnectionTest, IsNotUsedAgainBeforeTheRequestIsSent) {
  connect();
  ASSERT_TRUE(send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n", {std::string_view{"he"}, false}));
  answer(kOk);
  ASSERT_TRUE(read_head());
  ASSERT_TRUE(read_body());
  EXPECT_FALSE(connection->reusable(head));
}

TEST_F(ClientConnectionTest, IsNotUsedAgainOnceTheBackendHasClosed) {
  connect();
  ASSERT_TRUE(send(kGet));
  answer(kOk);
  backend->shutdown_write();
  ASSERT_TRUE(read_head());
  ASSERT_TRUE(read_body());
  EXPECT_FALSE(connection->reusable(head));
}

TEST_F(ClientConnectionTest, ACancelEndsAWait) {
  connect();
  ASSERT_TRUE(send(kGet));
  rt::Cancel cancel;
  auto later = [](rt::Loop& l, rt::Cancel& c) -> rt::Task<> {
    static_cast<void>(co_await rt::sleep_until(l, l.now() + seconds(1)));
    c.request();
  };
  loop.spawn(later(loop, cancel));
  const Result<> read = loop.run_task(connection->read_head(head, Method::get, limits, kNever, &cancel));
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().kind, ErrorKind::cancelled);
  loop.run();
}

}  // namespace
}  // namespace dao::http::h1

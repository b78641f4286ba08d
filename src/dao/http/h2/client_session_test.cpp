// HTTP/2 towards a backend: exchanges over one connection, a well-behaved server (nghttp2's) and hostile ones (frames
// made by hand), over MemoryStreams in virtual time.
#include "dao/http/h2/client_session.h"

#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <map>
#include <string>
#include <vector>

#include "dao/http/h1/head_parser.h"
#include "dao/http/h1/message_io.h"
#include "dao/http/h2/client_stream.h"
#include "dao/net/listener.h"
#include "dao/net/memory_stream.h"
#include "dao/net/socket_stream.h"

namespace dao::http::h2 {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

using Fields = std::vector<std::pair<std::string, std::string>>;

// The far end: nghttp2 as a server, that does nothing by itself.
class Server {
 public:
  struct Stream {
    Fields fields;
    std::string body;
    Fields trailers;
    bool ended = false;
    std::optional<std::uint32_t> reset;
    std::string answer;
    std::size_t answered = 0;
    Fields answer_trailers;
    bool answer_open = false;  // more of the answer will be given
    bool head_complete = false;
  };

  explicit Server(net::MemoryStream& stream, std::uint32_t window = 65535, std::uint32_t streams = 100)
      : stream_(stream) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_option* option = nullptr;
    nghttp2_option_new(&option);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_session_server_new2(&session, callbacks, this, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    const nghttp2_settings_entry ours[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window},
                                           {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, streams}};
    nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, ours, 2);
  }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  ~Server() { nghttp2_session_del(session); }

  // Reads all that came and writes all there is to write.
  void turn() {
    char bytes[8192];
    for (;;) {
      const net::IoResult got = stream_.try_read(bytes);
      if (got.status != net::IoStatus::ok) break;
      const ssize_t taken = nghttp2_session_mem_recv(session, reinterpret_cast<const std::uint8_t*>(bytes), got.bytes);
      ASSERT_EQ(taken, static_cast<ssize_t>(got.bytes));
    }
    for (;;) {
      if (pending_.empty()) {
        const std::uint8_t* frame = nullptr;
        const ssize_t size = nghttp2_session_mem_send(session, &frame);
        if (size <= 0) return;
        pending_.assign(reinterpret_cast<const char*>(frame), static_cast<std::size_t>(size));
      }
      const iovec piece = h1::piece_of(std::string_view{pending_});
      const net::IoResult put = stream_.try_write({&piece, 1});
      if (put.status != net::IoStatus::ok) return;
      pending_.erase(0, put.bytes);
    }
  }
  void answer(std::int32_t id, const Fields& fields, std::string body = {}, Fields trailers = {}, bool open = false) {
    Stream& stream = streams[id];
    stream.answer = std::move(body);
    stream.answer_trailers = std::move(trailers);
    stream.answer_open = open;
    const std::vector<nghttp2_nv> nva = list_of(fields);
    nghttp2_data_provider provider{};
    provider.source.ptr = this;
    provider.read_callback = read_answer;
    const bool bodiless = stream.answer.empty() && stream.answer_trailers.empty() && !open;
    ASSERT_EQ(nghttp2_submit_response(session, id, nva.data(), nva.size(), bodiless ? nullptr : &provider), 0);
  }
  void interim(std::int32_t id, const Fields& fields) {
    const std::vector<nghttp2_nv> nva = list_of(fields);
    ASSERT_EQ(nghttp2_submit_headers(session, NGHTTP2_FLAG_NONE, id, nullptr, nva.data(), nva.size(), nullptr), 0);
  }
  void reset(std::int32_t id, std::uint32_t code) { nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, code); }
  void more(std::int32_t id, std::string_view text, bool end) {
    streams[id].answer.append(text);
    streams[id].answer_open = !end;
    nghttp2_session_resume_data(session, id);
  }
  std::string field(std::int32_t id, std::string_view name) {
    for (const auto& [key, value] : streams[id].fields) {
      if (key == name) return value;
    }
    return "(none)";
  }

  nghttp2_session* session = nullptr;
  std::map<std::int32_t, Stream> streams;
  std::uint32_t pings = 0;
  std::optional<std::uint32_t> goaway;
  bool give_window_back = true;

 private:
  static std::vector<nghttp2_nv> list_of(const Fields& fields) {
    std::vector<nghttp2_nv> list;
    for (const auto& [name, value] : fields) {
      list.push_back({reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
                      reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
                      NGHTTP2_NV_FLAG_NONE});
    }
    return list;
  }
  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
                       const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* user) {
    Stream& stream = static_cast<Server*>(user)->streams[frame->hd.stream_id];
    Fields& to = stream.head_complete ? stream.trailers : stream.fields;
    to.emplace_back(std::string(reinterpret_cast<const char*>(name), name_size),
                    std::string(reinterpret_cast<const char*>(value), value_size));
    return 0;
  }
  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user) {
    auto* self = static_cast<Server*>(user);
    if (frame->hd.type == NGHTTP2_PING) ++self->pings;
    if (frame->hd.type == NGHTTP2_GOAWAY) self->goaway = frame->goaway.error_code;
    if (frame->hd.stream_id == 0) return 0;
    Stream& stream = self->streams[frame->hd.stream_id];
    if (frame->hd.type == NGHTTP2_HEADERS) stream.head_complete = true;
    if (frame->hd.type == NGHTTP2_RST_STREAM) stream.reset = frame->rst_stream.error_code;
    if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
      stream.ended = true;
    }
    return 0;
  }
  static int on_data(nghttp2_session* session, std::uint8_t, std::int32_t id, const std::uint8_t* bytes,
                     std::size_t size, void* user) {
    auto* self = static_cast<Server*>(user);
    self->streams[id].body.append(reinterpret_cast<const char*>(bytes), size);
    if (self->give_window_back) nghttp2_session_consume(session, id, size);
    return 0;
  }
  static ssize_t read_answer(nghttp2_session* session, std::int32_t id, std::uint8_t* into, std::size_t size,
                             std::uint32_t* flags, nghttp2_data_source* source, void*) {
    Stream& stream = static_cast<Server*>(source->ptr)->streams[id];
    const std::size_t count = stream.answer.copy(reinterpret_cast<char*>(into), size, stream.answered);
    stream.answered += count;
    if (stream.answered == stream.answer.size()) {
      if (stream.answer_open) return count > 0 ? static_cast<ssize_t>(count) : NGHTTP2_ERR_DEFERRED;
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (!stream.answer_trailers.empty()) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        const std::vector<nghttp2_nv> nva = list_of(stream.answer_trailers);
        nghttp2_submit_trailer(session, id, nva.data(), nva.size());
      }
    }
    return static_cast<ssize_t>(count);
  }

  net::MemoryStream& stream_;
  std::string pending_;
};

std::string frame(std::size_t length, int type, int flags, std::uint32_t id, std::string_view payload) {
  std::string bytes;
  bytes.push_back(static_cast<char>(length >> 16U));
  bytes.push_back(static_cast<char>(length >> 8U));
  bytes.push_back(static_cast<char>(length));
  bytes.push_back(static_cast<char>(type));
  bytes.push_back(static_cast<char>(flags));
  for (const unsigned shift : {24U, 16U, 8U, 0U}) bytes.push_back(static_cast<char>(id >> shift));
  return bytes.append(payload);
}
std::string frame(int type, int flags, std::uint32_t id, std::string_view payload = {}) {
  return frame(payload.size(), type, flags, id, payload);
}
const std::string kSettings = frame(NGHTTP2_SETTINGS, 0, 0);
constexpr std::string_view kStatus200 = "\x88";  // RFC 7541 appendix A, index 8

class ClientSessionTest : public testing::Test {
 protected:
  void connect(std::size_t capacity = 1 << 20) {
    auto [ours, theirs] = net::MemoryStream::make_pair(capacity);
    backend = std::move(theirs);
    session = ClientSession::start(loop, std::move(ours), pool, settings);
  }
  void serve(std::uint32_t window = 65535, std::uint32_t streams = 100) {
    connect();
    server = std::make_unique<Server>(*backend, window, streams);
    turn();
  }
  // Both sides say what they have to say.
  void turn() {
    for (int i = 0; i < 40; ++i) {
      loop.run_for(Nanoseconds::zero());
      if (server != nullptr) server->turn();
    }
    loop.run_for(Nanoseconds::zero());
  }
  void raw(std::string_view bytes) {
    const iovec piece = h1::piece_of(bytes);
    EXPECT_EQ(backend->try_write({&piece, 1}).bytes, bytes.size());
    loop.run_for(Nanoseconds::zero());
  }
  std::unique_ptr<ClientStream> request(const std::string& text, BodyPiece first = {{}, true},
                                        std::span<const Field> trailers = {}, std::string_view base_path = "") {
    RequestHead asked;
    EXPECT_TRUE(h1::parse_request_head(text, {}, asked)) << text;
    for (Field& field : asked.fields) field.dropped = is_hop_by_hop(field.id);
    std::unique_ptr<ClientStream> stream = session->open();
    sent = loop.run_task(stream->send_request(asked, base_path, first, trailers, seconds(1), seconds(30), nullptr));
    return stream;
  }
  Result<> read_head(ClientStream& stream, Method method = Method::get) {
    return loop.run_task(stream.read_head(head, method, limits, loop.now() + seconds(30), nullptr));
  }
  // The error that reading the head ends with, without anything more being said.
  Error head_error(ClientStream& stream) {
    const Result<> read = read_head(stream);
    EXPECT_FALSE(read);
    return read ? Error{} : read.error();
  }
  Result<std::string> read_body(ClientStream& stream) {
    std::string body;
    for (;;) {
      const Result<BodyPiece> piece = loop.run_task(stream.read_body(loop.now() + seconds(30), nullptr));
      if (!piece) return std::unexpected(piece.error());
      body.append(piece->bytes.data(), piece->bytes.size());
      if (piece->last) return body;
      turn();
    }
  }
  void TearDown() override {
    if (session != nullptr) session->close();
    loop.run_for(Nanoseconds::zero());
    EXPECT_TRUE(session == nullptr || session->ended());
    session.reset();
    EXPECT_EQ(pool.in_use(), 0U);
    EXPECT_EQ(loop.live_tasks(), 0U);
    EXPECT_EQ(loop.timers().size(), 0U);
  }

  rt::VirtualLoop loop;
  BufferPool pool;
  HeadLimits limits;
  ClientSettings settings;
  std::unique_ptr<net::MemoryStream> backend;
  std::shared_ptr<ClientSession> session;
  std::unique_ptr<Server> server;
  ResponseHead head;
  Result<> sent;
};

const std::string kGet = "GET /x?y HTTP/1.1\r\nHost: a.test\r\nCookie: a=1; b=2\r\nX-Upper: V\r\n\r\n";
const std::string kPost = "POST /p HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";

TEST_F(ClientSessionTest, SendsARequestAndReadsItsAnswer) {
  serve();
  const auto stream = request(kGet, {{}, true}, {}, "/base");
  ASSERT_TRUE(sent);
  turn();
  EXPECT_EQ(server->streams[1].fields, (Fields{{":method", "GET"},
                                               {":scheme", "http"},
                                               {":authority", "a.test"},
                                               {":path", "/base/x?y"},
                                               {"cookie", "a=1; b=2"},
                                               {"x-upper", "V"}}));
  EXPECT_TRUE(server->streams[1].ended);
  server->answer(1, {{":status", "200"}, {"content-length", "5"}, {"x", "y"}}, "hello");
  turn();
  ASSERT_TRUE(read_head(*stream));
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.version_major, 2);
  EXPECT_EQ(head.find("x")->value, "y");
  EXPECT_EQ(head.framing, (BodyFraming{BodyFraming::Kind::length, 5}));
  EXPECT_EQ(read_body(*stream).value(), "hello");
  EXPECT_TRUE(stream->reusable(head));
}

TEST_F(ClientSessionTest, PassesTeTrailersOn) {
  serve();
  const auto stream = request("GET / HTTP/1.1\r\nHost: a\r\nTE: gzip, Trailers\r\nConnection: TE\r\n\r\n");
  turn();
  EXPECT_EQ(server->field(1, "te"), "trailers");
  EXPECT_EQ(server->field(1, "connection"), "(none)");
}

TEST_F(ClientSessionTest, CarriesBodiesAndTrailersBothWays) {
  serve();
  const std::string text = "some body";
  const std::vector<Field> trailers = {{"X-Sum", "7"}};
  const auto stream = request(kPost, {text, false});
  ASSERT_TRUE(sent);
  ASSERT_TRUE(loop.run_task(stream->send_body({text, true}, trailers, seconds(30), nullptr)));
  turn();
  EXPECT_EQ(server->streams[1].body, text + text);
  EXPECT_EQ(server->streams[1].trailers, (Fields{{"x-sum", "7"}}));
  EXPECT_TRUE(server->streams[1].ended);
  server->answer(1, {{":status", "200"}}, "abc", {{"grpc-status", "0"}, {"content-length", "3"}});
  turn();
  ASSERT_TRUE(read_head(*stream, Method::post));
  EXPECT_EQ(head.framing.kind, BodyFraming::Kind::chunked);
  EXPECT_EQ(read_body(*stream).value(), "abc");
  ASSERT_EQ(stream->trailers().size(), 1U);  // a length has no place there
  EXPECT_EQ(stream->trailers()[0].name, "grpc-status");
}

TEST_F(ClientSessionTest, ReadsInterimHeadsAndHeadsWithoutABody) {
  serve();
  const auto stream = request("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
  turn();
  server->interim(1, {{":status", "103"}, {"link", "<x>"}});
  turn();
  server->answer(1, {{":status", "200"}, {"content-length", "500"}});
  turn();
  ASSERT_TRUE(read_head(*stream, Method::head));
  EXPECT_EQ(head.status, 103);
  EXPECT_EQ(head.find("link")->value, "<x>");
  ASSERT_TRUE(read_head(*stream, Method::head));
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.framing, BodyFraming{});
  EXPECT_EQ(head.find("content-length")->value, "500");
  EXPECT_TRUE(stream->take_buffered_body()->last);
}

TEST_F(ClientSessionTest, SharesOneConnectionAmongManyExchanges) {
  serve();
  std::vector<std::unique_ptr<ClientStream>> streams;
  for (int i = 0; i < 50; ++i) streams.push_back(request(kGet));
  turn();
  ASSERT_EQ(server->streams.size(), 50U);
  for (int i = 49; i >= 0; --i) {
    server->answer(2 * i + 1, {{":status", "200"}}, std::to_string(i));
  }
  turn();
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(read_head(*streams[static_cast<std::size_t>(i)]));
    EXPECT_EQ(read_body(*streams[static_cast<std::size_t>(i)]).value(), std::to_string(i));
  }
}

TEST_F(ClientSessionTest, ASlowReaderStopsItsStreamAndNoOther) {
  serve();
  const auto slow = request(kGet);
  const auto quick = request(kGet);
  turn();
  const std::string large(1 << 20, 'x');
  server->answer(1, {{":status", "200"}}, large);
  turn();
  // Nobody reads the first one: it holds its window and not more than that.
  EXPECT_EQ(server->streams[1].answered, kStreamWindow);
  EXPECT_LE(pool.in_use(), kStreamWindow + 2 * 65536);
  server->answer(3, {{":status", "200"}}, large);
  turn();
  ASSERT_TRUE(read_head(*quick));
  EXPECT_EQ(read_body(*quick).value().size(), large.size());
  EXPECT_EQ(server->streams[1].answered, kStreamWindow);
  ASSERT_TRUE(read_head(*slow));
  EXPECT_EQ(read_body(*slow).value().size(), large.size());
}

TEST_F(ClientSessionTest, AnUploadObeysTheBackendsWindow) {
  serve(1000);
  server->give_window_back = false;
  const std::string large(5000, 'u');
  const auto stream = request(kPost, {{}, false});
  ASSERT_TRUE(sent);
  const Result<> stuck = loop.run_task(stream->send_body({large, true}, {}, seconds(3), nullptr));
  ASSERT_FALSE(stuck);
  EXPECT_EQ(stuck.error().kind, ErrorKind::timeout_write);
  EXPECT_EQ(stuck.error().sent, Sent::maybe);
  turn();
  EXPECT_EQ(server->streams[1].body.size(), 1000U);
  EXPECT_FALSE(server->streams[1].ended);
}

TEST_F(ClientSessionTest, AnAnswerMayComeBeforeTheBodyIsOut) {
  serve(10);
  server->give_window_back = false;
  const std::string text(100, 'u');
  auto stream = request("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n", {text, true});
  ASSERT_TRUE(sent);
  turn();
  server->answer(1, {{":status", "413"}}, "no");
  turn();
  ASSERT_TRUE(read_head(*stream, Method::post));
  EXPECT_EQ(head.status, 413);
  EXPECT_EQ(read_body(*stream).value(), "no");
  stream.reset();
  turn();
  EXPECT_EQ(server->streams[1].reset, NGHTTP2_CANCEL);
}

TEST_F(ClientSessionTest, CallingAnExchangeOffLeavesTheConnectionAlive) {
  serve();
  auto first = request(kGet);
  const auto second = request(kGet);
  turn();
  first.reset();
  turn();
  EXPECT_EQ(server->streams[1].reset, NGHTTP2_CANCEL);
  server->answer(3, {{":status", "204"}});
  turn();
  ASSERT_TRUE(read_head(*second));
  EXPECT_EQ(head.status, 204);
  EXPECT_TRUE(session->usable());
}

TEST_F(ClientSessionTest, RefusedStreamsWereNotProcessed) {
  serve();
  const auto stream = request(kPost, {{}, true});
  turn();
  server->reset(1, NGHTTP2_REFUSED_STREAM);
  turn();
  const Error error = head_error(*stream);
  EXPECT_EQ(error.kind, ErrorKind::stream_reset);
  EXPECT_EQ(error.sent, Sent::nothing);
  EXPECT_TRUE(session->usable());
}

TEST_F(ClientSessionTest, AResetBeforeTheHeadIsNotACutAnswer) {
  serve();
  const auto stream = request(kGet);
  turn();
  server->reset(1, NGHTTP2_INTERNAL_ERROR);
  turn();
  const Error error = head_error(*stream);
  EXPECT_EQ(error.kind, ErrorKind::stream_reset);
  EXPECT_EQ(error.sent, Sent::maybe);
}

TEST_F(ClientSessionTest, AResetWithinTheBodyIsACutAnswer) {
  serve();
  const auto stream = request(kGet);
  turn();
  server->answer(1, {{":status", "200"}}, "part", {}, true);
  turn();
  server->reset(1, NGHTTP2_INTERNAL_ERROR);
  turn();
  ASSERT_TRUE(read_head(*stream));
  const Result<std::string> body = read_body(*stream);
  ASSERT_FALSE(body);
  EXPECT_EQ(body.error().kind, ErrorKind::incomplete);
}

TEST_F(ClientSessionTest, AResetAfterTheAnswerIsNone) {
  serve(10);
  const std::string text(100, 'u');
  const auto stream = request("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n", {text, true});
  turn();
  server->answer(1, {{":status", "413"}}, "no");
  turn();
  server->reset(1, NGHTTP2_NO_ERROR);  // RFC 9113 section 8.1: send no more
  turn();
  ASSERT_TRUE(read_head(*stream, Method::post));
  EXPECT_EQ(read_body(*stream).value(), "no");
}

TEST_F(ClientSessionTest, GoawayNamesWhatWasNotProcessed) {
  serve();
  const auto first = request(kGet);
  const auto second = request(kPost, {{}, true});
  turn();
  nghttp2_submit_goaway(server->session, NGHTTP2_FLAG_NONE, 1, NGHTTP2_NO_ERROR, nullptr, 0);
  turn();
  const Error error = head_error(*second);
  EXPECT_EQ(error.kind, ErrorKind::closed);
  EXPECT_EQ(error.sent, Sent::nothing);
  EXPECT_FALSE(session->usable());
  server->answer(1, {{":status", "200"}}, "still");
  turn();
  ASSERT_TRUE(read_head(*first));
  EXPECT_EQ(read_body(*first).value(), "still");
}

TEST_F(ClientSessionTest, EndsAfterGoawayWhenTheLastExchangeHas) {
  serve();
  auto stream = request(kGet);
  turn();
  nghttp2_submit_shutdown_notice(server->session);
  server->answer(1, {{":status", "200"}});
  turn();
  ASSERT_TRUE(read_head(*stream));
  EXPECT_EQ(head.status, 200);
  EXPECT_TRUE(stream->take_buffered_body()->last);
  stream.reset();
  turn();
  EXPECT_TRUE(session->ended());
}

TEST_F(ClientSessionTest, MoreRequestsThanTheBackendAllowsWaitForTheirTurn) {
  serve(65535, 1);
  EXPECT_TRUE(session->has_room());
  auto first = request(kGet);
  EXPECT_FALSE(session->has_room());
  auto second = request(kGet);
  turn();
  EXPECT_EQ(server->streams.size(), 1U);
  const Result<> late = loop.run_task(second->read_head(head, Method::get, limits, loop.now() + seconds(1), nullptr));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().sent, Sent::nothing);
  server->answer(1, {{":status", "200"}});
  turn();
  EXPECT_EQ(server->streams.size(), 2U);
  // One that is called off before its turn never goes out.
  auto third = request(kGet);
  turn();
  third.reset();
  server->answer(3, {{":status", "200"}});
  turn();
  EXPECT_EQ(server->streams.size(), 2U);
}

TEST_F(ClientSessionTest, ADeadConnectionIsFoundByPing) {
  serve();
  const auto stream = request(kGet);
  turn();
  loop.run_for(settings.ping_after + milliseconds(10));
  server->turn();
  EXPECT_EQ(server->pings, 1U);
  server->turn();
  loop.run_for(settings.ping_timeout);
  EXPECT_FALSE(session->ended());  // it answered
  loop.run_for(settings.ping_after + settings.ping_timeout + seconds(1));
  EXPECT_TRUE(session->ended());  // now it does not
  const Error error = head_error(*stream);
  EXPECT_EQ(error.kind, ErrorKind::closed);
  EXPECT_EQ(error.sent, Sent::maybe);
}

TEST_F(ClientSessionTest, AnIdleConnectionIsClosedInTime) {
  serve();
  loop.run_for(settings.idle_timeout + milliseconds(10));
  turn();
  EXPECT_EQ(server->goaway, NGHTTP2_NO_ERROR);
  EXPECT_TRUE(session->ended());
  EXPECT_EQ(server->pings, 0U);
}

TEST_F(ClientSessionTest, HoldsNoBlockWhileIdle) {
  serve();
  auto stream = request(kGet);
  turn();
  server->answer(1, {{":status", "200"}}, "x");
  turn();
  ASSERT_TRUE(read_head(*stream));
  stream.reset();
  turn();
  EXPECT_EQ(pool.in_use(), 0U);
}

TEST_F(ClientSessionTest, AClosedConnectionFailsItsExchanges) {
  serve();
  const auto waiting = request(kGet);
  const auto reading = request(kGet);
  turn();
  server->answer(3, {{":status", "200"}}, "part", {}, true);
  turn();
  server.reset();
  backend.reset();
  turn();
  EXPECT_EQ(head_error(*waiting).kind, ErrorKind::closed);
  ASSERT_TRUE(read_head(*reading));
  EXPECT_EQ(read_body(*reading).error().kind, ErrorKind::incomplete);
  EXPECT_TRUE(session->ended());
}

// Over TCP: a write meets the reset before the loop knows that there is something to read.
TEST(ClientSessionOverTcp, WhatTheBackendSaidBeforeItClosedIsReadThoughNothingCanBeWritten) {
  const SystemClock clock;
  rt::EpollLoop loop{clock};
  BufferPool pool;
  const auto opened = net::open_listeners(*net::SocketAddress::from_ip("127.0.0.1", 0), 1);
  ASSERT_TRUE(opened);
  auto connected = net::SocketStream::connect(loop, opened->address);
  ASSERT_TRUE(connected);
  const int own_fd = (*connected)->fd();
  const int peer = accept(opened->fds.front(), nullptr, nullptr);
  const std::shared_ptr<ClientSession> session = ClientSession::start(loop, *std::move(connected), pool, {});
  std::unique_ptr<ClientStream> stream = session->open();
  std::unique_ptr<ClientStream> other = session->open();

  RequestHead asked;
  ASSERT_TRUE(h1::parse_request_head(kGet, {}, asked));
  std::optional<Error> error;
  const auto ask = [&]() -> rt::Task<> {
    for (ClientStream* each : {stream.get(), other.get()}) {
      auto sending = each->send_request(asked, {}, {{}, true}, {}, seconds(10), seconds(10), nullptr);
      const Result<> done = co_await std::move(sending);
      EXPECT_TRUE(done);
    }
    // What was sent before this stays unread, so the close is a reset. The backend has processed nothing, it says.
    char bytes[1];
    EXPECT_EQ(recv(peer, bytes, sizeof bytes, MSG_PEEK), 1);
    const std::string last_words = kSettings + frame(NGHTTP2_GOAWAY, 0, 0, std::string(8, '\0'));
    EXPECT_EQ(send(peer, last_words.data(), last_words.size(), 0), static_cast<ssize_t>(last_words.size()));
    close(peer);
    pollfd gone{.fd = own_fd, .events = 0, .revents = 0};
    EXPECT_EQ(poll(&gone, 1, 10'000), 1);
    other.reset();  // RST_STREAM is to be written
    ResponseHead head;
    auto reading = stream->read_head(head, Method::get, {}, loop.now() + seconds(10), nullptr);
    const Result<> read = co_await std::move(reading);
    if (!read) error = read.error();
    stream.reset();
    loop.request_stop();
  };
  loop.spawn(ask());
  loop.run();
  ASSERT_TRUE(error);
  EXPECT_EQ(error->kind, ErrorKind::closed) << describe(*error);
  EXPECT_EQ(error->sent, Sent::nothing) << "another connection may serve it, whatever the method";
  EXPECT_TRUE(session->ended());
  close(opened->fds.front());
}

TEST_F(ClientSessionTest, AConnectThatNeverEndsSendsNothing) {
  connect(0);
  const auto stream = request(kGet);
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().kind, ErrorKind::timeout_connect);
  EXPECT_EQ(sent.error().sent, Sent::nothing);
}

// --- hostile backends ------------------------------------------------------------------------------------------------

struct Hostile {
  const char* name;
  std::string frames;
  ErrorKind kind;
  bool others_go_on = false;  // a stream error (RFC 9113 section 5.4.2), not one of the connection
};
void PrintTo(const Hostile& hostile, std::ostream* out) {
  *out << hostile.name;
}

std::string repeat(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

// A literal field without indexing whose name and value are given.
std::string literal(std::string_view name, std::string_view value) {
  std::string bytes(1, '\0');
  bytes.push_back(static_cast<char>(name.size()));
  bytes.append(name);
  bytes.push_back(static_cast<char>(value.size()));
  return bytes.append(value);
}

class HostileBackendTest : public ClientSessionTest, public testing::WithParamInterface<Hostile> {};

TEST_P(HostileBackendTest, FailsTheExchangeWithinBounds) {
  connect(1 << 22);
  const auto stream = request(kGet);
  const auto other = request(kGet);
  loop.run_for(Nanoseconds::zero());
  const iovec piece = h1::piece_of(std::string_view{GetParam().frames});
  ASSERT_EQ(backend->try_write({&piece, 1}).bytes, GetParam().frames.size());
  loop.run_for(Nanoseconds::zero());
  EXPECT_LE(pool.in_use(), kStreamWindow + 3 * 65536);
  EXPECT_EQ(session->usable(), GetParam().others_go_on);
  EXPECT_EQ(session->ended(), !GetParam().others_go_on) << "a connection that is broken is closed at once";
  if (GetParam().others_go_on) {
    raw(frame(NGHTTP2_HEADERS, 5, 3, kStatus200));
    EXPECT_TRUE(read_head(*other));
    EXPECT_EQ(head.status, 200);
  } else {
    EXPECT_EQ(head_error(*other).kind, ErrorKind::malformed);
  }
  Result<> read = read_head(*stream);
  if (read && head.status < 200) read = read_head(*stream);
  if (read) {
    const Result<std::string> body = read_body(*stream);
    ASSERT_FALSE(body);
    EXPECT_EQ(body.error().kind, GetParam().kind);
  } else {
    EXPECT_EQ(read.error().kind, GetParam().kind) << describe(read.error());
  }
}

const std::string kHead = frame(NGHTTP2_HEADERS, 4, 1, kStatus200);

INSTANTIATE_TEST_SUITE_P(
    Frames, HostileBackendTest,
    testing::Values(
        Hostile{"not_http2", "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", ErrorKind::malformed},
        Hostile{"no_settings_first", frame(NGHTTP2_PING, 0, 0, "12345678"), ErrorKind::malformed},
        Hostile{"push", kSettings + frame(NGHTTP2_PUSH_PROMISE, 4, 1, std::string("\0\0\0\2", 4) + "\x82\x84\x87"),
                ErrorKind::malformed},
        Hostile{"data_before_head", kSettings + frame(NGHTTP2_DATA, 1, 1, "x"), ErrorKind::malformed, true},
        Hostile{"no_status", kSettings + frame(NGHTTP2_HEADERS, 5, 1, literal("x", "y")), ErrorKind::malformed, true},
        Hostile{"upper_case", kSettings + frame(NGHTTP2_HEADERS, 5, 1, std::string(kStatus200) + literal("X-A", "y")),
                ErrorKind::malformed, true},
        Hostile{"line_end_in_a_value",
                kSettings + frame(NGHTTP2_HEADERS, 5, 1, std::string(kStatus200) + literal("x", "y\r\nz: 1")),
                ErrorKind::malformed, true},
        Hostile{"space_around_a_value",
                kSettings + frame(NGHTTP2_HEADERS, 5, 1, std::string(kStatus200) + literal("x", " y")),
                ErrorKind::malformed, true},
        Hostile{"connection_field",
                kSettings + frame(NGHTTP2_HEADERS, 5, 1, std::string(kStatus200) + literal("connection", "close")),
                ErrorKind::malformed, true},
        Hostile{
            "transfer_encoding",
            kSettings + frame(NGHTTP2_HEADERS, 4, 1, std::string(kStatus200) + literal("transfer-encoding", "chunked")),
            ErrorKind::malformed, true},
        Hostile{"more_than_announced",
                kSettings + frame(NGHTTP2_HEADERS, 4, 1, std::string(kStatus200) + literal("content-length", "1")) +
                    frame(NGHTTP2_DATA, 1, 1, "xx"),
                ErrorKind::malformed, true},
        Hostile{"less_than_announced",
                kSettings + frame(NGHTTP2_HEADERS, 4, 1, std::string(kStatus200) + literal("content-length", "3")) +
                    frame(NGHTTP2_DATA, 1, 1, "xx"),
                ErrorKind::malformed, true},
        Hostile{"status_101", kSettings + frame(NGHTTP2_HEADERS, 4, 1, literal(":status", "101")), ErrorKind::malformed,
                true},
        Hostile{"pseudo_field_in_trailers", kSettings + kHead + frame(NGHTTP2_HEADERS, 5, 1, kStatus200),
                ErrorKind::malformed, true},
        Hostile{"beyond_the_window", kSettings + kHead + repeat(frame(NGHTTP2_DATA, 0, 1, std::string(16384, 'x')), 17),
                ErrorKind::malformed, true},
        Hostile{"frame_too_large", kSettings + kHead + frame(NGHTTP2_DATA, 0, 1, std::string(16385, 'x')),
                ErrorKind::malformed},
        Hostile{"window_overflow", kSettings + frame(NGHTTP2_WINDOW_UPDATE, 0, 0, std::string("\x7f\xff\xff\xff", 4)),
                ErrorKind::malformed},
        Hostile{"window_update_of_zero", kSettings + frame(NGHTTP2_WINDOW_UPDATE, 0, 0, std::string(4, '\0')),
                ErrorKind::malformed},
        Hostile{"unknown_stream", kSettings + frame(NGHTTP2_RST_STREAM, 0, 99, std::string(4, '\0')),
                ErrorKind::malformed},
        Hostile{"ping_flood", kSettings + repeat(frame(NGHTTP2_PING, 0, 0, "12345678"), 5000), ErrorKind::malformed},
        Hostile{"settings_flood", repeat(kSettings, 5000), ErrorKind::malformed},
        Hostile{"empty_data_flood", kSettings + kHead + repeat(frame(NGHTTP2_DATA, 0, 1), 5000), ErrorKind::malformed},
        Hostile{"padding_flood",
                kSettings + kHead + repeat(frame(NGHTTP2_DATA, 8, 1, std::string("\x03\0\0\0", 4)), 5000),
                ErrorKind::malformed},
        Hostile{"priority_flood", kSettings + repeat(frame(NGHTTP2_PRIORITY, 0, 1, std::string("\0\0\0\3\0", 5)), 5000),
                ErrorKind::malformed},
        Hostile{"unknown_frames_flood", kSettings + repeat(frame(0x42, 0, 0, "x"), 5000), ErrorKind::malformed},
        Hostile{"window_update_flood",
                kSettings + repeat(frame(NGHTTP2_WINDOW_UPDATE, 0, 1, std::string("\0\0\0\1", 4)), 5000),
                ErrorKind::malformed},
        Hostile{"continuation_flood",
                kSettings + frame(NGHTTP2_HEADERS, 0, 1, kStatus200) +
                    repeat(frame(NGHTTP2_CONTINUATION, 0, 1, literal("x", "y")), 2000),
                ErrorKind::malformed},
        Hostile{"interim_flood", kSettings + repeat(frame(NGHTTP2_HEADERS, 4, 1, literal(":status", "103")), 100),
                ErrorKind::malformed, true},
        // RFC 9113 section 4.2, 4.3: sizes and compression.
        Hostile{"ping_of_seven_bytes", kSettings + frame(NGHTTP2_PING, 0, 0, "1234567"), ErrorKind::malformed},
        Hostile{"settings_of_five_bytes", frame(NGHTTP2_SETTINGS, 0, 0, "12345"), ErrorKind::malformed},
        Hostile{"acknowledgement_with_settings", kSettings + frame(NGHTTP2_SETTINGS, 1, 0, std::string(6, '\0')),
                ErrorKind::malformed},
        Hostile{"reset_of_three_bytes", kSettings + frame(NGHTTP2_RST_STREAM, 0, 1, "123"), ErrorKind::malformed},
        Hostile{"window_update_of_five_bytes", kSettings + frame(NGHTTP2_WINDOW_UPDATE, 0, 0, "12345"),
                ErrorKind::malformed},
        Hostile{"goaway_of_seven_bytes", kSettings + frame(NGHTTP2_GOAWAY, 0, 0, "1234567"), ErrorKind::malformed},
        Hostile{"index_of_nothing", kSettings + frame(NGHTTP2_HEADERS, 5, 1, std::string(kStatus200) + '\xfe'),
                ErrorKind::malformed},
        Hostile{"index_zero", kSettings + frame(NGHTTP2_HEADERS, 5, 1, std::string(kStatus200) + '\x80'),
                ErrorKind::malformed},
        Hostile{"string_that_is_cut",
                kSettings + frame(NGHTTP2_HEADERS, 5, 1,
                                  std::string("\0\x05"
                                              "abc",
                                              5)),
                ErrorKind::malformed},
        Hostile{"table_larger_than_allowed",
                kSettings + frame(NGHTTP2_HEADERS, 5, 1, "\x3f\xe2\x1f" + std::string(kStatus200)),
                ErrorKind::malformed},
        Hostile{"end_of_string_in_huffman",
                kSettings + frame(NGHTTP2_HEADERS, 5, 1, std::string("\0\x84\xff\xff\xff\xff\0", 7)),
                ErrorKind::malformed},
        // Section 5.1, 6: frames on wrong streams.
        Hostile{"data_on_the_connection", kSettings + frame(NGHTTP2_DATA, 0, 0, "x"), ErrorKind::malformed},
        Hostile{"data_on_an_idle_stream", kSettings + frame(NGHTTP2_DATA, 0, 99, "x"), ErrorKind::malformed},
        Hostile{"data_on_a_stream_of_the_server", kSettings + frame(NGHTTP2_DATA, 0, 2, "x"), ErrorKind::malformed},
        Hostile{"headers_on_the_connection", kSettings + frame(NGHTTP2_HEADERS, 5, 0, kStatus200),
                ErrorKind::malformed},
        Hostile{"headers_on_an_idle_stream", kSettings + frame(NGHTTP2_HEADERS, 5, 99, kStatus200),
                ErrorKind::malformed},
        Hostile{"headers_on_a_stream_of_the_server", kSettings + frame(NGHTTP2_HEADERS, 5, 2, kStatus200),
                ErrorKind::malformed},
        Hostile{"priority_on_the_connection", kSettings + frame(NGHTTP2_PRIORITY, 0, 0, std::string("\0\0\0\3\0", 5)),
                ErrorKind::malformed},
        Hostile{"reset_of_the_connection", kSettings + frame(NGHTTP2_RST_STREAM, 0, 0, std::string(4, '\0')),
                ErrorKind::malformed},
        Hostile{"settings_on_a_stream", kSettings + frame(NGHTTP2_SETTINGS, 0, 1), ErrorKind::malformed},
        Hostile{"ping_on_a_stream", kSettings + frame(NGHTTP2_PING, 0, 1, "12345678"), ErrorKind::malformed},
        Hostile{"goaway_on_a_stream", kSettings + frame(NGHTTP2_GOAWAY, 0, 1, std::string(8, '\0')),
                ErrorKind::malformed},
        Hostile{"window_update_on_an_idle_stream",
                kSettings + frame(NGHTTP2_WINDOW_UPDATE, 0, 99, std::string("\0\0\0\1", 4)), ErrorKind::malformed},
        Hostile{"continuation_of_nothing", kSettings + frame(NGHTTP2_CONTINUATION, 4, 1, kStatus200),
                ErrorKind::malformed},
        Hostile{"continuation_of_another_stream",
                kSettings + frame(NGHTTP2_HEADERS, 1, 1, kStatus200) + frame(NGHTTP2_CONTINUATION, 4, 3, ""),
                ErrorKind::malformed},
        Hostile{"frame_within_a_header_block",
                kSettings + frame(NGHTTP2_HEADERS, 1, 1, kStatus200) + frame(NGHTTP2_PING, 0, 0, "12345678"),
                ErrorKind::malformed},
        Hostile{"more_padding_than_data", kSettings + kHead + frame(NGHTTP2_DATA, 8, 1, "\x05x"), ErrorKind::malformed},
        Hostile{"more_padding_than_headers", kSettings + frame(NGHTTP2_HEADERS, 12, 1, "\x05\x88"),
                ErrorKind::malformed},
        // Section 6.5.2: settings.
        Hostile{"push_enabled_by_the_server", frame(NGHTTP2_SETTINGS, 0, 0, std::string("\0\2\0\0\0\1", 6)),
                ErrorKind::malformed},
        Hostile{"push_neither_on_nor_off", frame(NGHTTP2_SETTINGS, 0, 0, std::string("\0\2\0\0\0\2", 6)),
                ErrorKind::malformed},
        Hostile{"window_too_large", frame(NGHTTP2_SETTINGS, 0, 0, std::string("\0\4\x80\0\0\0", 6)),
                ErrorKind::malformed},
        Hostile{"frame_size_too_small", frame(NGHTTP2_SETTINGS, 0, 0, std::string("\0\5\0\0\x3f\xff", 6)),
                ErrorKind::malformed},
        Hostile{"frame_size_too_large", frame(NGHTTP2_SETTINGS, 0, 0, std::string("\0\5\1\0\0\0", 6)),
                ErrorKind::malformed},
        Hostile{"window_that_overflows_by_a_setting",
                kSettings + frame(NGHTTP2_WINDOW_UPDATE, 0, 1, std::string("\0\0\0\1", 4)) +
                    frame(NGHTTP2_SETTINGS, 0, 0, std::string("\0\4\x7f\xff\xff\xff", 6)),
                ErrorKind::malformed},
        // Section 6.8, 6.9.
        Hostile{"goaway_that_takes_back",
                kSettings + frame(NGHTTP2_GOAWAY, 0, 0, std::string("\0\0\0\3\0\0\0\0", 8)) +
                    frame(NGHTTP2_GOAWAY, 0, 0, std::string("\0\0\0\5\0\0\0\0", 8)),
                ErrorKind::malformed},
        Hostile{"goaway_for_a_stream_of_the_server",
                kSettings + frame(NGHTTP2_GOAWAY, 0, 0, std::string("\0\0\0\4\0\0\0\0", 8)), ErrorKind::malformed},
        Hostile{"window_update_of_zero_for_a_stream",
                kSettings + frame(NGHTTP2_WINDOW_UPDATE, 0, 1, std::string(4, '\0')), ErrorKind::malformed, true},
        Hostile{"window_overflow_of_a_stream",
                kSettings + frame(NGHTTP2_WINDOW_UPDATE, 0, 1, std::string("\x7f\xff\xff\xff", 4)),
                ErrorKind::malformed, true},
        // Section 8: messages.
        Hostile{"two_statuses", kSettings + frame(NGHTTP2_HEADERS, 5, 1, std::string(kStatus200) + '\x89'),
                ErrorKind::malformed, true},
        Hostile{"status_after_a_field",
                kSettings + frame(NGHTTP2_HEADERS, 5, 1, literal("x", "y") + std::string(kStatus200)),
                ErrorKind::malformed, true},
        Hostile{"pseudo_field_of_a_request",
                kSettings + frame(NGHTTP2_HEADERS, 5, 1, std::string(kStatus200) + literal(":path", "/")),
                ErrorKind::malformed, true},
        Hostile{"pseudo_field_unknown",
                kSettings + frame(NGHTTP2_HEADERS, 5, 1, std::string(kStatus200) + literal(":x", "y")),
                ErrorKind::malformed, true},
        Hostile{"status_of_two_digits", kSettings + frame(NGHTTP2_HEADERS, 5, 1, literal(":status", "20")),
                ErrorKind::malformed, true},
        Hostile{"status_of_letters", kSettings + frame(NGHTTP2_HEADERS, 5, 1, literal(":status", "2x0")),
                ErrorKind::malformed, true},
        Hostile{"status_below_100", kSettings + frame(NGHTTP2_HEADERS, 5, 1, literal(":status", "099")),
                ErrorKind::malformed, true},
        Hostile{"status_above_599", kSettings + frame(NGHTTP2_HEADERS, 5, 1, literal(":status", "600")),
                ErrorKind::malformed, true},
        Hostile{"name_empty", kSettings + frame(NGHTTP2_HEADERS, 5, 1, std::string(kStatus200) + literal("", "y")),
                ErrorKind::malformed, true},
        Hostile{"name_with_a_space",
                kSettings + frame(NGHTTP2_HEADERS, 5, 1, std::string(kStatus200) + literal("a b", "y")),
                ErrorKind::malformed, true},
        Hostile{"null_in_a_value",
                kSettings +
                    frame(NGHTTP2_HEADERS, 5, 1, std::string(kStatus200) + literal("x", std::string_view("a\0b", 3))),
                ErrorKind::malformed, true},
        Hostile{"keep_alive",
                kSettings + frame(NGHTTP2_HEADERS, 5, 1, std::string(kStatus200) + literal("keep-alive", "timeout=5")),
                ErrorKind::malformed, true},
        Hostile{"proxy_connection",
                kSettings + frame(NGHTTP2_HEADERS, 5, 1, std::string(kStatus200) + literal("proxy-connection", "x")),
                ErrorKind::malformed, true},
        Hostile{"upgrade",
                kSettings + frame(NGHTTP2_HEADERS, 5, 1, std::string(kStatus200) + literal("upgrade", "h2c")),
                ErrorKind::malformed, true},
        Hostile{"content_length_of_letters",
                kSettings + frame(NGHTTP2_HEADERS, 4, 1, std::string(kStatus200) + literal("content-length", "2x")),
                ErrorKind::malformed, true},
        Hostile{"content_length_with_a_sign",
                kSettings + frame(NGHTTP2_HEADERS, 4, 1, std::string(kStatus200) + literal("content-length", "+2")),
                ErrorKind::malformed, true},
        Hostile{"two_content_lengths",
                kSettings +
                    frame(NGHTTP2_HEADERS, 4, 1,
                          std::string(kStatus200) + literal("content-length", "2") + literal("content-length", "3")),
                ErrorKind::malformed, true},
        Hostile{"length_of_no_body",
                kSettings + frame(NGHTTP2_HEADERS, 5, 1, std::string(kStatus200) + literal("content-length", "3")),
                ErrorKind::malformed, true},
        Hostile{"end_within_interim_responses", kSettings + frame(NGHTTP2_HEADERS, 5, 1, literal(":status", "103")),
                ErrorKind::malformed, true},
        Hostile{"data_within_interim_responses",
                kSettings + frame(NGHTTP2_HEADERS, 4, 1, literal(":status", "103")) + frame(NGHTTP2_DATA, 1, 1, "x"),
                ErrorKind::malformed, true},
        Hostile{"trailers_that_do_not_end", kSettings + kHead + frame(NGHTTP2_HEADERS, 4, 1, literal("x", "y")),
                ErrorKind::malformed, true},
        Hostile{"connection_field_in_trailers",
                kSettings + kHead + frame(NGHTTP2_HEADERS, 5, 1, literal("connection", "close")), ErrorKind::malformed,
                true},
        Hostile{"line_end_in_trailers", kSettings + kHead + frame(NGHTTP2_HEADERS, 5, 1, literal("x", "y\nz: 1")),
                ErrorKind::malformed, true},
        // Section 10.5: floods.
        Hostile{"ping_answer_flood", kSettings + repeat(frame(NGHTTP2_PING, 1, 0, "12345678"), 5000),
                ErrorKind::malformed},
        Hostile{"settings_answer_flood", kSettings + repeat(frame(NGHTTP2_SETTINGS, 1, 0), 5000), ErrorKind::malformed},
        Hostile{"goaway_flood",
                kSettings + repeat(frame(NGHTTP2_GOAWAY, 0, 0, std::string("\x7f\xff\xff\xff\0\0\0\0", 8)), 5000),
                ErrorKind::malformed},
        Hostile{
            "empty_continuation_flood",
            kSettings + frame(NGHTTP2_HEADERS, 0, 1, kStatus200) + repeat(frame(NGHTTP2_CONTINUATION, 0, 1), 20'000),
            ErrorKind::malformed},
        Hostile{"continuation_flood_on_no_stream",
                kSettings + frame(NGHTTP2_RST_STREAM, 0, 1, std::string("\0\0\0\2", 4)) +
                    frame(NGHTTP2_HEADERS, 0, 1, kStatus200) +
                    repeat(frame(NGHTTP2_CONTINUATION, 0, 1, literal("x", "y")), 20'000),
                ErrorKind::stream_reset},
        Hostile{"fields_flood",
                kSettings + frame(NGHTTP2_HEADERS, 5, 1, std::string(kStatus200) + repeat(literal("x", "y"), 1500)),
                ErrorKind::head_too_large, true},
        Hostile{"trailers_flood", kSettings + kHead + frame(NGHTTP2_HEADERS, 5, 1, repeat(literal("x", "y"), 1500)),
                ErrorKind::malformed, true},
        // One large field in the table, then named again and again: a byte each.
        Hostile{"hpack_bomb",
                kSettings + frame(NGHTTP2_HEADERS, 5, 1,
                                  std::string(kStatus200) + '\x40' + '\x01' + 'x' + "\x7f\x81\x1e" +
                                      std::string(4000, 'v') + std::string(10'000, '\xbe')),
                ErrorKind::head_too_large, true}),
    [](const auto& info) { return info.param.name; });

// What looks odd and must be borne.
TEST_F(ClientSessionTest, KnowsWhatMustBeInNobodysTable) {  // RFC 7541 section 6.2.3
  connect();
  const std::unique_ptr<ClientStream> stream = request("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n");
  raw(kSettings + frame(NGHTTP2_HEADERS, 5, 1, std::string(kStatus200) + "\x10\x01x\x01y" + literal("z", "y")));
  ASSERT_TRUE(read_head(*stream));
  EXPECT_TRUE(head.find("x")->never_indexed);
  EXPECT_FALSE(head.find("z")->never_indexed);
}

TEST_F(ClientSessionTest, BearsWhatTheProtocolLetsABackendDo) {
  connect();
  const auto stream = request(kGet);
  raw(frame(NGHTTP2_SETTINGS, 0, 0,
            std::string("\0\x63\0\0\0\7"
                        "\0\2\0\0\0\0",
                        12)));  // unknown; push off
  raw(frame(0x42, 0xff, 1, "unknown"));
  raw(frame(NGHTTP2_PING, 1, 0, "unasked!"));
  raw(frame(NGHTTP2_PRIORITY, 0, 7, std::string("\0\0\0\3\0", 5)));
  raw(frame(NGHTTP2_GOAWAY, 0, 0, std::string("\x7f\xff\xff\xff\0\0\0\0", 8)));
  raw(frame(NGHTTP2_HEADERS, 12, 1, "\x02" + std::string(kStatus200) + std::string(2, '\0')));
  raw(frame(NGHTTP2_GOAWAY, 0, 0, std::string("\0\0\0\1\0\0\0\0", 8)));
  raw(frame(NGHTTP2_DATA, 8, 1,
            std::string("\x03"
                        "body\0\0\0",
                        8)));
  raw(frame(NGHTTP2_DATA, 0, 1));
  raw(frame(NGHTTP2_HEADERS, 5, 1, literal("x-sum", "9")) + frame(NGHTTP2_RST_STREAM, 0, 1, std::string(4, '\0')) +
      frame(NGHTTP2_WINDOW_UPDATE, 0, 1, std::string("\0\0\0\1", 4)));
  ASSERT_TRUE(read_head(*stream));
  EXPECT_EQ(read_body(*stream).value(), "body");
  ASSERT_EQ(stream->trailers().size(), 1U);
  EXPECT_EQ(stream->trailers()[0].value, "9");
}

TEST_F(ClientSessionTest, DataForAnExchangeThatWasCalledOffIsDroppedAndPaidBack) {
  connect();
  auto stream = request(kGet);
  const auto other = request(kGet);
  loop.run_for(Nanoseconds::zero());
  raw(kSettings + kHead);
  stream.reset();
  // More than the connection's window, in steps that stay within what is given back.
  for (int i = 0; i < 200; ++i) {
    raw(frame(NGHTTP2_DATA, 0, 1, std::string(16384, 'x')));
    char taken[4096];
    while (backend->try_read(taken).status == net::IoStatus::ok) loop.run_for(Nanoseconds::zero());
    ASSERT_FALSE(session->ended()) << i;
  }
  EXPECT_EQ(pool.in_use(), 0U);
  raw(frame(NGHTTP2_HEADERS, 5, 3, kStatus200));
  EXPECT_TRUE(read_head(*other));
}

TEST_F(ClientSessionTest, AnAnswerThatIsCompleteStandsWhateverFollows) {
  connect();
  const auto stream = request(kGet);
  loop.run_for(Nanoseconds::zero());
  raw(kSettings + kHead + frame(NGHTTP2_DATA, 1, 1, "whole") + frame(NGHTTP2_DATA, 1, 1, "more"));
  ASSERT_TRUE(read_head(*stream));
  EXPECT_EQ(read_body(*stream).value(), "whole");
}

TEST_F(ClientSessionTest, AGoawayTakesNothingOfWhatWasAnswered) {
  connect();
  const auto answered = request(kGet);
  const auto begun = request(kGet);
  const auto left_out = request(kGet);
  loop.run_for(Nanoseconds::zero());
  raw(kSettings + frame(NGHTTP2_HEADERS, 5, 1, kStatus200) + frame(NGHTTP2_HEADERS, 4, 3, kStatus200) +
      frame(NGHTTP2_GOAWAY, 0, 0, std::string("\0\0\0\0\0\0\0\2", 8)));
  EXPECT_TRUE(read_head(*answered));
  ASSERT_TRUE(read_head(*begun));
  EXPECT_EQ(read_body(*begun).error().kind, ErrorKind::incomplete) << "not to be asked again: some of it came";
  const Error error = head_error(*left_out);
  EXPECT_EQ(error.kind, ErrorKind::closed);
  EXPECT_EQ(error.sent, Sent::nothing);
}

}  // namespace
}  // namespace dao::http::h2

// An HTTP/2 connection of a client in virtual time, with nghttp2 as the client: exchanges, flow control in both
// directions, resets, floods, timeouts and the ways it ends. After each test no task, timer or buffer may be left.
#include "dao/http/h2/server_session.h"

#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "dao/net/memory_stream.h"

namespace dao::http::h2 {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Pairs = std::vector<std::pair<std::string, std::string>>;

// What the client got on one stream.
struct Answer {
  std::string status;
  Pairs fields;
  Pairs trailers;
  std::vector<std::string> interim;
  std::string body;
  bool ended = false;
  bool closed = false;
  std::uint32_t error = 0;

  [[nodiscard]] std::string field(std::string_view name) const {
    for (const auto& [key, value] : fields) {
      if (key == name) return value;
    }
    return {};
  }
};

class Handler final : public RequestHandler {
 public:
  using Behaviour = std::function<rt::Task<>(Exchange&)>;

  rt::Task<> handle(Exchange& exchange, const Error* rejected) override {
    const RequestHead& head = exchange.request();
    if (rejected != nullptr) {
      rejections.push_back(rejected->kind);
      auto responding = respond(exchange, 400, "no");
      co_await std::move(responding);
      co_return;
    }
    std::string line = std::string{head.method_text} + " " + std::string{head.path} + " " + std::string{head.authority};
    for (const Field& field : head.fields) {
      if (!field.dropped) line += "|" + std::string{field.name} + "=" + std::string{field.value};
    }
    seen.push_back(line);
    auto behaving = behaviour(exchange);
    co_await std::move(behaving);
    ++handled;
  }
  std::unique_ptr<RequestHead> borrow_request_head() override {
    ++heads_out;
    return std::make_unique<RequestHead>();
  }
  void return_request_head(std::unique_ptr<RequestHead>) override { --heads_out; }
  [[nodiscard]] bool draining() const override { return false; }
  void connection_idle(bool idle) override { idle_connections += idle ? 1 : -1; }
  void flooded(Flood flood, const net::Peer&) override { floods.push_back(flood); }

  static rt::Task<> respond(Exchange& exchange, std::uint16_t status, std::string body) {
    ResponseHead head;
    head.status = status;
    head.add("X-Mixed-Case", "yes");
    const BodyFraming framing{body.empty() ? BodyFraming::Kind::none : BodyFraming::Kind::length, body.size()};
    auto sending = exchange.send_head(head, framing, {{body.data(), body.size()}, true});
    const Result<> sent = co_await std::move(sending);
    static_cast<void>(sent);
  }
  // Reads the body to its end and answers with it, and with the trailers.
  rt::Task<> echo(Exchange& exchange) {
    std::string body;
    Result<BodyPiece> piece = exchange.take_buffered_body();
    while (piece) {
      body.append(piece->bytes.data(), piece->bytes.size());
      if (piece->last) break;
      auto reading = exchange.read_body(nullptr, Nanoseconds::zero());
      piece = co_await std::move(reading);
    }
    for (const Field& field : exchange.request_trailers()) body += "+" + std::string{field.name};
    if (!piece) body_errors.push_back(piece.error().kind);
    auto responding = respond(exchange, piece ? 200 : 408, body.empty() ? "ok" : body);
    co_await std::move(responding);
  }

  Behaviour behaviour = [this](Exchange& exchange) { return echo(exchange); };
  std::vector<std::string> seen;
  std::vector<ErrorKind> rejections;
  std::vector<ErrorKind> body_errors;
  std::vector<Flood> floods;
  std::size_t handled = 0;
  int heads_out = 0;
  int idle_connections = 0;
};

class ServerSessionTest : public testing::Test {
 protected:
  void connect(std::uint32_t window = 65535, std::size_t capacity = 65536) {
    open_stream(capacity);
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_option* option = nullptr;
    nghttp2_option_new(&option);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_session_client_new2(&peer, callbacks, this, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    const nghttp2_settings_entry entry{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window};
    nghttp2_submit_settings(peer, NGHTTP2_FLAG_NONE, &entry, 1);
    pump();
  }
  // Without nghttp2: frames by hand, from the preface on.
  void connect_raw() {
    open_stream(65536);
    send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(NGHTTP2_SETTINGS, 0, 0, ""));
  }
  void open_stream(std::size_t capacity) {
    auto [server_side, client_side] = net::MemoryStream::make_pair(capacity);
    client = std::move(client_side);
    session =
        std::make_unique<ServerSession>(loop, std::move(server_side), net::Peer{}, pool, settings, handler, drain);
    loop.spawn(session->serve({}));
  }
  static std::string frame(int type, int flags, std::uint32_t stream, std::string_view payload) {
    std::string text;
    for (const unsigned shift : {16U, 8U, 0U}) text += static_cast<char>(payload.size() >> shift);
    text += static_cast<char>(type);
    text += static_cast<char>(flags);
    for (const unsigned shift : {24U, 16U, 8U, 0U}) text += static_cast<char>(stream >> shift);
    return text.append(payload);
  }
  // A GET of "/" at "a": indexed fields and one literal.
  static std::string get_frame(std::uint32_t stream) {
    return frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, stream,
                 "\x82\x86\x84\x41\x01\x61");
  }
  void send(std::string_view bytes) {
    outbox += bytes;
    pump();
  }

  std::int32_t request(Pairs fields, std::string body = {}, bool end = true, Pairs trailers = {}) {
    std::vector<nghttp2_nv> nva = to_nva(fields);
    const bool has_body = !body.empty() || !end || !trailers.empty();
    nghttp2_data_provider provider{};
    provider.read_callback = read_body;
    const std::int32_t id =
        nghttp2_submit_request(peer, nullptr, nva.data(), nva.size(), has_body ? &provider : nullptr, nullptr);
    uploads[id] = {std::move(body), end, std::move(trailers)};
    pump();
    return id;
  }
  std::int32_t get(std::string_view path = "/") {
    return request({{":method", "GET"}, {":scheme", "http"}, {":path", std::string{path}}, {":authority", "a.test"}});
  }
  std::int32_t post(std::string body, bool end = true, Pairs trailers = {}) {
    return request({{":method", "POST"}, {":scheme", "http"}, {":path", "/p"}, {":authority", "a.test"}},
                   std::move(body), end, std::move(trailers));
  }
  void reset(std::int32_t id) {
    nghttp2_submit_rst_stream(peer, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
    pump();
  }
  void consume(std::int32_t id, std::size_t bytes) {
    nghttp2_session_consume(peer, id, bytes);
    pump();
  }

  // Moves bytes both ways until nothing moves, without letting time pass.
  void pump() {
    for (bool moved = true; moved;) {
      moved = false;
      loop.run_for(Nanoseconds::zero());
      if (client == nullptr) return;
      if (peer != nullptr) {
        const std::uint8_t* bytes = nullptr;
        for (ssize_t size = 0; (size = nghttp2_session_mem_send(peer, &bytes)) > 0;) {
          outbox.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(size));
        }
      }
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
        if (peer != nullptr) {
          EXPECT_GE(nghttp2_session_mem_recv(peer, reinterpret_cast<const std::uint8_t*>(bytes), got.bytes), 0);
        }
        moved = true;
      }
    }
    loop.run_for(Nanoseconds::zero());
  }
  void pass(Nanoseconds time) {
    loop.run_for(time);
    pump();
  }

  void TearDown() override {
    client.reset();
    loop.run();
    session.reset();
    nghttp2_session_del(peer);
    EXPECT_EQ(loop.live_tasks(), 0U);
    EXPECT_EQ(loop.timers().size(), 0U);
    EXPECT_EQ(pool.in_use(), 0U);
    EXPECT_EQ(handler.heads_out, 0);
    EXPECT_EQ(handler.idle_connections, 0);
  }

  struct Upload {
    std::string left;
    bool end = true;
    Pairs trailers;
  };
  static std::vector<nghttp2_nv> to_nva(Pairs& fields) {
    std::vector<nghttp2_nv> nva;
    for (auto& [name, value] : fields) {
      nva.push_back({reinterpret_cast<std::uint8_t*>(name.data()), reinterpret_cast<std::uint8_t*>(value.data()),
                     name.size(), value.size(), NGHTTP2_NV_FLAG_NONE});
    }
    return nva;
  }
  static ssize_t read_body(nghttp2_session* session, std::int32_t id, std::uint8_t* into, std::size_t most,
                           std::uint32_t* flags, nghttp2_data_source*, void* user_data) {
    Upload& upload = static_cast<ServerSessionTest*>(user_data)->uploads[id];
    const std::size_t take = std::min(most, upload.left.size());
    upload.left.copy(reinterpret_cast<char*>(into), take);
    upload.left.erase(0, take);
    if (upload.left.empty() && upload.end) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (!upload.trailers.empty()) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        std::vector<nghttp2_nv> nva = to_nva(upload.trailers);
        nghttp2_submit_trailer(session, id, nva.data(), nva.size());
      }
    } else if (take == 0) {
      return NGHTTP2_ERR_DEFERRED;
    }
    return static_cast<ssize_t>(take);
  }
  static Answer& answer_of(void* user_data, std::int32_t id) {
    return static_cast<ServerSessionTest*>(user_data)->answers[id];
  }
  static int on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    Answer& answer = answer_of(user_data, frame->hd.stream_id);
    if (frame->headers.cat == NGHTTP2_HCAT_HEADERS && answer.status.starts_with('1')) {
      answer.interim.push_back(answer.status);
      answer.status.clear();
      answer.fields.clear();
    }
    return 0;
  }
  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
                       const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* user_data) {
    Answer& answer = answer_of(user_data, frame->hd.stream_id);
    std::string key(reinterpret_cast<const char*>(name), name_size);
    std::string text(reinterpret_cast<const char*>(value), value_size);
    if (key == ":status") {
      answer.status = text;
    } else if (frame->headers.cat == NGHTTP2_HCAT_HEADERS && !answer.fields.empty()) {
      answer.trailers.emplace_back(key, text);
    } else {
      answer.fields.emplace_back(key, text);
    }
    return 0;
  }
  static int on_data(nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* data, std::size_t size,
                     void* user_data) {
    answer_of(user_data, id).body.append(reinterpret_cast<const char*>(data), size);
    return 0;
  }
  static int on_frame(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    auto& test = *static_cast<ServerSessionTest*>(user_data);
    if (frame->hd.type == NGHTTP2_GOAWAY) {
      test.goaways.emplace_back(frame->goaway.last_stream_id, frame->goaway.error_code);
    }
    const bool may_end = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
    if (may_end && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) test.answers[frame->hd.stream_id].ended = true;
    return 0;
  }
  static int on_close(nghttp2_session*, std::int32_t id, std::uint32_t error, void* user_data) {
    answer_of(user_data, id).closed = true;
    answer_of(user_data, id).error = error;
    return 0;
  }

  rt::VirtualLoop loop;
  BufferPool pool;
  ServerSettings settings;
  Handler handler;
  rt::Cancel drain;
  std::unique_ptr<net::MemoryStream> client;
  std::unique_ptr<ServerSession> session;
  nghttp2_session* peer = nullptr;
  std::map<std::int32_t, Answer> answers;
  std::map<std::int32_t, Upload> uploads;
  std::vector<std::pair<std::int32_t, std::uint32_t>> goaways;
  std::string outbox;
  std::string received;
  bool client_reads = true;
  bool closed = false;
};

// The GOAWAY that a raw client got: its code; nothing if there is none.
std::optional<std::uint32_t> goaway_code(std::string_view frames) {
  while (frames.size() >= 9) {
    const auto byte = [&frames](std::size_t at) { return static_cast<unsigned char>(frames[at]); };
    const std::size_t size = std::size_t{byte(0)} << 16U | std::size_t{byte(1)} << 8U | byte(2);
    if (byte(3) == NGHTTP2_GOAWAY && frames.size() >= 17) return byte(16);
    frames.remove_prefix(std::min(frames.size(), 9 + size));
  }
  return std::nullopt;
}

// --- exchanges -----------------------------------------------------------------------------------------------------

TEST_F(ServerSessionTest, AnAnswerWithoutContentHasNoLength) {
  handler.behaviour = [](Exchange& exchange) { return Handler::respond(exchange, 200, ""); };
  connect();
  const std::int32_t id = get("/");
  EXPECT_EQ(answers[id].status, "200");
  EXPECT_EQ(answers[id].fields, (Pairs{{"x-mixed-case", "yes"}}));
  EXPECT_TRUE(answers[id].ended);
}

TEST_F(ServerSessionTest, AnswersAGet) {
  connect();
  const std::int32_t id = get("/x?y=1");
  EXPECT_EQ(handler.seen.at(0), "GET /x?y=1 a.test|host=a.test");
  EXPECT_EQ(answers[id].status, "200");
  EXPECT_EQ(answers[id].field("x-mixed-case"), "yes");
  EXPECT_EQ(answers[id].field("content-length"), "2");
  EXPECT_EQ(answers[id].body, "ok");
  EXPECT_TRUE(answers[id].ended);
  EXPECT_EQ(answers[id].error, NGHTTP2_NO_ERROR);
}

TEST_F(ServerSessionTest, HoldsNoBufferWhileIdle) {
  connect();
  EXPECT_EQ(pool.in_use(), 0U);
  get();
  EXPECT_EQ(pool.in_use(), 0U);
  EXPECT_EQ(handler.idle_connections, 1);
}

TEST_F(ServerSessionTest, EchoesBodiesWithAndWithoutLengthAndWithTrailers) {
  connect();
  const std::int32_t chunks = post(std::string(100'000, 'x'));
  EXPECT_EQ(answers[chunks].body.size(), 65535U) << "the client's window";
  consume(chunks, 65535);
  EXPECT_EQ(answers[chunks].body, std::string(100'000, 'x'));
  const std::int32_t with_trailers = post("abc", true, {{"x-sum", "1"}, {"content-length", "3"}});
  EXPECT_EQ(answers[with_trailers].body, "abc+x-sum") << "Content-Length is none of a trailer's business";
  pass(milliseconds(1));  // a batch has its fill of reads
  const std::int32_t empty = post("");
  EXPECT_EQ(answers[empty].body, "ok");
}

TEST_F(ServerSessionTest, JoinsCookieCrumbs) {  // RFC 9113 section 8.2.3
  connect();
  request({{":method", "GET"},
           {":scheme", "http"},
           {":path", "/"},
           {":authority", "a.test"},
           {"cookie", "a=1"},
           {"x", "y"},
           {"cookie", "b=2"}});
  EXPECT_EQ(handler.seen.at(0), "GET / a.test|host=a.test|x=y|cookie=a=1; b=2");
}

TEST_F(ServerSessionTest, SendsInterimAnswersAndTrailers) {
  connect();
  handler.behaviour = [](Exchange& exchange) -> rt::Task<> {
    ResponseHead head;
    head.status = 103;
    head.add("link", "</a>");
    auto hinting = exchange.send_interim(head);
    EXPECT_TRUE(co_await std::move(hinting));
    head.clear();
    head.status = 200;
    head.add("a", "b");
    auto sending = exchange.send_head(head, {BodyFraming::Kind::chunked, 0}, {{"one", 3}, false});
    EXPECT_TRUE(co_await std::move(sending));
    const Field trailer{"X-Sum", "7"};
    auto ending = exchange.send_body({{"two", 3}, true}, {&trailer, 1});
    EXPECT_TRUE(co_await std::move(ending));
    EXPECT_EQ(exchange.response_body_bytes(), 6U);
  };
  const std::int32_t id = get();
  EXPECT_EQ(answers[id].interim, std::vector<std::string>{"103"});
  EXPECT_EQ(answers[id].body, "onetwo");
  EXPECT_EQ(answers[id].trailers, (Pairs{{"x-sum", "7"}}));
  EXPECT_TRUE(answers[id].closed);
}

TEST_F(ServerSessionTest, AHeadHasNoBody) {
  connect();
  handler.behaviour = [](Exchange& exchange) { return Handler::respond(exchange, 200, "never sent"); };
  const std::int32_t id = request({{":method", "HEAD"}, {":scheme", "http"}, {":path", "/"}, {":authority", "a.test"}});
  EXPECT_EQ(answers[id].body, "");
  EXPECT_TRUE(answers[id].closed);
}

TEST_F(ServerSessionTest, AnAbortedAnswerIsReset) {
  connect();
  handler.behaviour = [](Exchange& exchange) -> rt::Task<> {
    ResponseHead head;
    head.status = 200;
    auto sending = exchange.send_head(head, {BodyFraming::Kind::chunked, 0}, {{"part", 4}, false});
    EXPECT_TRUE(co_await std::move(sending));
    exchange.abort();
  };
  const std::int32_t id = get();
  EXPECT_EQ(answers[id].body, "part");
  EXPECT_FALSE(answers[id].ended);
  EXPECT_EQ(answers[id].error, NGHTTP2_INTERNAL_ERROR);
  EXPECT_FALSE(closed) << "other streams go on";
}

TEST_F(ServerSessionTest, AnEarlyAnswerEndsTheUpload) {  // RFC 9113 section 8.1
  connect();
  handler.behaviour = [](Exchange& exchange) { return Handler::respond(exchange, 403, "stop"); };
  const std::int32_t id = post("begin", false);
  EXPECT_EQ(answers[id].status, "403");
  EXPECT_TRUE(answers[id].ended);
  EXPECT_TRUE(answers[id].closed);
  EXPECT_EQ(answers[id].error, NGHTTP2_NO_ERROR);
}

// --- refused requests ----------------------------------------------------------------------------------------------

TEST_F(ServerSessionTest, RefusesWhatHttp1WouldReadDifferently) {
  connect();
  const Pairs base{{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "a.test"}};
  const auto with = [&base](std::size_t at, std::string value) {
    Pairs fields = base;
    fields[at].second = std::move(value);
    return fields;
  };
  for (const Pairs& fields :
       {with(2, "/a b"), with(2, "/#"), with(3, "u@a.test"), with(1, "ftp"), with(3, "a:99999")}) {
    const std::int32_t id = request(fields);
    EXPECT_TRUE(answers[id].status == "400" || answers[id].error == NGHTTP2_PROTOCOL_ERROR) << answers[id].status;
  }
  Pairs other_host = base;
  other_host.emplace_back("host", "b.test");
  const std::int32_t id = request(other_host);
  EXPECT_EQ(answers[id].status, "400");
  EXPECT_TRUE(handler.seen.empty());
}

TEST_F(ServerSessionTest, LimitsHeads) {
  settings.limits = {.target_max_bytes = 100, .head_max_bytes = 2000, .fields_max = 10};
  connect();
  Pairs fields{{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "a.test"}};
  Pairs many = fields;
  for (int i = 0; i < 11; ++i) many.emplace_back("x", "y");
  Pairs large = fields;
  large.emplace_back("x", std::string(2100, 'y'));
  Pairs long_path = fields;
  long_path[2].second = "/" + std::string(100, 'p');
  for (const Pairs& each : {many, large, long_path}) request(each);
  EXPECT_EQ(handler.rejections,
            (std::vector{ErrorKind::head_too_large, ErrorKind::head_too_large, ErrorKind::target_too_large}));
  EXPECT_TRUE(handler.seen.empty());
  EXPECT_FALSE(closed);
}

TEST_F(ServerSessionTest, AHeadThatDecodesToFarTooMuchEndsTheConnection) {
  settings.limits = {.target_max_bytes = 100, .head_max_bytes = 2000, .fields_max = 10};
  connect_raw();
  std::string block = "\x82\x86\x84\x41\x01\x61";
  block += "\x40\x01x\x7f\x9f\x01";  // x: 286 bytes, kept in the table
  block += std::string(286, 'v');
  block += std::string(100, '\xbe');  // again and again
  send(frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | NGHTTP2_FLAG_END_STREAM, 1, block));
  EXPECT_EQ(goaway_code(received), NGHTTP2_ENHANCE_YOUR_CALM);
  EXPECT_EQ(handler.floods, std::vector{Flood::header_bytes});
}

// --- flow control --------------------------------------------------------------------------------------------------

TEST_F(ServerSessionTest, AClientThatOpensNoWindowStopsTheSender) {
  connect(1000);
  std::size_t sent = 0;
  handler.behaviour = [&sent](Exchange& exchange) -> rt::Task<> {
    ResponseHead head;
    head.status = 200;
    auto sending = exchange.send_head(head, {BodyFraming::Kind::chunked, 0}, {{}, false});
    EXPECT_TRUE(co_await std::move(sending));
    const std::string piece(600, 'x');
    for (int i = 0; i < 5; ++i) {
      auto passing = exchange.send_body({piece, i == 4}, {});
      const Result<> passed = co_await std::move(passing);
      if (!passed) co_return;
      sent += piece.size();
    }
  };
  const std::int32_t id = get();
  EXPECT_EQ(answers[id].body.size(), 1000U);
  EXPECT_EQ(sent, 600U);
  consume(id, 1000);
  EXPECT_EQ(answers[id].body.size(), 2000U);
  consume(id, 1000);
  EXPECT_EQ(answers[id].body.size(), 3000U);
  EXPECT_TRUE(answers[id].ended);
}

TEST_F(ServerSessionTest, AClientThatNeverOpensItsWindowIsGivenUp) {
  connect(10);
  handler.behaviour = [](Exchange& exchange) { return Handler::respond(exchange, 200, "more than ten bytes"); };
  const std::int32_t id = get();
  EXPECT_EQ(answers[id].body.size(), 10U);
  pass(settings.write_timeout + seconds(1));
  EXPECT_EQ(answers[id].error, NGHTTP2_INTERNAL_ERROR);
}

// The window of the connection stays closed, those of the streams are wide: each waits as if for the others.
TEST_F(ServerSessionTest, PingsDoNotKeepAStreamThatTheClientDoesNotTake) {
  connect(1'000'000);
  const std::string body(100'000, 'x');
  handler.behaviour = [&body](Exchange& exchange) { return Handler::respond(exchange, 200, body); };
  const std::int32_t id = get();
  EXPECT_EQ(answers[id].body.size(), 65535U);
  for (Nanoseconds passed{}; passed < 3 * settings.write_timeout; passed += seconds(5)) {
    nghttp2_submit_ping(peer, NGHTTP2_FLAG_NONE, nullptr);
    pass(seconds(5));
  }
  EXPECT_EQ(answers[id].error, NGHTTP2_INTERNAL_ERROR);
}

TEST_F(ServerSessionTest, AnswersWithoutContentDoNotKeepAStreamThatTheClientDoesNotTake) {
  connect(1'000'000);
  const std::string body(100'000, 'x');
  handler.behaviour = [&](Exchange& exchange) {
    return Handler::respond(exchange, 200, handler.seen.size() == 1 ? body : "");
  };
  const std::int32_t id = get();
  for (Nanoseconds passed{}; passed < 3 * settings.write_timeout; passed += seconds(5)) {
    const std::int32_t other = get();
    EXPECT_TRUE(answers[other].ended);
    pass(seconds(5));
  }
  EXPECT_EQ(answers[id].error, NGHTTP2_INTERNAL_ERROR);
}

TEST_F(ServerSessionTest, StreamsThatAreGivenUpDoNotKeepOneAnother) {
  connect(1'000'000);
  const std::string body(100'000, 'x');
  handler.behaviour = [&body](Exchange& exchange) { return Handler::respond(exchange, 200, body); };
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 8; ++i) {
    ids.push_back(get());
    pass(seconds(1));
  }
  for (Nanoseconds passed{}; passed < 3 * settings.write_timeout; passed += seconds(1)) pass(seconds(1));
  for (const std::int32_t id : ids) EXPECT_EQ(answers[id].error, NGHTTP2_INTERNAL_ERROR) << id;
}

TEST_F(ServerSessionTest, AStreamThatWaitsForOthersIsNotLate) {
  connect(1'000'000);
  const std::string large(700'000, 'x');
  handler.behaviour = [&](Exchange& exchange) {
    return Handler::respond(exchange, 200, exchange.request().path == "/large" ? large : "small");
  };
  const auto ask = [this](std::string path, std::string priority) {
    return request({{":method", "GET"},
                    {":scheme", "http"},
                    {":path", std::move(path)},
                    {":authority", "a.test"},
                    {"priority", std::move(priority)}});
  };
  const std::int32_t urgent = ask("/large", "u=0");
  const std::int32_t other = ask("/small", "u=7");
  std::size_t given_back = 0;
  for (Nanoseconds passed{}; passed < 4 * settings.write_timeout; passed += settings.write_timeout / 2) {
    const std::size_t got = answers[urgent].body.size();
    EXPECT_GT(got, given_back) << "the urgent one moves";
    EXPECT_FALSE(answers[other].closed);
    EXPECT_TRUE(answers[other].body.empty());
    pass(settings.write_timeout / 2);
    consume(urgent, got - std::exchange(given_back, got));
  }
  while (!answers[urgent].ended && answers[urgent].body.size() > given_back) {
    const std::size_t got = answers[urgent].body.size();
    consume(urgent, got - std::exchange(given_back, got));
  }
  EXPECT_TRUE(answers[urgent].ended);
  EXPECT_EQ(answers[other].body, "small");
  EXPECT_TRUE(answers[other].ended);
}

TEST_F(ServerSessionTest, NothingIsReadBeyondTheWindow) {
  connect();
  rt::Event go;
  handler.behaviour = [&](Exchange& exchange) -> rt::Task<> {
    const rt::Wake wake = co_await go.wait(loop);
    static_cast<void>(wake);
    auto echoing = handler.echo(exchange);
    co_await std::move(echoing);
  };
  const std::int32_t id = post(std::string(1'000'000, 'x'));
  EXPECT_EQ(uploads[id].left.size(), 1'000'000 - settings.http2.stream_window_bytes);
  EXPECT_LE(pool.in_use(), settings.http2.stream_window_bytes + BufferPool::kSmall);
  go.set();
  for (int turn = 0; turn < 100 && !uploads[id].left.empty(); ++turn) pass(milliseconds(1));
  EXPECT_TRUE(uploads[id].left.empty());
  reset(id);
}

TEST_F(ServerSessionTest, AClientThatDoesNotReadHoldsABoundedBuffer) {
  connect(10'000'000, 4096);
  nghttp2_session_set_local_window_size(peer, NGHTTP2_FLAG_NONE, 0, 10'000'000);
  pump();
  std::size_t sent = 0;
  handler.behaviour = [&sent](Exchange& exchange) -> rt::Task<> {
    ResponseHead head;
    head.status = 200;
    const std::string piece(16384, 'x');
    auto sending = exchange.send_head(head, {BodyFraming::Kind::chunked, 0}, {piece, false});
    Result<> passed = co_await std::move(sending);
    while (passed) {
      sent += piece.size();
      auto passing = exchange.send_body({piece, false}, {});
      passed = co_await std::move(passing);
    }
  };
  client_reads = false;
  get();
  EXPECT_LE(sent, std::size_t{200} * 1024);
  EXPECT_LE(pool.in_use(), 2 * BufferPool::kLarge);
  pass(settings.write_timeout + seconds(1));
  EXPECT_EQ(handler.handled, 1U) << "the write timeout has ended it";
}

TEST_F(ServerSessionTest, UrgentStreamsGoFirst) {  // RFC 9218 section 4.1
  connect(100'000);
  const std::string body(50'000, 'x');
  handler.behaviour = [&body](Exchange& exchange) { return Handler::respond(exchange, 200, body); };
  const auto ask = [this](std::string urgency) {
    return request({{":method", "GET"},
                    {":scheme", "http"},
                    {":path", "/"},
                    {":authority", "a.test"},
                    {"priority", std::move(urgency)}});
  };
  const std::int32_t first = ask("u=3");  // takes most of the connection's window
  EXPECT_EQ(answers[first].body.size(), 50'000U);
  const std::int32_t late = ask("u=7");
  const std::int32_t urgent = ask("u=0");
  consume(first, 50'000);
  EXPECT_TRUE(answers[urgent].ended);
  EXPECT_FALSE(answers[late].ended);
}

// --- WebSockets (RFC 8441) -----------------------------------------------------------------------------------------

class ServerSessionTunnelTest : public ServerSessionTest {
 protected:
  ServerSessionTunnelTest() {
    handler.behaviour = [this](Exchange& exchange) { return open(exchange); };
  }
  // Agrees to the WebSocket and leaves its stream to the test until done.set().
  rt::Task<> open(Exchange& exchange) {
    upgrade = exchange.request().upgrade;
    const Result<BodyPiece> nothing = exchange.take_buffered_body();
    EXPECT_TRUE(nothing && nothing->last && nothing->bytes.empty());
    ResponseHead head;
    head.status = 101;
    head.add("Sec-WebSocket-Accept", "x");
    head.add("Content-Length", "0", FieldId::content_length);
    head.add("X-Kept", "1");
    auto upgrading = exchange.upgrade(head);
    const Result<UpgradedStream> upgraded = co_await std::move(upgrading);
    EXPECT_TRUE(upgraded && upgraded->read_ahead.empty());
    if (!upgraded) co_return;
    tunnel = upgraded->stream;
    const rt::Wake wake = co_await done.wait(loop);
    static_cast<void>(wake);
    tunnel = nullptr;
  }
  std::int32_t ask(std::string frames = {}, bool end = false, std::string protocol = "websocket") {
    return request({{":method", "CONNECT"},
                    {":protocol", std::move(protocol)},
                    {":scheme", "https"},
                    {":path", "/ws"},
                    {":authority", "a.test"},
                    {"sec-websocket-version", "13"},
                    {"sec-websocket-key", "theirs"}},
                   std::move(frames), end);
  }
  void say(std::int32_t id, std::string bytes, bool end = false) {
    uploads[id].left += bytes;
    uploads[id].end = end;
    nghttp2_session_resume_data(peer, id);
    pump();
  }
  // Reads as the relay does: lent, then consumed.
  std::string take() {
    std::string text;
    for (std::span<const char> bytes = tunnel->buffered(); !bytes.empty(); bytes = tunnel->buffered()) {
      text.append(bytes.data(), bytes.size());
      tunnel->consume(bytes.size());
      pass(milliseconds(1));
    }
    return text;
  }
  net::IoResult write(std::string_view text) {
    const iovec piece{const_cast<char*>(text.data()), text.size()};
    return tunnel->try_write({&piece, 1});
  }
  void finish() {
    done.set();
    pump();
  }

  Upgrade upgrade = Upgrade::none;
  net::Stream* tunnel = nullptr;
  rt::Event done;
};

TEST_F(ServerSessionTunnelTest, AnExtendedConnectIsAGetWithAnUpgrade) {
  connect();
  const std::int32_t id = ask("early");
  EXPECT_EQ(upgrade, Upgrade::websocket);
  EXPECT_EQ(handler.seen.at(0), "GET /ws a.test|host=a.test|sec-websocket-version=13");
  EXPECT_EQ(nghttp2_session_get_remote_settings(peer, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL), 1U);
  EXPECT_EQ(answers[id].status, "200");
  EXPECT_EQ(answers[id].fields, (Pairs{{"x-kept", "1"}}));
  EXPECT_EQ(take(), "early");
  say(id, "more");
  EXPECT_EQ(take(), "more");
  EXPECT_EQ(write("back").bytes, 4U);
  pump();
  EXPECT_EQ(answers[id].body, "back");
  EXPECT_FALSE(answers[id].ended);
  say(id, {}, true);
  EXPECT_TRUE(tunnel->may_read());
  char byte;
  EXPECT_EQ(tunnel->try_read({&byte, 1}).status, net::IoStatus::end);
  finish();
  EXPECT_TRUE(answers[id].ended);
  EXPECT_EQ(answers[id].error, NGHTTP2_NO_ERROR);
}

TEST_F(ServerSessionTunnelTest, OtherProtocolsAreNotSupported) {
  connect();
  const std::int32_t id = ask({}, false, "connect-udp");
  EXPECT_EQ(handler.rejections, std::vector{ErrorKind::unsupported});
  EXPECT_EQ(answers[id].status, "400") << "what this handler answers to any";
}

TEST_F(ServerSessionTunnelTest, AConnectThatEndsAtOnceIsMalformed) {
  connect();
  ask({}, true);
  EXPECT_EQ(handler.rejections, std::vector{ErrorKind::malformed});
}

TEST_F(ServerSessionTunnelTest, TheClientHasAWhileToEndItsSide) {
  connect();
  const std::int32_t id = ask();
  finish();
  EXPECT_TRUE(answers[id].ended);
  EXPECT_FALSE(answers[id].closed);
  pass(seconds(1));
  EXPECT_FALSE(answers[id].closed);
  pass(seconds(2));
  EXPECT_TRUE(answers[id].closed) << "by RST_STREAM with NO_ERROR";
  EXPECT_EQ(answers[id].error, NGHTTP2_NO_ERROR);
}

TEST_F(ServerSessionTunnelTest, AWriteWaitsForTheWindow) {
  connect(10);
  const std::int32_t id = ask();
  const std::string text = "more than ten bytes";
  EXPECT_EQ(write(text).bytes, 10U);
  const std::string_view rest = std::string_view{text}.substr(10);
  EXPECT_EQ(write(rest).status, net::IoStatus::would_block);
  pump();
  EXPECT_EQ(answers[id].body, "more than ");
  EXPECT_EQ(tunnel->unread_by_peer(), 9U);
  consume(id, 10);  // taken from where it lies
  EXPECT_EQ(answers[id].body, text);
  EXPECT_EQ(tunnel->unread_by_peer(), 0U);
  EXPECT_EQ(write(rest).bytes, 9U) << "what went out meanwhile is told once";
  consume(id, 9);
  EXPECT_EQ(write("next").bytes, 4U);
  pump();
  EXPECT_EQ(answers[id].body, text + "next");
  say(id, {}, true);
  finish();
}

TEST_F(ServerSessionTunnelTest, AnAbandonedWriteResetsTheStream) {
  connect(10);
  const std::int32_t id = ask();
  {
    const std::string text(100, 'x');
    EXPECT_EQ(write(text).bytes, 10U);
    EXPECT_EQ(write(std::string_view{text}.substr(10)).status, net::IoStatus::would_block);
    tunnel->abandon_write();
  }
  consume(id, 10);
  EXPECT_EQ(write("y").status, net::IoStatus::failed);
  finish();
  EXPECT_FALSE(answers[id].ended);
  EXPECT_EQ(answers[id].error, NGHTTP2_CANCEL);
  EXPECT_EQ(answers[id].body.size(), 10U);
}

TEST_F(ServerSessionTunnelTest, AResetIsOne) {
  connect();
  const std::int32_t id = ask();
  say(id, "last");
  reset(id);
  EXPECT_EQ(take(), "last");
  char byte;
  const net::IoResult got = tunnel->try_read({&byte, 1});
  EXPECT_EQ(got.status, net::IoStatus::failed);
  EXPECT_EQ(tunnel->error_of(got, Origin::client).kind, ErrorKind::reset);
  EXPECT_EQ(write("x").status, net::IoStatus::failed);
  finish();
}

TEST_F(ServerSessionTunnelTest, TheEndOfTheConnectionEndsIt) {
  connect();
  ask();
  client.reset();
  loop.run_for(Nanoseconds::zero());
  char byte;
  EXPECT_EQ(tunnel->try_read({&byte, 1}).status, net::IoStatus::end);
  finish();
}

TEST_F(ServerSessionTunnelTest, AReaderThatDoesNotReadHoldsItsOwnWindowOnly) {
  connect();
  const std::int32_t id = ask(std::string(1'000'000, 'x'));
  const std::size_t window = settings.http2.stream_window_bytes;
  EXPECT_EQ(uploads[id].left.size(), 1'000'000 - window);
  EXPECT_LE(pool.in_use(), window + 2 * BufferPool::kSmall);
  // nghttp2 announces what is given back when it is half of the window.
  const auto most = static_cast<std::int32_t>(settings.http2.connection_window_bytes);
  EXPECT_GE(nghttp2_session_get_remote_window_size(peer), most / 2);
  std::size_t got = 0;
  for (int turn = 0; turn < 100 && got < 1'000'000; ++turn) got += take().size();
  EXPECT_EQ(got, 1'000'000U);
  say(id, {}, true);
  finish();
  EXPECT_GE(nghttp2_session_get_remote_window_size(peer), most / 2);
}

TEST_F(ServerSessionTunnelTest, BeyondTheirShareTheConnectionWaitsToo) {
  settings.http2.websockets_hold_bytes = 100'000;
  connect();
  const std::int32_t id = ask();
  for (int i = 0; i < 20; ++i) say(id, std::string(10'000, 'x'));
  const std::int32_t left = nghttp2_session_get_remote_window_size(peer);
  const std::int32_t all = static_cast<std::int32_t>(settings.http2.connection_window_bytes);
  EXPECT_LT(left, all - 50'000);
  EXPECT_EQ(take().size(), 200'000U);
  for (int i = 0; i < 40; ++i) {  // every byte is given back once
    say(id, std::string(100'000, 'x'));
    EXPECT_EQ(take().size(), 100'000U);
  }
  EXPECT_GT(nghttp2_session_get_remote_window_size(peer), all / 2);
  reset(id);
  finish();
}

TEST_F(ServerSessionTunnelTest, AClientThatEndsBeforeItsAnswerIsGone) {
  connect();
  ErrorKind why = ErrorKind::none;
  handler.behaviour = [&](Exchange& exchange) -> rt::Task<> {
    rt::Cancel cancel;
    exchange.watch_client(&cancel);
    const rt::Wake wake = co_await done.wait(loop, kNever, &cancel);
    EXPECT_EQ(wake, rt::Wake::cancelled);
    why = cancel.why();
    exchange.abort();
  };
  const std::int32_t id = ask();
  say(id, {}, true);
  EXPECT_EQ(why, ErrorKind::closed);
}

// --- resets, floods ------------------------------------------------------------------------------------------------

TEST_F(ServerSessionTest, AResetCallsTheRequestOff) {
  connect();
  ErrorKind why = ErrorKind::none;
  handler.behaviour = [&](Exchange& exchange) -> rt::Task<> {
    rt::Cancel cancel;
    exchange.watch_client(&cancel);
    const rt::Wake wake = co_await rt::sleep_until(loop, loop.now() + seconds(100), &cancel);
    EXPECT_EQ(wake, rt::Wake::cancelled);
    why = cancel.why();
    exchange.watch_client(nullptr);
    exchange.abort();
  };
  const std::int32_t id = get();
  reset(id);
  EXPECT_EQ(why, ErrorKind::reset);
  EXPECT_EQ(handler.idle_connections, 1);
}

TEST_F(ServerSessionTest, WhatIsResetInTheSameBreathIsNeverBegun) {
  connect_raw();
  send(get_frame(1) + frame(NGHTTP2_RST_STREAM, 0, 1, std::string("\0\0\0\x08", 4)));
  EXPECT_TRUE(handler.seen.empty());
}

TEST_F(ServerSessionTest, RapidResetEndsTheConnection) {  // CVE-2023-44487
  connect_raw();
  std::string flood;
  for (std::uint32_t id = 1; id < 2000; id += 2) {
    flood += get_frame(id) + frame(NGHTTP2_RST_STREAM, 0, id, std::string("\0\0\0\x08", 4));
  }
  send(flood);
  EXPECT_EQ(goaway_code(received), NGHTTP2_ENHANCE_YOUR_CALM);
  EXPECT_EQ(handler.floods, std::vector{Flood::resets});
  EXPECT_LE(handler.seen.size(), settings.http2.resets_burst);
}

TEST_F(ServerSessionTest, ResetsThatWeAreMadeToSendCountToo) {  // CVE-2025-8671
  connect_raw();
  for (std::uint32_t id = 1; id < 2000 && handler.floods.empty(); id += 2) {
    send(frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, id, "\x83\x86\x84\x41\x01\x61") +
         frame(NGHTTP2_WINDOW_UPDATE, 0, id, "\x7f\xff\xff\xff"));
    pass(milliseconds(1));
  }
  EXPECT_EQ(goaway_code(received), NGHTTP2_ENHANCE_YOUR_CALM);
  EXPECT_EQ(handler.floods, std::vector{Flood::resets});
}

TEST_F(ServerSessionTest, FramesThatCarryNothingAreCounted) {
  const std::string ping(8, 'p');
  const std::map<Flood, std::string> each = {
      {Flood::settings, frame(NGHTTP2_SETTINGS, 0, 0, "")},
      {Flood::ping, frame(NGHTTP2_PING, 0, 0, ping)},
      {Flood::priority, frame(NGHTTP2_PRIORITY, 0, 1, std::string(5, '\0'))},
      {Flood::window_update, frame(NGHTTP2_WINDOW_UPDATE, 0, 0, std::string("\0\0\0\1", 4))},
      {Flood::unknown_frames, frame(0x77, 0, 0, "")},
      {Flood::empty_data, frame(NGHTTP2_DATA, 0, 1, "")},
  };
  for (const auto& [flood, bytes] : each) {
    client.reset();
    loop.run();
    session.reset();
    closed = false;
    received.clear();
    handler.floods.clear();
    connect_raw();
    send(frame(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, "\x83\x86\x84\x41\x01\x61"));
    std::string many;
    for (std::uint32_t i = 0; i < settings.http2.control_frames_burst + 10; ++i) many += bytes;
    send(many);
    EXPECT_EQ(goaway_code(received), NGHTTP2_ENHANCE_YOUR_CALM) << name_of(flood);
    EXPECT_EQ(handler.floods, std::vector{flood}) << name_of(flood);
  }
}

TEST_F(ServerSessionTest, AHeaderBlockInTooManyFramesEndsTheConnection) {  // CVE-2024-27316
  connect_raw();
  std::string flood = frame(NGHTTP2_HEADERS, 0, 1, "\x82\x86\x84\x41\x01\x61");
  for (int i = 0; i < 40; ++i) flood += frame(NGHTTP2_CONTINUATION, 0, 1, "\x82");
  send(flood);
  EXPECT_EQ(goaway_code(received), NGHTTP2_ENHANCE_YOUR_CALM);
  EXPECT_EQ(handler.floods, std::vector{Flood::continuations});
}

// --- the end -------------------------------------------------------------------------------------------------------

TEST_F(ServerSessionTest, DrainLetsStreamsFinish) {  // RFC 9113 section 6.8
  connect();
  rt::Event go;
  handler.behaviour = [&](Exchange& exchange) -> rt::Task<> {
    const rt::Wake wake = co_await go.wait(loop);
    static_cast<void>(wake);
    auto responding = Handler::respond(exchange, 200, "done");
    co_await std::move(responding);
  };
  const std::int32_t id = get();
  drain.request(ErrorKind::draining);
  pump();
  ASSERT_EQ(goaways.size(), 2U) << "the second one follows the client's PING";
  EXPECT_EQ(goaways[0].first, 0x7fffffff);
  EXPECT_EQ(goaways[1].first, id);
  EXPECT_FALSE(closed);
  go.set();
  pump();
  EXPECT_EQ(answers[id].body, "done");
  EXPECT_TRUE(closed);
}

TEST_F(ServerSessionTest, IdleConnectionsEnd) {
  connect();
  get();
  pass(settings.idle_timeout - milliseconds(10));
  EXPECT_FALSE(closed);
  pass(milliseconds(20));
  EXPECT_TRUE(closed);
  ASSERT_EQ(goaways.size(), 1U);
  EXPECT_EQ(goaways[0].second, NGHTTP2_NO_ERROR);
}

TEST_F(ServerSessionTest, AHeaderBlockMustEndInTime) {
  connect_raw();
  send(frame(NGHTTP2_HEADERS, 0, 1, "\x82\x86\x84"));
  pass(settings.header_timeout - milliseconds(10));
  EXPECT_FALSE(closed);
  pass(milliseconds(20));
  EXPECT_TRUE(closed);
  EXPECT_NE(goaway_code(received), std::nullopt);
}

TEST_F(ServerSessionTest, AClientThatSaysNothingIsClosed) {
  open_stream(65536);
  pump();
  pass(settings.header_timeout + milliseconds(10));
  EXPECT_TRUE(closed);
}

TEST_F(ServerSessionTest, ALostConnectionCallsEverythingOff) {
  connect();
  int called_off = 0;
  handler.behaviour = [&](Exchange& exchange) -> rt::Task<> {
    rt::Cancel cancel;
    exchange.watch_client(&cancel);
    const rt::Wake wake = co_await rt::sleep_until(loop, loop.now() + seconds(100), &cancel);
    if (wake == rt::Wake::cancelled) ++called_off;
    exchange.watch_client(nullptr);
    exchange.abort();
  };
  get();
  get();
  client->reset();
  client.reset();
  pump();
  EXPECT_EQ(called_off, 2);
}

TEST_F(ServerSessionTest, UploadsMustGoOn) {
  connect();
  post("a", false);
  pass(settings.body_timeout + milliseconds(10));
  EXPECT_EQ(handler.body_errors, std::vector{ErrorKind::timeout_body});
}

TEST_F(ServerSessionTest, BodiesAreLimited) {
  settings.body_max_bytes = 1000;
  connect();
  post(std::string(1001, 'x'));
  EXPECT_EQ(handler.body_errors, std::vector{ErrorKind::body_too_large});
}

}  // namespace
}  // namespace dao::http::h2

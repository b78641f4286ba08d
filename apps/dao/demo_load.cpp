#include "demo_load.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "dao/base/signals_blocked.h"
#include "dao/http/h1/client_connection.h"
#include "dao/net/socket_stream.h"
#include "dao/rt/event.h"

namespace dao {

namespace {

// Enough for the rate even when many of them wait for the slow server.
constexpr std::size_t kClients = 32;
constexpr Nanoseconds kPatience = std::chrono::seconds(30);

struct Kind {
  http::Method method;
  std::string_view method_text;
  std::string_view path;
  std::string_view body;
};
constexpr Kind kKinds[] = {
    {http::Method::get, "GET", "/", ""},
    {http::Method::get, "GET", "/catalogue?size=4000", ""},
    {http::Method::get, "GET", "/picture?size=60000&chunked=1", ""},
    {http::Method::post, "POST", "/orders?inspect=1", R"({"item":"lantern","count":2})"},
};

// One request and its whole answer. False: the connection cannot be used again.
rt::Task<bool> ask(rt::Loop& loop, http::h1::ClientConnection& connection, std::string_view host, const Kind& kind,
                   rt::Cancel& cancel) {
  http::RequestHead request;
  request.method = kind.method;
  request.method_text = kind.method_text;
  request.path = kind.path;
  request.add("Host", host, http::FieldId::host);
  request.add("User-Agent", "dao-demo", http::FieldId::user_agent);
  if (!kind.body.empty()) {
    request.framing = {http::BodyFraming::Kind::length, kind.body.size()};
    request.add("Content-Length", request.arena.copy(std::to_string(kind.body.size())), http::FieldId::content_length);
  }
  const Nanoseconds connecting = connection.exchanges() == 0 ? kPatience : Nanoseconds::zero();
  auto sending =
      connection.send_request(request, "", http::BodyPiece{kind.body, true}, {}, connecting, kPatience, &cancel);
  const Result<> sent = co_await std::move(sending);
  if (!sent) co_return false;

  http::ResponseHead response;
  const http::HeadLimits limits;
  const Instant deadline = loop.now() + kPatience;
  do {
    response.clear();
    auto reading = connection.read_head(response, kind.method, limits, deadline, &cancel);
    const Result<> read = co_await std::move(reading);
    if (!read) co_return false;
  } while (response.status < 200);
  connection.start_body(response, limits);
  for (Result<http::BodyPiece> piece = http::BodyPiece{}; !piece->last;) {
    auto reading = connection.read_body(deadline, &cancel);
    piece = co_await std::move(reading);
    if (!piece) co_return false;
  }
  co_return connection.reusable(response);
}

}  // namespace

DemoLoad::DemoLoad(const net::SocketAddress& to, double requests_per_second)
    : to_(to), host_(to.is_unix() ? "localhost" : to.text()), interval_(0) {
  if (requests_per_second <= 0) return;
  interval_ = Nanoseconds{static_cast<std::int64_t>(1e9 * kClients / requests_per_second)};
  for (std::size_t i = 0; i < kClients; ++i) loop_.spawn(client(i));
  const SignalsBlocked quiet;
  thread_ = std::thread([this] { loop_.run(); });
}

DemoLoad::~DemoLoad() {
  if (!thread_.joinable()) return;
  // The clients end by themselves; the last one stops the loop.
  loop_.post([this] { ending_.request(); });
  thread_.join();
}

rt::Task<bool> DemoLoad::wait_for_turn(Instant& turn) {
  // Not before the last answer came: a client that is held up asks less.
  const auto spread = static_cast<double>(interval_.count()) * (0.5 + random_.unit());
  turn = std::max(turn + Nanoseconds{static_cast<std::int64_t>(spread)}, loop_.now());
  const rt::Wake wake = co_await rt::sleep_until(loop_, turn, &ending_);
  co_return wake == rt::Wake::timed_out;
}

rt::Task<> DemoLoad::client(std::size_t index) {
  std::unique_ptr<http::h1::ClientConnection> connection;
  // Spread over the first interval.
  Instant turn = loop_.now() - interval_ + interval_ * static_cast<int>(index) / static_cast<int>(kClients);
  for (;;) {
    auto waiting = wait_for_turn(turn);
    const bool go_on = co_await std::move(waiting);
    if (!go_on) break;
    if (!connection) {
      auto stream = net::SocketStream::connect(loop_, to_);
      if (!stream) continue;
      connection = std::make_unique<http::h1::ClientConnection>(loop_, std::move(*stream), buffers_);
    }
    auto asking = ask(loop_, *connection, host_, kKinds[random_.below(std::size(kKinds))], ending_);
    const bool reusable = co_await std::move(asking);
    if (reusable) {
      connection->become_idle();
    } else {
      connection.reset();
    }
  }
  connection.reset();
  if (loop_.live_tasks() == 1) loop_.stop();
}

}  // namespace dao

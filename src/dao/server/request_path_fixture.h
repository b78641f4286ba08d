// For tests: a client, a worker's request path and scripted backends, all over MemoryStreams in virtual time.
// One thread.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "dao/config/load.h"
#include "dao/http/h1/server_connection.h"
#include "dao/rt/event.h"
#include "dao/server/process_request.h"
#include "dao/server/worker_state.h"
#include "dao/telemetry/access_log_lane.h"
#include "dao/upstream/memory_connector.h"

namespace dao::server {

inline constexpr std::string_view kGet = "GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n";

// What a backend does on a connection, in order. When nothing is left to do it waits until DAO closes.
struct Step {
  enum class Kind : std::uint8_t {
    head,   // read to the end of a request's head
    bytes,  // read `count` bytes more
    say,    // write `text`
    wait,   // let `time` pass
    close,
    reset,
    again,  // from the first step
  };
  Kind kind;
  std::string text = {};
  std::size_t count = 0;
  Nanoseconds time{};
};
using Script = std::vector<Step>;

inline Step read_head() {
  return {Step::Kind::head};
}
inline Step read_bytes(std::size_t count) {
  return {.kind = Step::Kind::bytes, .count = count};
}
inline Step say(std::string text) {
  return {Step::Kind::say, std::move(text)};
}
inline Step wait(Nanoseconds time) {
  return {.kind = Step::Kind::wait, .time = time};
}
inline Step close() {
  return {Step::Kind::close};
}
inline Step reset() {
  return {Step::Kind::reset};
}
inline Step again() {
  return {Step::Kind::again};
}

inline std::string ok(std::string_view body) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string{body};
}
inline Script answers(std::string response) {
  return {read_head(), say(std::move(response)), again()};
}

// Backends by address. What each connection does is told before it is opened.
class ScriptedBackends final : public upstream::MemoryConnector {
 public:
  struct Backend {
    Script otherwise = answers(ok("ok"));  // for connections that have no script of their own
    std::deque<Script> connections;        // for the next ones
    std::vector<std::string> heads;        // of requests, as they came
    std::string bodies;                    // what was read by read_bytes
    int opened = 0;
    int open = 0;
  };

  explicit ScriptedBackends(rt::Loop& loop) : loop_(loop) {}

  // "192.0.2.1:80"
  Backend& operator[](const std::string& address) { return backends_[address]; }
  [[nodiscard]] int open() const {
    int sum = 0;
    for (const auto& [address, backend] : backends_) sum += backend.open;
    return sum;
  }

 private:
  void opened(Opened connection) override {
    Backend& backend = backends_[connection.to];
    Script script = backend.otherwise;
    if (!backend.connections.empty()) {
      script = std::move(backend.connections.front());
      backend.connections.pop_front();
    }
    ++backend.opened;
    ++backend.open;
    loop_.spawn(serve(backend, std::move(connection.backend), std::move(script)));
  }

  // False: the connection ended.
  rt::Task<bool> read_more(net::MemoryStream& stream, std::string& unread) {
    for (;;) {
      char bytes[4096];
      const net::IoResult got = stream.try_read(bytes);
      if (got.status == net::IoStatus::ok) {
        unread.append(bytes, got.bytes);
        co_return true;
      }
      if (got.status != net::IoStatus::would_block) co_return false;
      const rt::Wake wake = co_await stream.wait_readable(loop_, kNever, nullptr);
      static_cast<void>(wake);
    }
  }

  rt::Task<> serve(Backend& backend, std::unique_ptr<net::MemoryStream> stream, Script script) {
    std::string unread;
    bool alive = true;
    for (std::size_t at = 0; alive && at < script.size(); ++at) {
      const Step& step = script[at];
      switch (step.kind) {
        case Step::Kind::head:
        case Step::Kind::bytes: {
          const auto enough = [&]() -> std::size_t {
            if (step.kind == Step::Kind::bytes) return unread.size() >= step.count ? step.count : 0;
            const std::size_t end = unread.find("\r\n\r\n");
            return end == std::string::npos ? 0 : end + 4;
          };
          while (alive && enough() == 0) {
            auto reading = read_more(*stream, unread);
            alive = co_await std::move(reading);
          }
          if (!alive) break;
          std::string taken = unread.substr(0, enough());
          unread.erase(0, taken.size());
          if (step.kind == Step::Kind::head) {
            backend.heads.push_back(std::move(taken));
          } else {
            backend.bodies += taken;
          }
          break;
        }
        case Step::Kind::say: {
          iovec piece = http::h1::piece_of(std::string_view{step.text});
          auto writing = http::h1::write_all(loop_, *stream, {&piece, 1}, Origin::us, std::chrono::hours(1), nullptr);
          const Result<> written = co_await std::move(writing);
          alive = written.has_value();
          break;
        }
        case Step::Kind::wait: {
          const rt::Wake wake = co_await rt::sleep_until(loop_, loop_.now() + step.time);
          static_cast<void>(wake);
          break;
        }
        case Step::Kind::close:
          alive = false;
          break;
        case Step::Kind::reset:
          stream->reset();
          alive = false;
          break;
        case Step::Kind::again:
          at = static_cast<std::size_t>(-1);
          break;
      }
    }
    while (alive) {
      auto reading = read_more(*stream, unread);
      alive = co_await std::move(reading);
    }
    stream.reset();
    --backend.open;
  }

  rt::Loop& loop_;
  std::map<std::string, Backend> backends_;
};

// The server side of a worker without its sockets.
class RequestPath : public http::RequestHandler {
 public:
  // `toml`: a whole configuration whose upstreams are IP addresses.
  RequestPath(rt::Loop& loop, upstream::Connector& connector, const std::string& toml)
      : config(load(toml)),
        shard(config->rules.size(), config->upstreams.size()),
        in_flight(config->upstreams.size()),
        admission(config->upstreams.size()),
        lane(telemetry::AccessLogFormat::json, std::size_t{1} << 20U, bell),
        state(loop, shard, in_flight, admission, &lane, 1) {
    adopt(config, connector);
    settings.limits = {config->server.target_max_bytes, config->server.header_max_bytes,
                       config->server.header_max_count};
    settings.body_max_bytes = config->server.body_max_bytes;
    settings.header_timeout = config->server.header_timeout;
    settings.body_timeout = config->server.body_timeout;
    settings.body_min_bytes_per_second = config->server.body_min_bytes_per_second;
    settings.idle_timeout = config->server.idle_timeout;
    settings.write_timeout = config->server.write_timeout;
  }

  // The configuration of requests that begin from now on; its upstreams and rules have their numbers.
  void adopt(std::shared_ptr<const config::Config> next, upstream::Connector& connector) {
    const auto before = state.current ? state.current->generation : nullptr;
    const auto generation = Generation::make(before ? before->number + 1 : 1, next, before.get(), 1).value();
    state.adopt(adoption_of(generation, connector));
    config = std::move(next);
  }
  // This worker's part of a generation.
  Adoption adoption_of(const std::shared_ptr<const Generation>& generation, upstream::Connector& connector) {
    Adoption adoption{.generation = std::make_unique<WorkerGeneration>(generation), .seats = {}};
    for (const config::Upstream& upstream : generation->config->upstreams) {
      if (upstream.number < state.seats.size() && state.seats[upstream.number]) continue;
      adoption.seats.push_back(
          {.upstream = upstream.number,
           .seat = std::make_unique<UpstreamSeat>(state.loop, state.buffers, shard.upstream(upstream.number),
                                                  *generation->config, upstream, connector, nullptr)});
    }
    return adoption;
  }

  rt::Task<> handle(http::Exchange& exchange, const Error* rejected) override {
    return process_request(state, exchange, rejected);
  }
  std::unique_ptr<http::RequestHead> borrow_request_head() override {
    ++heads_out;
    if (spare_heads.empty()) return std::make_unique<http::RequestHead>();
    std::unique_ptr<http::RequestHead> head = std::move(spare_heads.back());
    spare_heads.pop_back();
    return head;
  }
  void return_request_head(std::unique_ptr<http::RequestHead> head) override {
    --heads_out;
    head->clear();
    spare_heads.push_back(std::move(head));
  }
  [[nodiscard]] bool draining() const override { return state.draining; }
  void connection_idle(bool) override {}

  // The lines of the access log since the last call.
  std::vector<nlohmann::json> take_log() {
    std::string text;
    for (auto bytes = lane.readable(); !bytes.empty(); bytes = lane.readable()) {
      text.append(bytes.data(), bytes.size());
      lane.consume(bytes.size());
    }
    std::vector<nlohmann::json> lines;
    for (std::size_t from = 0; from < text.size();) {
      const std::size_t end = text.find('\n', from);
      lines.push_back(nlohmann::json::parse(text.substr(from, end - from)));
      from = end + 1;
    }
    return lines;
  }

  std::shared_ptr<const config::Config> config;
  http::ServerSettings settings;
  sense::Shard shard;
  sense::InFlight in_flight;
  sense::Admission admission;
  telemetry::AccessLogBell bell;
  telemetry::AccessLogLane lane;
  WorkerState state;
  std::vector<std::unique_ptr<http::RequestHead>> spare_heads;
  int heads_out = 0;

 private:
  static std::shared_ptr<const config::Config> load(const std::string& toml) {
    auto loaded = config::load_text(toml, "test.toml");
    if (loaded) return std::make_shared<const config::Config>(std::move(loaded->config));
    ADD_FAILURE() << loaded.error().front().key << ": " << loaded.error().front().message;
    std::abort();
  }
};

// A client's connection to a RequestPath.
class Client {
 public:
  Client(rt::VirtualLoop& loop, RequestPath& path, std::size_t capacity = 65536) : loop_(loop) {
    auto [server_side, client_side] = net::MemoryStream::make_pair(capacity);
    stream_ = std::move(client_side);
    connection_ = std::make_unique<http::h1::ServerConnection>(loop, std::move(server_side), net::Peer{},
                                                               path.state.buffers, path.settings, path, drain_);
    loop.spawn(connection_->serve());
    pump();
  }
  ~Client() { leave(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // Everything happens that can happen without time passing.
  void pump() {
    for (bool moved = true; moved;) {
      moved = false;
      loop_.run_for(Nanoseconds::zero());
      if (stream_ == nullptr) return;
      while (!outbox_.empty()) {
        iovec piece{outbox_.data(), outbox_.size()};
        const net::IoResult wrote = stream_->try_write({&piece, 1});
        if (wrote.status == net::IoStatus::failed) outbox_.clear();
        if (wrote.status != net::IoStatus::ok) break;
        outbox_.erase(0, wrote.bytes);
        moved = true;
      }
      char bytes[4096];
      while (reads && !closed) {
        const net::IoResult got = stream_->try_read(bytes);
        closed = got.status == net::IoStatus::end || got.status == net::IoStatus::failed;
        if (got.status != net::IoStatus::ok) break;
        received_.append(bytes, got.bytes);
        moved = true;
      }
    }
  }
  void send(std::string_view text) {
    outbox_ += text;
    pump();
  }
  void pass(Nanoseconds time) {
    loop_.run_for(time);
    pump();
  }
  std::string take() { return std::exchange(received_, {}); }
  // Closes; what DAO then has to do it does at once.
  void leave() {
    stream_.reset();
    loop_.run_for(Nanoseconds::zero());
  }
  void reset() { stream_->reset(); }
  [[nodiscard]] std::size_t unsent() const { return outbox_.size(); }

  bool reads = true;
  bool closed = false;

 private:
  rt::VirtualLoop& loop_;
  rt::Cancel drain_;
  std::unique_ptr<net::MemoryStream> stream_;
  std::unique_ptr<http::h1::ServerConnection> connection_;
  std::string outbox_;
  std::string received_;
};

}  // namespace dao::server

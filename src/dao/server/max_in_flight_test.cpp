// The limit of requests at an upstream, and what waits for it, from a client's bytes to a backend's; in virtual time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "dao/base/log.h"
#include "dao/server/explain.h"
#include "dao/server/process_request.h"
#include "dao/server/request_path_fixture.h"

namespace dao::server {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

std::string get(std::string_view path) {
  return "GET /" + std::string{path} + " HTTP/1.1\r\nHost: a.test\r\n\r\n";
}

class MaxInFlightTest : public testing::Test {
 protected:
  MaxInFlightTest() {
    log::set_level(log::Level::error);
    loop.run_for(seconds(10));
  }

  // A rule with upstreams u1, u2, ..., each with the limit; every answer takes 100 ms.
  void start(int upstreams, int limit, std::string_view proxy = "", std::string_view rule = "") {
    std::string toml = "[proxy]\n" + std::string{proxy} +
                       "\n[liminal.presence]\nenabled = false\n[[routes.rule]]\nname = \"main\"\n" + std::string{rule} +
                       "\n";
    for (int i = 1; i <= upstreams; ++i) {
      const std::string number = std::to_string(i);
      toml += "[[routes.rule.upstreams]]\nname = \"u" + number + "\"\nurl = \"http://192.0.2." + number +
              ":80\"\nmax_in_flight = " + std::to_string(limit) + "\n";
      u(i).otherwise = {read_head(), wait(milliseconds(100)), say(ok("from " + number)), again()};
    }
    path = std::make_unique<RequestPath>(loop, backends, toml);
  }
  ScriptedBackends::Backend& u(int number) { return backends["192.0.2." + std::to_string(number) + ":80"]; }

  Client& ask(std::string_view text = kGet) {
    clients.push_back(std::make_unique<Client>(loop, *path));
    clients.back()->send(text);
    return *clients.back();
  }
  void pass(Nanoseconds time) {
    loop.run_for(time);
    for (const auto& client : clients) client->pump();
  }
  [[nodiscard]] const sense::RouteCounters& route() const { return path->shard.routes()[0]; }
  std::uint64_t rejected(ErrorKind kind) {
    return path->shard.worker().rejected[static_cast<std::size_t>(kind)].value();
  }

  void TearDown() override {
    pass(seconds(10));
    clients.clear();
    EXPECT_EQ(path->shard.worker().requests_active.value(), 0);
    EXPECT_EQ(path->heads_out, 0);
    EXPECT_EQ(path->state.buffers.in_use(), 0U);
    EXPECT_TRUE(path->state.queue.empty());
    EXPECT_EQ(route().queue_waiting.value(), 0);
    for (std::size_t i = 0; i < path->state.seats.size(); ++i) {
      EXPECT_EQ(path->in_flight.count(i), 0);
      path->state.seats[i]->pool.close_idle();
    }
    loop.run();
    EXPECT_EQ(backends.open(), 0);
    EXPECT_EQ(loop.live_tasks(), 0U);
    EXPECT_EQ(loop.timers().size(), 0U);
  }

  rt::VirtualLoop loop;
  ScriptedBackends backends{loop};
  std::unique_ptr<RequestPath> path;
  std::vector<std::unique_ptr<Client>> clients;
};

TEST_F(MaxInFlightTest, TheUpstreamNeverHasMore) {
  start(1, 2);
  for (int i = 0; i < 6; ++i) ask();
  for (int i = 0; i < 6; ++i) {
    EXPECT_LE(path->in_flight.count(0), 2);
    EXPECT_LE(u(1).heads.size(), 2U + 2U * static_cast<std::size_t>(i));
    pass(milliseconds(100));
  }
  for (const auto& client : clients) EXPECT_THAT(client->take(), EndsWith("from 1"));
  EXPECT_EQ(u(1).opened, 2);
}

TEST_F(MaxInFlightTest, ServesInTheOrderOfComing) {
  start(1, 1);
  for (const char* name : {"a", "b", "c", "d"}) ask(get(name));
  pass(milliseconds(450));
  ASSERT_EQ(u(1).heads.size(), 4U);
  const char* names[] = {"GET /a ", "GET /b ", "GET /c ", "GET /d "};
  for (std::size_t i = 0; i < 4; ++i) EXPECT_THAT(u(1).heads[i], StartsWith(names[i]));
}

TEST_F(MaxInFlightTest, ANewcomerComesAfterThoseWhoWait) {
  start(1, 1);
  ask(get("a"));
  ask(get("b"));
  pass(milliseconds(99));
  loop.run_for(milliseconds(2));  // b is in, but has not been pumped
  ask(get("c"));
  pass(milliseconds(300));
  ASSERT_EQ(u(1).heads.size(), 3U);
  EXPECT_THAT(u(1).heads[1], StartsWith("GET /b "));
}

TEST_F(MaxInFlightTest, AFullUpstreamIsNotChosen) {
  start(2, 1, "", "policy = \"least-connections\"");
  Client& first = ask();
  Client& second = ask();
  pass(milliseconds(100));
  EXPECT_NE(first.take(), second.take());
  EXPECT_EQ(route().queued.value(), 0U);
  EXPECT_EQ(u(1).heads.size(), 1U);
  EXPECT_EQ(u(2).heads.size(), 1U);
}

TEST_F(MaxInFlightTest, SaysHowLongARequestHasWaited) {
  start(1, 1);
  ask();
  Client& second = ask();
  pass(milliseconds(220));
  EXPECT_THAT(second.take(), EndsWith("from 1"));
  const std::vector<json> lines = path->take_log();
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_FALSE(lines[0].contains("queue_ms"));
  EXPECT_NEAR(lines[1].at("queue_ms").get<double>(), 100, 1);
  EXPECT_NEAR(lines[1].at("head_ms").get<double>(), 100, 2);
  EXPECT_EQ(route().queued.value(), 1U);
  EXPECT_NEAR(static_cast<double>(route().queue_time.sum_nanoseconds()) / 1e6, 100, 1);
}

TEST_F(MaxInFlightTest, WhoCannotEvenWaitIsToldToComeBack) {
  start(1, 1, "queue_max = 1");
  ask();
  ask();
  Client& third = ask();
  const std::string answer = third.take();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(answer, HasSubstr("Proxy-Status: dao; error=connection_limit_reached\r\n"));
  EXPECT_THAT(answer, HasSubstr("Retry-After: 1\r\n"));
  EXPECT_EQ(route().queue_overflows.value(), 1U);
  EXPECT_EQ(rejected(ErrorKind::queue_full), 1U);
  const std::vector<json> lines = path->take_log();
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0].at("error"), "connection_limit_reached");
  EXPECT_EQ(lines[0].at("attempts"), 0);
}

TEST_F(MaxInFlightTest, NobodyWaitsInAQueueOfNone) {
  start(1, 1, "queue_max = 0");
  ask();
  EXPECT_THAT(ask().take(), StartsWith("HTTP/1.1 503 "));
  pass(milliseconds(100));
  EXPECT_THAT(clients[0]->take(), EndsWith("from 1"));
}

TEST_F(MaxInFlightTest, GivesUpInTime) {
  start(1, 1, "queue_timeout_ms = 50");
  ask();
  Client& second = ask();
  pass(milliseconds(49));
  EXPECT_THAT(second.take(), IsEmpty());
  pass(milliseconds(2));
  EXPECT_THAT(second.take(), StartsWith("HTTP/1.1 503 "));
  EXPECT_EQ(route().queue_timeouts.value(), 1U);
  EXPECT_EQ(rejected(ErrorKind::timeout_queue), 1U);
}

TEST_F(MaxInFlightTest, TellsACallOfGrpcInItsOwnWay) {
  start(1, 1, "queue_timeout_ms = 50");
  ask();
  Client& call =
      ask("POST /s/m HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/grpc\r\nTE: trailers\r\n"
          "Content-Length: 0\r\n\r\n");
  pass(milliseconds(60));
  const std::string answer = call.take();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(answer, HasSubstr("grpc-status: 14\r\n"));
}

TEST_F(MaxInFlightTest, TheTotalTimeoutCountsTheWait) {
  start(1, 1, "total_timeout_ms = 120");
  ask();
  Client& second = ask();
  Client& third = ask();
  pass(milliseconds(119));
  EXPECT_THAT(second.take(), IsEmpty());
  pass(milliseconds(3));
  EXPECT_THAT(second.take(), StartsWith("HTTP/1.1 504 "));
  EXPECT_THAT(third.take(), StartsWith("HTTP/1.1 504 "));
}

TEST_F(MaxInFlightTest, AClientThatLeavesGivesUpItsPlace) {
  start(1, 1);
  ask(get("a"));
  Client& gone = ask(get("b"));
  Client& last = ask(get("c"));
  gone.leave();
  EXPECT_EQ(route().queue_waiting.value(), 1);
  pass(milliseconds(220));
  EXPECT_THAT(last.take(), EndsWith("from 1"));
  ASSERT_EQ(u(1).heads.size(), 2U);
  EXPECT_THAT(u(1).heads[1], StartsWith("GET /c "));
}

TEST_F(MaxInFlightTest, AClientThatLeavesWhileItIsServedFreesItsSlot) {
  start(1, 1);
  Client& gone = ask();
  Client& next = ask();
  gone.leave();
  pass(milliseconds(110));
  EXPECT_THAT(next.take(), EndsWith("from 1"));
}

TEST_F(MaxInFlightTest, ARetryWaitsForRoomElsewhere) {
  start(2, 1, "", "policy = \"round-robin\"");
  backends.reach["192.0.2.1:80"] = upstream::Reach::refuses;
  Client& one = ask();  // u1 refuses, u2 takes it
  Client& two = ask();  // u1 refuses, u2 is full: it waits
  Client& three = ask();
  EXPECT_EQ(u(2).heads.size(), 1U);
  EXPECT_EQ(route().queue_waiting.value(), 2);
  pass(milliseconds(320));
  for (Client* client : {&one, &two, &three}) EXPECT_THAT(client->take(), EndsWith("from 2"));
}

TEST_F(MaxInFlightTest, A5xxIsPassedOnWhenTheOthersAreFull) {
  start(2, 1, "", "policy = \"round-robin\"");
  u(1).otherwise = {read_head(), say("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"), again()};
  std::vector<std::string> answers;
  for (int i = 0; i < 2; ++i) ask();
  Client& last = ask();
  EXPECT_THAT(last.take(), StartsWith("HTTP/1.1 500 Oops")) << "u2 has no room for another try";
}

TEST_F(MaxInFlightTest, AllThatWaitGetTheirTurnWithARequestThatFails) {
  start(1, 1, "retries = 0");
  u(1).connections.push_back({read_head(), wait(milliseconds(10)), reset()});
  Client& first = ask();
  Client& second = ask();
  pass(milliseconds(120));
  EXPECT_THAT(first.take(), StartsWith("HTTP/1.1 502 "));
  EXPECT_THAT(second.take(), EndsWith("from 1"));
}

TEST_F(MaxInFlightTest, ADrainedUpstreamIsNotWaitedFor) {
  start(1, 1);
  ask();
  Client& second = ask();
  path->admission.drain(0, true);
  pass(UpstreamQueue::kLookInterval + milliseconds(1));
  EXPECT_THAT(second.take(), StartsWith("HTTP/1.1 503 "));
  EXPECT_EQ(rejected(ErrorKind::no_upstream), 1U);
}

TEST_F(MaxInFlightTest, AnUpstreamThatComesBackIsNoticed) {
  start(2, 1);
  path->admission.drain(1, true);
  ask();
  Client& second = ask();
  path->admission.drain(1, false);
  pass(UpstreamQueue::kLookInterval + milliseconds(101));
  EXPECT_THAT(second.take(), EndsWith("from 2"));
}

TEST_F(MaxInFlightTest, AWebSocketHoldsItsSlot) {
  start(1, 1, "queue_timeout_ms = 60000");
  u(1).connections.push_back({read_head(),
                              say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                  "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"),
                              read_bytes(1)});
  Client& socket =
      ask("GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n");
  EXPECT_THAT(socket.take(), StartsWith("HTTP/1.1 101 "));
  Client& other = ask();
  pass(seconds(2));
  EXPECT_THAT(other.take(), IsEmpty());
  EXPECT_EQ(path->in_flight.count(0), 1);
  socket.leave();
  pass(seconds(6));  // the other side has some time for its Close
  EXPECT_THAT(other.take(), EndsWith("from 1"));
}

TEST_F(MaxInFlightTest, ALargeRequestWaitsWithItsBodyUnread) {
  start(1, 1);
  const std::string body(1'000'000, 'b');
  u(1).connections.push_back({read_head(), wait(milliseconds(100)),
                              say("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"), close()});
  u(1).otherwise = {read_head(), read_bytes(body.size()), say(ok("all")), again()};
  ask();
  Client& large =
      ask("POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  EXPECT_GT(large.unsent(), 0U);
  pass(milliseconds(110));
  EXPECT_THAT(large.take(), EndsWith("all"));
  EXPECT_EQ(u(1).bodies, body);
}

TEST_F(MaxInFlightTest, ExplainNamesTheOneThatIsFull) {
  start(2, 1, "", "policy = \"least-connections\"");
  ask();
  const ExplainAnswer answer = explain_choice(path->state, {.rule = "main"});
  ASSERT_EQ(answer.candidates.size(), 2U);
  EXPECT_NE(answer.candidates[0].usable, answer.candidates[1].usable);
  EXPECT_FALSE(answer.waits);
  ask();
  const ExplainAnswer full = explain_choice(path->state, {.rule = "main"});
  EXPECT_TRUE(full.waits);
  EXPECT_FALSE(full.fail_open);
}

}  // namespace
}  // namespace dao::server

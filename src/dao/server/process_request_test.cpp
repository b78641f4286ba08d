// The request path from a client's bytes to a backend's and back, in virtual time: retries, timeouts, cut messages, and
// clients that leave. After each test no task, timer, buffer, connection or in-flight count may be left.
#include "dao/server/process_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <memory>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "dao/base/log.h"
#include "dao/server/request_path_fixture.h"

namespace dao::server {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

using Script = dao::server::Script;

std::string request(std::string_view method, std::string_view fields = "", std::string_view body = "") {
  return std::string{method} + " /x HTTP/1.1\r\nHost: a.test\r\n" + std::string{fields} + "\r\n" + std::string{body};
}
std::string with_length(std::string_view method, std::string_view body) {
  return request(method, "Content-Length: " + std::to_string(body.size()) + "\r\n", body);
}

class ProcessRequestTest : public testing::Test {
 protected:
  ProcessRequestTest() {
    log::set_level(log::Level::error);
    loop.run_for(seconds(10));  // the clock's epoch means "never" to an exchange
  }

  // One rule with `upstreams` upstreams u1, u2, ... at 192.0.2.1:80 and so on. `proxy` and `server` are lines of their
  // sections.
  void start(int upstreams, std::string_view proxy = "", std::string_view server = "") {
    std::string toml = "[server]\n" + std::string{server} + "\n[proxy]\n" + std::string{proxy} +
                       "\n[liminal.presence]\nenabled = " + (presence ? "true" : "false") +
                       "\n[[routes.rule]]\nname = \"main\"\n";
    for (int i = 1; i <= upstreams; ++i) {
      const std::string number = std::to_string(i);
      toml += "[[routes.rule.upstreams]]\nname = \"u" + number + "\"\nurl = \"http://192.0.2." + number + ":80\"\n";
    }
    start_with(toml);
  }
  bool presence = false;  // off: an upstream is asked whatever it did before

  void start_with(const std::string& toml) {
    path = std::make_unique<RequestPath>(loop, backends, toml);
    connect();
  }
  void connect(std::size_t capacity = 65536) {
    client.reset();
    client = std::make_unique<Client>(loop, *path, capacity);
  }
  ScriptedBackends::Backend& u(int number) { return backends["192.0.2." + std::to_string(number) + ":80"]; }
  void reach(int number, upstream::Reach how) { backends.reach["192.0.2." + std::to_string(number) + ":80"] = how; }

  std::string ask(std::string_view text) {
    client->send(text);
    return client->take();
  }
  // The one line that was logged since the last call.
  json logged() {
    const std::vector<json> lines = path->take_log();
    EXPECT_EQ(lines.size(), 1U);
    return lines.empty() ? json::object() : lines.back();
  }
  void expect_logged(int status, std::string_view error, int attempts) {
    const json line = logged();
    EXPECT_EQ(line.value("status", -1), status) << line;
    EXPECT_EQ(line.value("error", ""), error) << line;
    EXPECT_EQ(line.value("attempts", -1), attempts) << line;
  }
  std::uint64_t upstream_errors(int number, ErrorKind kind) {
    return path->shard.upstream(static_cast<std::size_t>(number - 1)).errors[static_cast<std::size_t>(kind)].value();
  }
  std::uint64_t all_upstream_errors() {
    std::uint64_t sum = 0;
    for (const auto& upstream : path->shard.upstreams()) {
      for (const auto& count : upstream.errors) sum += count.value();
    }
    return sum;
  }
  std::uint64_t retries(int number, sense::RetryReason reason) {
    return path->shard.upstream(static_cast<std::size_t>(number - 1)).retries[static_cast<std::size_t>(reason)].value();
  }

  void expect_nothing_left() {
    client.reset();
    EXPECT_EQ(path->shard.worker().requests_active.value(), 0);
    EXPECT_EQ(path->heads_out, 0);
    EXPECT_EQ(path->state.buffers.in_use(), 0U);
    for (std::size_t i = 0; i < path->state.seats.size(); ++i) {
      EXPECT_EQ(path->in_flight.count(i), 0);
      EXPECT_EQ(path->shard.upstream(i).connections_active.value(), 0);
      path->state.seats[i]->pool.close_idle();
      EXPECT_EQ(path->shard.upstream(i).connections_idle.value(), 0);
    }
    loop.run();  // scripts that wait
    EXPECT_EQ(backends.open(), 0);
    EXPECT_EQ(loop.live_tasks(), 0U);
    EXPECT_EQ(loop.timers().size(), 0U);
  }
  void TearDown() override { expect_nothing_left(); }

  rt::VirtualLoop loop;
  ScriptedBackends backends{loop};
  std::unique_ptr<RequestPath> path;
  std::unique_ptr<Client> client;
};

// --- forwarding ----------------------------------------------------------------------------------------------------

TEST_F(ProcessRequestTest, PassesARequestAndItsAnswerOn) {
  start(1);
  EXPECT_EQ(ask(kGet),
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nDate: Thu, 01 Jan 1970 00:00:10 GMT\r\nVia: 1.1 dao\r\n\r\nok");
  ASSERT_EQ(u(1).heads.size(), 1U);
  EXPECT_EQ(u(1).heads[0],
            "GET /x HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: unix\r\nX-Forwarded-Proto: http\r\n"
            "X-Forwarded-Host: a.test\r\nForwarded: for=_unix;host=a.test;proto=http\r\nVia: 1.1 dao\r\n\r\n");
  const json line = logged();
  EXPECT_EQ(line["status"], 200);
  EXPECT_EQ(line["route"], "main");
  EXPECT_EQ(line["upstream"], "u1");
  EXPECT_EQ(line["upstream_address"], "192.0.2.1:80");
  EXPECT_EQ(line["attempts"], 1);
  EXPECT_EQ(line["response_bytes"], 2);
  EXPECT_TRUE(line.contains("connect_ms"));
  EXPECT_FALSE(line.contains("error"));
}

TEST_F(ProcessRequestTest, KeepsConnectionsOnBothSides) {
  start(1);
  for (int i = 0; i < 5; ++i) {
    EXPECT_THAT(ask(kGet), EndsWith("\r\n\r\nok"));
    client->pass(seconds(1));
    EXPECT_EQ(logged()["reused"], i > 0);
  }
  EXPECT_EQ(u(1).opened, 1);
  EXPECT_EQ(path->shard.upstream(0).reused.value(), 4U);
}

TEST_F(ProcessRequestTest, MeasuresTheTimeToTheHead) {
  start(1);
  u(1).otherwise = {read_head(), wait(milliseconds(250)), say(ok("late"))};
  client->send(kGet);
  client->pass(milliseconds(300));
  EXPECT_THAT(client->take(), EndsWith("late"));
  const json line = logged();
  EXPECT_NEAR(line["head_ms"].get<double>(), 250, 1);
  EXPECT_NEAR(line["duration_ms"].get<double>(), 250, 1);
}

TEST_F(ProcessRequestTest, PassesBodiesOnInBothDirections) {
  start(1);
  const std::string up(300'000, 'u');
  const std::string down(400'000, 'd');
  u(1).otherwise = {read_head(), read_bytes(up.size()), say(ok(down)), again()};
  for (int i = 0; i < 2; ++i) {
    const std::string answer = ask(with_length("POST", up));
    EXPECT_THAT(answer, EndsWith("\r\n\r\n" + down));
    const json line = logged();
    EXPECT_EQ(line["request_bytes"], up.size());
    EXPECT_EQ(line["response_bytes"], down.size());
  }
  EXPECT_EQ(u(1).bodies, up + up);
  EXPECT_EQ(u(1).opened, 1);
}

TEST_F(ProcessRequestTest, PassesChunkedBodiesAndTrailersOn) {
  start(1);
  const std::string chunked = "5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n";
  u(1).otherwise = {read_head(),
                    read_bytes(chunked.size()),
                    say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"),
                    wait(seconds(1)),
                    say("0\r\nX-Sum: 2\r\n\r\n"),
                    again()};
  client->send(request("POST", "Transfer-Encoding: chunked\r\n", chunked));
  client->pass(seconds(1));
  EXPECT_THAT(client->take(), EndsWith("\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 2\r\n\r\n"));
  EXPECT_EQ(u(1).bodies, chunked);
  EXPECT_FALSE(client->closed);
}

TEST_F(ProcessRequestTest, AnswersWithoutBodyLeaveTheConnectionsUsable) {
  start(1);
  u(1).otherwise = {read_head(), say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
                    read_head(), say("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"),
                    read_head(), say("HTTP/1.1 204 No Content\r\n\r\n"),
                    read_head(), say(ok("end"))};
  EXPECT_THAT(ask(request("HEAD")), EndsWith("\r\n\r\n"));
  EXPECT_THAT(ask(kGet), StartsWith("HTTP/1.1 304 "));
  EXPECT_THAT(ask(kGet), StartsWith("HTTP/1.1 204 "));
  EXPECT_THAT(ask(kGet), EndsWith("\r\n\r\nend"));
  EXPECT_EQ(u(1).opened, 1);
}

TEST_F(ProcessRequestTest, ABodyThatEndsWithTheConnectionIsPassedOn) {
  start(1);
  u(1).otherwise = {read_head(), say("HTTP/1.1 200 OK\r\n\r\nsome"), wait(seconds(1)), say("more"), close()};
  client->send(kGet);
  client->pass(seconds(2));
  EXPECT_THAT(client->take(), EndsWith("4\r\nsome\r\n4\r\nmore\r\n0\r\n\r\n"));
  EXPECT_FALSE(client->closed);
  EXPECT_EQ(u(1).open, 0) << "nothing can follow such a body";
}

TEST_F(ProcessRequestTest, ARequestWithoutHostGetsTheUpstreams) {  // RFC 9112 section 3.2
  start_with(
      "[[routes.rule]]\nname = \"main\"\n"
      "[[routes.rule.upstreams]]\nname = \"u1\"\nurl = \"http://192.0.2.1:8080/base\"\n");
  EXPECT_THAT(ask("GET /x HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.1 200 "));
  ASSERT_EQ(backends["192.0.2.1:8080"].heads.size(), 1U);
  EXPECT_THAT(backends["192.0.2.1:8080"].heads[0], StartsWith("GET /base/x HTTP/1.1\r\n"));
  EXPECT_THAT(backends["192.0.2.1:8080"].heads[0], HasSubstr("\r\nHost: 192.0.2.1:8080\r\n"));
}

TEST_F(ProcessRequestTest, CountsWhatIsInFlight) {
  start(2);
  u(1).otherwise = {read_head(), wait(seconds(1)), say(ok("ok"))};
  client->send(kGet);
  EXPECT_EQ(path->in_flight.count(0), 1);
  EXPECT_EQ(path->in_flight.count(1), 0);
  EXPECT_EQ(path->shard.worker().requests_active.value(), 1);
  client->pass(seconds(1));
  EXPECT_EQ(path->in_flight.count(0), 0);
}

TEST_F(ProcessRequestTest, AnswersAreTheLastOnesWhileDraining) {
  start(1);
  path->state.draining = true;
  EXPECT_THAT(ask(kGet), HasSubstr("\r\nConnection: close\r\n"));
  EXPECT_TRUE(client->closed);
}

// --- a connection from the pool that is dead -----------------------------------------------------------------------

// The backend answers once and drops the connection on the next request.
Script answers_once_then(Step end) {
  return {read_head(), say(ok("first")), read_head(), std::move(end)};
}

TEST_F(ProcessRequestTest, AStaleConnectionIsReplacedUnnoticed) {
  for (const bool reset_it : {false, true}) {
    start(1, "retries = 0");
    u(1).connections = {answers_once_then(reset_it ? reset() : close())};
    EXPECT_THAT(ask(kGet), EndsWith("first"));
    EXPECT_THAT(ask(kGet), EndsWith("\r\n\r\nok"));
    const std::vector<json> lines = path->take_log();
    ASSERT_EQ(lines.size(), 2U);
    EXPECT_EQ(lines[1]["attempts"], 1) << "no retry, and none of the budget's";
    EXPECT_EQ(all_upstream_errors(), 0U);
    client.reset();
  }
}

TEST_F(ProcessRequestTest, ABodyThatIsStillThereIsSentAgain) {
  start(1);
  u(1).connections = {{read_head(), say(ok("first")), read_head(), read_bytes(5), close()},
                      {read_head(), read_bytes(5), say(ok("second"))}};
  ask(kGet);
  EXPECT_THAT(ask(with_length("PUT", "hello")), EndsWith("second"));
  EXPECT_EQ(u(1).bodies, "hellohello");
}

TEST_F(ProcessRequestTest, APostIsNotSentTwice) {
  start(2);
  u(1).connections = {{read_head(), say(ok("first")), read_head(), read_bytes(5), close()}};
  ask(kGet);
  ask(kGet);  // round robin: the second upstream
  path->take_log();
  EXPECT_THAT(ask(with_length("POST", "hello")), StartsWith("HTTP/1.1 502 "));
  expect_logged(502, "connection_terminated", 1);
  EXPECT_EQ(u(1).bodies, "hello");
  EXPECT_EQ(u(2).heads.size(), 1U);
}

TEST_F(ProcessRequestTest, AStreamedBodyIsNotSentTwice) {
  start(2);
  const std::string body(100'000, 'b');
  u(1).connections = {{read_head(), read_bytes(50'000), close()}};
  EXPECT_THAT(ask(with_length("PUT", body)), StartsWith("HTTP/1.1 502 "));
  EXPECT_EQ(u(2).opened, 0);
}

TEST_F(ProcessRequestTest, AFreshConnectionThatDiesIsNoStaleOne) {
  start(1);
  u(1).otherwise = {read_head(), close()};
  EXPECT_THAT(ask(kGet), StartsWith("HTTP/1.1 502 "));
  EXPECT_EQ(u(1).opened, 1);
  expect_logged(502, "connection_terminated", 1);
}

// --- retries elsewhere ---------------------------------------------------------------------------------------------

struct Failure {
  const char* name;
  upstream::Reach reach;
  Script script;
  const char* error;  // the Proxy-Status name
  bool for_get;       // is tried again
  bool for_post;
  sense::RetryReason reason = sense::RetryReason::connect_failure;
};

void PrintTo(const Failure& failure, std::ostream* out) {
  *out << failure.name;
}

class RetryTest : public ProcessRequestTest, public testing::WithParamInterface<Failure> {};

TEST_P(RetryTest, GoesElsewhereOrNot) {
  const Failure& failure = GetParam();
  for (const bool post : {false, true}) {
    start(2, "connect_timeout_ms = 500\nfirst_byte_timeout_ms = 500\nresponse_header_max_bytes = 1024");
    reach(1, failure.reach);
    u(1).otherwise = failure.script;
    u(2).heads.clear();
    client->send(post ? with_length("POST", "hello") : std::string{kGet});
    client->pass(seconds(1));
    const std::string answer = client->take();
    const bool retried = post ? failure.for_post : failure.for_get;
    EXPECT_EQ(u(2).heads.size(), retried ? 1U : 0U) << (post ? "POST" : "GET");
    EXPECT_EQ(retries(1, failure.reason), retried ? 1U : 0U);
    if (retried) {
      EXPECT_THAT(answer, EndsWith("\r\n\r\nok"));
      expect_logged(200, "", 2);
    } else {
      EXPECT_THAT(answer, HasSubstr("\r\nProxy-Status: dao; error=" + std::string{failure.error} + "\r\n"));
      const json line = logged();
      EXPECT_EQ(line["error"], failure.error);
      EXPECT_EQ(line["attempts"], 1);
    }
    EXPECT_EQ(all_upstream_errors(), 1U) << "the failed attempt is counted either way";
    client.reset();
    for (const auto& seat : path->state.seats) seat->pool.close_idle();
    loop.run();
  }
}

INSTANTIATE_TEST_SUITE_P(
    Failures, RetryTest,
    testing::Values(Failure{"refused", upstream::Reach::refuses, {}, "connection_refused", true, true},
                    Failure{"refused_later", upstream::Reach::refuses_later, {}, "connection_refused", true, true},
                    Failure{"timeout_connect", upstream::Reach::silent, {}, "connection_timeout", true, true},
                    Failure{"closed",
                            upstream::Reach::accepts,
                            {read_head(), close()},
                            "connection_terminated",
                            true,
                            false,
                            sense::RetryReason::connection_lost},
                    Failure{"reset",
                            upstream::Reach::accepts,
                            {read_head(), reset()},
                            "connection_terminated",
                            true,
                            false,
                            sense::RetryReason::connection_lost},
                    Failure{"incomplete",
                            upstream::Reach::accepts,
                            {read_head(), say("HTTP/1.1 200 OK\r\nContent-"), close()},
                            "http_response_incomplete",
                            false,
                            false},
                    Failure{"reset_within_the_head",
                            upstream::Reach::accepts,
                            {read_head(), say("HTTP/1.1 200 OK\r\n"), wait(milliseconds(1)), reset()},
                            "http_response_incomplete",
                            false,
                            false},
                    Failure{"garbage",
                            upstream::Reach::accepts,
                            {read_head(), say("SSH-2.0-x\r\n\r\n")},
                            "http_protocol_error",
                            false,
                            false},
                    Failure{"two_framings",
                            upstream::Reach::accepts,
                            {read_head(),
                             say("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")},
                            "http_protocol_error",
                            false,
                            false},
                    Failure{"unasked_upgrade",
                            upstream::Reach::accepts,
                            {read_head(), say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")},
                            "http_protocol_error",
                            false,
                            false},
                    Failure{"head_too_large",
                            upstream::Reach::accepts,
                            {read_head(), say("HTTP/1.1 200 OK\r\nX: " + std::string(2000, 'x') + "\r\n\r\n")},
                            "http_response_header_section_size",
                            false,
                            false},
                    Failure{"timeout_head",
                            upstream::Reach::accepts,
                            {read_head(), wait(seconds(2)), say(ok("late"))},
                            "connection_read_timeout",
                            false,
                            false}),
    [](const auto& info) { return std::string{info.param.name}; });

TEST_F(ProcessRequestTest, EachTryGoesToAnotherUpstreamAndThereAreAtMostSoMany) {
  for (const int most : {0, 1, 2}) {
    start(4, "retries = " + std::to_string(most));
    for (int i = 1; i <= 4; ++i) {
      u(i).otherwise = {read_head(), close()};
      u(i).heads.clear();
    }
    EXPECT_THAT(ask(kGet), StartsWith("HTTP/1.1 502 "));
    int asked = 0;
    for (int i = 1; i <= 4; ++i) {
      EXPECT_LE(u(i).heads.size(), 1U);
      asked += static_cast<int>(u(i).heads.size());
    }
    EXPECT_EQ(asked, most + 1);
    expect_logged(502, "connection_terminated", most + 1);
    EXPECT_EQ(path->shard.worker().retries_denied.value(), 0U) << "it was not the budget";
    client.reset();
  }
}

TEST_F(ProcessRequestTest, RetryOnSaysWhatIsTriedAgain) {
  const std::vector<std::pair<std::string, Script>> lost = {
      {"[\"connect-failure\", \"5xx\"]", {read_head(), close()}},
      {"[\"connect-failure\", \"connection-lost\"]", answers("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")},
      {"[]", {read_head(), reset()}}};
  for (const auto& [words, script] : lost) {
    start(2, "retry_on = " + words);
    u(1).otherwise = script;
    EXPECT_THAT(ask(kGet), StartsWith("HTTP/1.1 50")) << words;
    EXPECT_EQ(u(2).opened, 0) << words;
    client.reset();
  }
  start(2, "retry_on = [\"connection-lost\", \"5xx\"]");
  reach(1, upstream::Reach::refuses_later);
  EXPECT_THAT(ask(kGet), StartsWith("HTTP/1.1 502 "));
  EXPECT_EQ(u(2).opened, 0);
}

TEST_F(ProcessRequestTest, NeverAfterAByteWasForwarded) {
  for (const char* head : {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart",
                           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
                           "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"}) {
    for (const bool reset_it : {false, true}) {
      start(2);
      u(1).otherwise = {read_head(), say(head), wait(seconds(1)), reset_it ? reset() : close()};
      client->send(kGet);
      client->pass(seconds(2));
      const std::string answer = client->take();
      EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
      EXPECT_THAT(answer, Not(HasSubstr("0\r\n\r\n"))) << "a cut answer does not look complete";
      EXPECT_TRUE(client->closed);
      EXPECT_EQ(u(2).opened, 0);
      const json line = logged();
      EXPECT_EQ(line["status"], 200);
      EXPECT_EQ(line["error"], reset_it ? "connection_terminated" : "http_response_incomplete");
      EXPECT_EQ(line["attempts"], 1);
      EXPECT_EQ(all_upstream_errors(), 1U);
      client.reset();
    }
  }
}

TEST_F(ProcessRequestTest, ABudgetThatIsSpentForbidsRetries) {
  start(2, "retry_budget_percent = 0\nretry_budget_min_per_second = 2");
  reach(1, upstream::Reach::refuses_later);
  int answered = 0;
  int failed = 0;
  for (int i = 0; i < 10; ++i) {
    const std::string answer = ask(kGet);
    answered += answer.starts_with("HTTP/1.1 200 ") ? 1 : 0;
    failed += answer.starts_with("HTTP/1.1 502 ") ? 1 : 0;
  }
  EXPECT_EQ(retries(1, sense::RetryReason::connect_failure), 2U);
  EXPECT_EQ(answered + failed, 10);
  EXPECT_GT(failed, 0);
  EXPECT_EQ(path->shard.worker().retries_denied.value(), static_cast<std::uint64_t>(failed));
  client->pass(seconds(1));
  for (int i = 0; i < 10; ++i) ask(kGet);
  EXPECT_EQ(retries(1, sense::RetryReason::connect_failure), 4U) << "two more a second";
}

TEST_F(ProcessRequestTest, AnotherAddressOfTheSameUpstreamIsNoRetry) {
  start(1, "retries = 0\nconnect_timeout_ms = 200");
  path->state.seats[0]->pool.set_addresses({*net::SocketAddress::from_ip("192.0.2.1", 80),
                                            *net::SocketAddress::from_ip("192.0.2.2", 80),
                                            *net::SocketAddress::from_ip("192.0.2.3", 80)});
  reach(1, upstream::Reach::refuses_later);
  reach(2, upstream::Reach::silent);
  client->send(kGet);
  client->pass(milliseconds(300));
  EXPECT_THAT(client->take(), EndsWith("\r\n\r\nok"));
  const json line = logged();
  EXPECT_EQ(line["upstream_address"], "192.0.2.3:80");
  EXPECT_EQ(line["attempts"], 1);
}

// --- 5xx -----------------------------------------------------------------------------------------------------------

std::string status(int code) {
  return "HTTP/1.1 " + std::to_string(code) + " Sorry\r\nContent-Length: 5\r\n\r\nsorry";
}

TEST_F(ProcessRequestTest, A5xxIsHeldBackWhileAnotherUpstreamMayAnswer) {
  for (const int code : {500, 502, 503, 504}) {
    start(2);
    u(1).otherwise = answers(status(code));
    EXPECT_THAT(ask(kGet), EndsWith("\r\n\r\nok")) << code;
    expect_logged(200, "", 2);
    EXPECT_EQ(retries(1, sense::RetryReason::server_error), 1U);
    EXPECT_EQ(all_upstream_errors(), 0U) << "an answer is no failure of the connection";
    EXPECT_EQ(path->shard.upstream(0).responses[5].value(), 1U);
    EXPECT_EQ(path->shard.upstream(0).connections_idle.value(), 1) << "its body was here: the connection is kept";
    client.reset();
    for (const auto& seat : path->state.seats) seat->pool.close_idle();
  }
}

TEST_F(ProcessRequestTest, TheLast5xxIsPassedOnAsItCame) {
  start(2);
  u(1).otherwise = answers(status(500));
  u(2).otherwise = answers(status(503));
  const std::string answer = ask(kGet);
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 Sorry\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\nsorry"));
  EXPECT_THAT(answer, Not(HasSubstr("Proxy-Status")));
  expect_logged(503, "", 2);
}

TEST_F(ProcessRequestTest, A5xxIsPassedOnIfItMeansNobodyOrMayHaveChangedSomething) {
  struct Case {
    std::string request;
    int code;
  };
  for (const Case& each : {Case{std::string{kGet}, 501}, Case{std::string{kGet}, 505}, Case{std::string{kGet}, 404},
                           Case{with_length("POST", "x"), 503}, Case{with_length("PUT", "x"), 503}}) {
    start(2);
    u(1).otherwise = {read_head(), say(status(each.code))};
    EXPECT_THAT(ask(each.request), StartsWith("HTTP/1.1 " + std::to_string(each.code)));
    EXPECT_EQ(u(2).opened, 0) << each.request << each.code;
    client.reset();
  }
}

TEST_F(ProcessRequestTest, A5xxThatIsHeldBackWithALongBodyEndsItsConnection) {
  start(2);
  u(1).otherwise = {read_head(), say("HTTP/1.1 503 Sorry\r\nContent-Length: 1000000\r\n\r\n" + std::string(1000, 's'))};
  EXPECT_THAT(ask(kGet), EndsWith("\r\n\r\nok"));
  EXPECT_EQ(u(1).open, 0);
}

// --- interim responses ---------------------------------------------------------------------------------------------

constexpr const char* kHints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n";

TEST_F(ProcessRequestTest, InterimResponsesArePassedOn) {
  start(1);
  u(1).otherwise = {read_head(), say(kHints), wait(seconds(1)), say("HTTP/1.1 102 Processing\r\n\r\n" + ok("done"))};
  client->send(kGet);
  EXPECT_EQ(client->take(), "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nVia: 1.1 dao\r\n\r\n");
  client->pass(seconds(1));
  const std::string rest = client->take();
  EXPECT_THAT(rest, StartsWith("HTTP/1.1 102 Processing\r\nVia: 1.1 dao\r\n\r\nHTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(rest, EndsWith("\r\n\r\ndone"));
  EXPECT_EQ(logged()["status"], 200);
}

TEST_F(ProcessRequestTest, InterimResponsesDoNotHinderARetry) {
  start(2);
  u(1).otherwise = {read_head(), say(kHints), close()};
  const std::string answer = ask(kGet);
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 103 "));
  EXPECT_THAT(answer, EndsWith("\r\n\r\nok"));
}

TEST_F(ProcessRequestTest, AFloodOfInterimResponsesIsAFault) {
  start(1, "interim_responses_max = 3");
  std::string flood;
  for (int i = 0; i < 3; ++i) flood += kHints;
  u(1).connections = {{read_head(), say(flood + ok("ok"))}, {read_head(), say(flood + kHints)}};
  EXPECT_THAT(ask(kGet), EndsWith("\r\n\r\nok"));
  for (const auto& seat : path->state.seats) seat->pool.close_idle();
  EXPECT_THAT(ask(kGet), HasSubstr("HTTP/1.1 502 Bad Gateway\r\n"));
  EXPECT_EQ(path->take_log().back()["error"], "http_protocol_error");
}

// --- time ----------------------------------------------------------------------------------------------------------

TEST_F(ProcessRequestTest, TheTotalTimeoutBoundsEverything) {
  start(3, "total_timeout_ms = 1000\nretries = 2\nconnect_timeout_ms = 400");
  for (int i = 1; i <= 3; ++i) reach(i, upstream::Reach::silent);
  client->send(kGet);
  client->pass(milliseconds(950));
  EXPECT_EQ(client->take(), "") << "the third try is under way";
  client->pass(milliseconds(100));
  EXPECT_THAT(client->take(), HasSubstr("\r\nProxy-Status: dao; error=http_response_timeout\r\n"));
  expect_logged(504, "http_response_timeout", 3);
  EXPECT_FALSE(client->closed) << "the client did nothing wrong";
}

TEST_F(ProcessRequestTest, TheTotalTimeoutCutsAnAnswerThatHasBegun) {
  start(1, "total_timeout_ms = 1000");
  u(1).otherwise = {read_head(), say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart"), wait(seconds(5))};
  client->send(kGet);
  client->pass(milliseconds(1100));
  EXPECT_THAT(client->take(), EndsWith("part"));
  EXPECT_TRUE(client->closed);
  expect_logged(200, "http_response_timeout", 1);
}

TEST_F(ProcessRequestTest, ASlowHeadTimesOut) {
  start(1, "first_byte_timeout_ms = 1000");
  u(1).otherwise = {read_head(), say("HTTP/1.1 200"), wait(seconds(5)), say(" OK\r\n\r\n")};
  client->send(kGet);
  client->pass(milliseconds(990));
  EXPECT_EQ(client->take(), "");
  client->pass(milliseconds(20));
  EXPECT_THAT(client->take(), StartsWith("HTTP/1.1 504 Gateway Timeout\r\n"));
  expect_logged(504, "connection_read_timeout", 1);
  EXPECT_EQ(upstream_errors(1, ErrorKind::timeout_head), 1U);
}

TEST_F(ProcessRequestTest, ABodyThatStopsTimesOutAndOneThatTricklesDoesNot) {
  start(1, "read_timeout_ms = 1000");
  u(1).otherwise = {read_head(),
                    say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"),
                    wait(milliseconds(900)),
                    say("a"),
                    wait(milliseconds(900)),
                    say("b"),
                    wait(milliseconds(2000)),
                    say("cd")};
  client->send(kGet);
  client->pass(milliseconds(1900));
  EXPECT_THAT(client->take(), EndsWith("\r\n\r\nab"));
  EXPECT_FALSE(client->closed);
  client->pass(milliseconds(1000));
  EXPECT_TRUE(client->closed);
  expect_logged(200, "connection_read_timeout", 1);
  EXPECT_EQ(upstream_errors(1, ErrorKind::timeout_body), 1U);
}

TEST_F(ProcessRequestTest, TheBackendsTimeBeginsWhenTheUploadEnds) {
  start(1, "first_byte_timeout_ms = 1000");
  u(1).otherwise = {read_head(), read_bytes(20), wait(milliseconds(900)), say(ok("ok"))};
  client->send(request("POST", "Content-Length: 20\r\n"));
  for (int i = 0; i < 10; ++i) {
    client->pass(milliseconds(700));
    EXPECT_EQ(client->take(), "") << i;
    client->send("ab");
  }
  client->pass(milliseconds(950));
  EXPECT_THAT(client->take(), EndsWith("\r\n\r\nok"));
}

TEST_F(ProcessRequestTest, AndThenItRuns) {
  start(1, "first_byte_timeout_ms = 1000");
  u(1).otherwise = {read_head(), read_bytes(4), wait(seconds(10))};
  client->send(request("POST", "Content-Length: 4\r\n"));
  client->pass(milliseconds(3300));
  client->send("abcd");
  client->pass(milliseconds(980));
  EXPECT_EQ(client->take(), "");
  client->pass(milliseconds(40));
  EXPECT_THAT(client->take(), StartsWith("HTTP/1.1 504 "));
}

TEST_F(ProcessRequestTest, ABackendThatDoesNotReadTheUploadMayStillAnswerAndElseTimesOut) {
  start(1, "read_timeout_ms = 1000\nfirst_byte_timeout_ms = 3000");
  u(1).otherwise = {read_head(), wait(seconds(100))};
  client->send(with_length("POST", std::string(1'000'000, 'x')));
  EXPECT_GT(client->unsent(), 500'000U) << "what nobody reads is not taken from the client";
  client->pass(milliseconds(3950));
  EXPECT_EQ(client->take(), "");
  client->pass(milliseconds(100));
  EXPECT_THAT(client->take(), StartsWith("HTTP/1.1 504 "));
  expect_logged(504, "connection_read_timeout", 1);
}

TEST_F(ProcessRequestTest, AClientThatStopsWithinItsUploadIsToBlame) {
  start(2, "", "body_timeout_ms = 1000");
  u(1).otherwise = {read_head(), read_bytes(10), say(ok("ok"))};
  client->send(request("POST", "Content-Length: 10\r\n", "abc"));
  client->pass(milliseconds(1100));
  EXPECT_THAT(client->take(), StartsWith("HTTP/1.1 408 "));
  expect_logged(408, "http_request_error", 1);
  EXPECT_EQ(all_upstream_errors(), 0U);
  EXPECT_EQ(u(2).opened, 0);
}

// --- Expect: 100-continue ------------------------------------------------------------------------------------------

TEST_F(ProcessRequestTest, ThePermissionToContinueIsTheBackends) {
  start(1, "first_byte_timeout_ms = 5000", "body_timeout_ms = 1000");
  u(1).otherwise = {read_head(), wait(seconds(3)), say("HTTP/1.1 100 Continue\r\n\r\n"), read_bytes(5), say(ok("ok"))};
  client->send(request("POST", "Content-Length: 5\r\nExpect: 100-continue\r\n"));
  EXPECT_THAT(u(1).heads.at(0), HasSubstr("\r\nExpect: 100-continue\r\n"));
  client->pass(milliseconds(2900));
  EXPECT_EQ(client->take(), "");
  client->pass(milliseconds(200));
  EXPECT_THAT(client->take(), StartsWith("HTTP/1.1 100 Continue\r\n"));
  EXPECT_THAT(ask("hello"), EndsWith("\r\n\r\nok"));
  EXPECT_EQ(u(1).bodies, "hello");
}

TEST_F(ProcessRequestTest, ABackendThatGivesNoPermissionIsToBlameNotTheClient) {
  for (const int first_byte : {500, 1000, 3000}) {
    start(1, "first_byte_timeout_ms = " + std::to_string(first_byte), "body_timeout_ms = 1000");
    u(1).otherwise = {read_head(), wait(seconds(60))};
    client->send(request("POST", "Content-Length: 5\r\nExpect: 100-continue\r\n"));
    client->pass(milliseconds(first_byte + 50));
    EXPECT_THAT(client->take(), StartsWith("HTTP/1.1 504 ")) << first_byte;
    expect_logged(504, "connection_read_timeout", 1);
    client.reset();
  }
}

TEST_F(ProcessRequestTest, AClientThatGotPermissionAndSendsNothingIsToBlame) {
  start(1, "first_byte_timeout_ms = 60000", "body_timeout_ms = 1000");
  u(1).otherwise = {read_head(), say("HTTP/1.1 100 Continue\r\n\r\n"), wait(seconds(100))};
  client->send(request("POST", "Content-Length: 5\r\nExpect: 100-continue\r\n"));
  client->take();
  client->pass(seconds(62));
  EXPECT_THAT(client->take(), StartsWith("HTTP/1.1 408 "));
}

TEST_F(ProcessRequestTest, ARefusalInsteadOfPermission) {
  start(1);
  u(1).otherwise = {read_head(), say("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")};
  const std::string answer = ask(request("POST", "Content-Length: 5\r\nExpect: 100-continue\r\n"));
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 401 No\r\n"));
  EXPECT_THAT(answer, HasSubstr("\r\nConnection: close\r\n")) << "will the body come or not?";
  EXPECT_EQ(u(1).open, 0) << "the backend may still wait for the body";
}

TEST_F(ProcessRequestTest, ABodyThatIsHereNeedsNoPermission) {
  start(1);
  u(1).otherwise = {read_head(), read_bytes(5), say(ok("ok"))};
  EXPECT_THAT(ask(request("POST", "Content-Length: 5\r\nExpect: 100-continue\r\n", "hello")), EndsWith("\r\n\r\nok"));
  EXPECT_THAT(u(1).heads.at(0), Not(HasSubstr("Expect")));
}

// --- uploads -------------------------------------------------------------------------------------------------------

TEST_F(ProcessRequestTest, AnEarlyAnswerEndsTheUpload) {
  start(1);
  u(1).otherwise = {read_head(), say("HTTP/1.1 413 Too Much\r\nContent-Length: 3\r\n\r\nno!")};
  client->send(request("POST", "Content-Length: 10000000\r\n", std::string(1000, 'x')));
  const std::string answer = client->take();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 413 Too Much\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\nno!"));
  EXPECT_EQ(u(1).open, 0) << "half a request was sent on it";
  expect_logged(413, "", 1);
  client->pass(seconds(10));
  EXPECT_TRUE(client->closed);
}

TEST_F(ProcessRequestTest, AnEarlyAnswerMayStreamWhileTheUploadGoesOn) {
  start(1);
  u(1).otherwise = {read_head(), say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"),
                    read_bytes(6), say("3\r\ntwo\r\n0\r\n\r\n"), again()};
  client->send(request("POST", "Content-Length: 6\r\n", "abc"));
  EXPECT_THAT(client->take(), EndsWith("3\r\none\r\n"));
  client->pass(seconds(1));
  EXPECT_THAT(ask("def"), EndsWith("3\r\ntwo\r\n0\r\n\r\n"));
  EXPECT_EQ(u(1).bodies, "abcdef");
}

TEST_F(ProcessRequestTest, ABodyThatIsBrokenOnItsWayCallsTheAttemptOff) {
  start(2);
  u(1).otherwise = {read_head(), read_bytes(1000), say(ok("never"))};
  client->send(request("POST", "Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n"));
  EXPECT_THAT(ask("zz\r\n"), StartsWith("HTTP/1.1 400 "));
  expect_logged(400, "http_request_error", 1);
  EXPECT_EQ(u(1).open, 0) << "the backend gets a cut body, never one that looks complete";
  EXPECT_EQ(all_upstream_errors(), 0U);
}

TEST_F(ProcessRequestTest, ABodyAboveTheLimitIsRefused) {
  start(1, "", "body_max_bytes = 10");
  EXPECT_THAT(ask(request("POST", "Content-Length: 11\r\n")), StartsWith("HTTP/1.1 413 "));
  EXPECT_EQ(u(1).opened, 0);
  expect_logged(413, "http_request_error", 0);
  connect();
  u(1).otherwise = {read_head(), read_bytes(1000)};
  client->send(request("POST", "Transfer-Encoding: chunked\r\n", "8\r\nabcdefgh\r\n"));
  EXPECT_THAT(ask("8\r\nabcdefgh\r\n"), StartsWith("HTTP/1.1 413 "));
  expect_logged(413, "http_request_error", 1);
}

// --- clients that leave or do not read -----------------------------------------------------------------------------

TEST_F(ProcessRequestTest, AClientThatLeavesWhileItWaits) {
  for (const bool reset_it : {false, true}) {
    start(2);
    u(1).otherwise = {read_head(), wait(seconds(100)), say(ok("late"))};
    client->send(kGet);
    if (reset_it) client->reset();
    client->leave();
    expect_logged(499, "http_request_error", 1);
    EXPECT_EQ(path->shard.upstream(0).connections_active.value(), 0) << "nobody waits for the answer any more";
    EXPECT_EQ(path->in_flight.count(0), 0);
    EXPECT_EQ(all_upstream_errors(), 0U) << "the upstream is not to blame";
    EXPECT_EQ(u(2).opened, 0);
    EXPECT_EQ(path->shard.routes()[0].requests[4].value(), 1U);
    client.reset();
  }
}

TEST_F(ProcessRequestTest, AClientThatLeavesWhileDaoConnects) {
  start(2);
  reach(1, upstream::Reach::silent);
  client->send(kGet);
  client->leave();
  expect_logged(499, "http_request_error", 1);
  EXPECT_EQ(u(2).opened, 0);
}

TEST_F(ProcessRequestTest, AClientThatLeavesWithinItsUpload) {
  start(2);
  u(1).otherwise = {read_head(), read_bytes(10), say(ok("ok"))};
  client->send(request("POST", "Content-Length: 10\r\n", "abc"));
  client->leave();
  expect_logged(400, "http_request_error", 1);
  EXPECT_EQ(u(1).open, 0);
  EXPECT_EQ(all_upstream_errors(), 0U);
}

TEST_F(ProcessRequestTest, AClientThatLeavesWithinTheAnswer) {
  start(1);
  u(1).otherwise = {read_head(), say("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart"), wait(seconds(5)),
                    say("more")};
  client->send(kGet);
  EXPECT_THAT(client->take(), EndsWith("part"));
  client->leave();
  const json line = logged();
  EXPECT_EQ(line["status"], 200);
  EXPECT_EQ(line["error"], "http_request_error");
  EXPECT_EQ(all_upstream_errors(), 0U);
  EXPECT_EQ(u(1).open, 1) << "the script has not looked yet";
}

TEST_F(ProcessRequestTest, AClientThatDoesNotReadHoldsTheBackendBack) {
  start(1, "", "write_timeout_ms = 2000");
  const std::string large(4'000'000, 'x');
  u(1).otherwise = {read_head(), say(ok(large)), again()};
  client->reads = false;
  client->send(kGet);
  EXPECT_LE(path->state.buffers.in_use(), std::size_t{600} * 1024) << "the answer does not pile up here";
  client->pass(milliseconds(1500));
  EXPECT_EQ(path->in_flight.count(0), 1);
  client->pass(milliseconds(2000));
  EXPECT_EQ(path->in_flight.count(0), 0);
  const json line = logged();
  EXPECT_EQ(line["error"], "http_request_error");
  EXPECT_LT(line["response_bytes"].get<std::size_t>(), large.size());
  EXPECT_EQ(path->shard.worker().client_errors[static_cast<std::size_t>(ErrorKind::timeout_write)].value(), 1U);
  EXPECT_EQ(all_upstream_errors(), 0U);
}

// --- DAO's own answers ---------------------------------------------------------------------------------------------

TEST_F(ProcessRequestTest, WithoutARouteThereIs404) {
  start_with(
      "[[routes.rule]]\nname = \"main\"\n[routes.rule.match]\nhost = \"b.test\"\n"
      "[[routes.rule.upstreams]]\nname = \"u1\"\nurl = \"http://192.0.2.1:80\"\n");
  const std::string answer = ask(kGet);
  EXPECT_EQ(answer,
            "HTTP/1.1 404 Not Found\r\nProxy-Status: dao; error=destination_not_found\r\n"
            "Date: Thu, 01 Jan 1970 00:00:10 GMT\r\nContent-Type: text/plain; charset=utf-8\r\n"
            "Content-Length: 45\r\n\r\n404 Not Found: no route matches this request\n");
  EXPECT_FALSE(client->closed);
  expect_logged(404, "destination_not_found", 0);
  EXPECT_EQ(path->shard.unrouted().requests[4].value(), 1U);
}

TEST_F(ProcessRequestTest, WithoutAddressesThereIs503OrWhyThereAreNone) {
  start(1);
  path->state.seats[0]->pool.set_addresses({});
  const std::string unavailable = ask(kGet);
  EXPECT_THAT(unavailable, StartsWith("HTTP/1.1 503 Service Unavailable\r\n"));
  EXPECT_THAT(unavailable, HasSubstr("\r\nRetry-After: 1\r\n"));
  expect_logged(503, "destination_unavailable", 1);
  path->state.seats[0]->resolution_error = Error{.origin = Origin::backend, .kind = ErrorKind::dns_timeout};
  EXPECT_THAT(ask(kGet), HasSubstr("\r\nProxy-Status: dao; error=dns_timeout\r\n"));
  expect_logged(504, "dns_timeout", 1);
}

TEST_F(ProcessRequestTest, AnUpstreamWithoutAddressIsPassedOver) {
  start(2);
  path->state.seats[0]->pool.set_addresses({});
  path->state.seats[0]->resolution_error = Error{.origin = Origin::backend, .kind = ErrorKind::dns_error};
  EXPECT_THAT(ask(with_length("POST", "hello")), StartsWith("HTTP/1.1 200 "));
}

TEST_F(ProcessRequestTest, UpstreamsOfDaosOwnZoneComeFirst) {
  std::string toml = "[server]\nzone = \"a\"\n[[routes.rule]]\nname = \"main\"\n";
  for (const char* number : {"1", "2", "3"}) {
    toml += "[[routes.rule.upstreams]]\nname = \"u" + std::string{number} + "\"\nurl = \"http://192.0.2." + number +
            ":80\"\nzone = \"" + (*number == '2' ? "a" : "b") + "\"\n";
  }
  start_with(toml);
  for (int i = 0; i < 6; ++i) EXPECT_THAT(ask(kGet), HasSubstr("200 OK"));
  EXPECT_EQ(u(2).heads.size(), 6U);
  path->admission.set_gate(1, sense::Gate::closed);
  for (int i = 0; i < 6; ++i) EXPECT_THAT(ask(kGet), HasSubstr("200 OK"));
  EXPECT_EQ(u(1).heads.size(), 3U);
  EXPECT_EQ(u(2).heads.size(), 6U);
  EXPECT_EQ(u(3).heads.size(), 3U);
}

TEST_F(ProcessRequestTest, ARetryLeavesTheZoneWhenNobodyIsLeftThere) {
  start_with(
      "[server]\nzone = \"a\"\n[[routes.rule]]\nname = \"main\"\n"
      "[[routes.rule.upstreams]]\nname = \"u1\"\nurl = \"http://192.0.2.1:80\"\n"
      "[[routes.rule.upstreams]]\nname = \"u2\"\nurl = \"http://192.0.2.2:80\"\nzone = \"a\"\n");
  reach(2, upstream::Reach::refuses);
  EXPECT_THAT(ask(kGet), HasSubstr("200 OK"));
  EXPECT_EQ(u(1).heads.size(), 1U);
}

TEST_F(ProcessRequestTest, AKeyStaysWithItsUpstream) {
  std::string toml = "[[routes.rule]]\nname = \"main\"\npolicy = \"consistent-hash\"\nhash_key = \"header:X-User\"\n";
  for (const char* number : {"1", "2", "3"}) {
    toml += "[[routes.rule.upstreams]]\nname = \"u" + std::string{number} + "\"\nurl = \"http://192.0.2." + number +
            ":80\"\n";
  }
  start_with(toml);
  for (int user = 0; user < 20; ++user) {
    connect();
    const auto before = std::array{u(1).heads.size(), u(2).heads.size(), u(3).heads.size()};
    const std::string text = request("GET", "X-User: " + std::to_string(user) + "\r\n");
    for (int i = 0; i < 4; ++i) EXPECT_THAT(ask(text), HasSubstr("200 OK"));
    int grown = 0;
    for (int number = 1; number <= 3; ++number) {
      const std::size_t more = u(number).heads.size() - before.at(static_cast<std::size_t>(number - 1));
      EXPECT_TRUE(more == 0 || more == 4);
      grown += more == 4 ? 1 : 0;
    }
    EXPECT_EQ(grown, 1);
  }
  for (int number = 1; number <= 3; ++number) EXPECT_GE(u(number).heads.size(), 4U);
}

TEST_F(ProcessRequestTest, ErrorsAreJsonForThoseWhoReadJson) {
  start(1, "", "proxy_status_details = true");
  u(1).otherwise = {read_head(), say("nonsense\r\n\r\n")};
  const std::string answer = ask(request("GET", "Accept: application/json\r\n"));
  EXPECT_THAT(answer, HasSubstr("\r\nContent-Type: application/problem+json\r\n"));
  EXPECT_THAT(answer, HasSubstr("\r\nProxy-Status: dao; error=http_protocol_error; details=\""));
  const json problem = json::parse(answer.substr(answer.find("\r\n\r\n") + 4));
  EXPECT_EQ(problem["status"], 502);
  EXPECT_EQ(problem["error"], "http_protocol_error");
}

TEST_F(ProcessRequestTest, ARequestThatIsNotUnderstoodIsAnsweredAndGoesNoFurther) {
  start(1);
  EXPECT_THAT(ask("GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), StartsWith("HTTP/1.1 400 Bad Request\r\n"));
  client->pass(seconds(5));
  EXPECT_TRUE(client->closed);
  expect_logged(400, "http_request_error", 0);
  EXPECT_EQ(u(1).opened, 0);
}

TEST_F(ProcessRequestTest, MaxForwardsEndsHere) {  // RFC 9110 section 7.6.2
  start(1);
  EXPECT_THAT(ask(request("OPTIONS", "Max-Forwards: 0\r\n")), HasSubstr("\r\nAllow: GET"));
  const std::string traced = ask(request("TRACE", "Max-Forwards: 0\r\nCookie: secret\r\n"));
  EXPECT_THAT(traced, HasSubstr("TRACE /x HTTP/1.1\r\nHost: a.test\r\n"));
  EXPECT_THAT(traced, Not(HasSubstr("secret")));
  EXPECT_EQ(u(1).opened, 0);
  ask(request("OPTIONS", "Max-Forwards: 5\r\n"));
  EXPECT_THAT(u(1).heads.at(0), HasSubstr("\r\nMax-Forwards: 4\r\n"));
}

// --- anything ------------------------------------------------------------------------------------------------------

template <class T>
const T& one_of(std::mt19937& random, const std::vector<T>& choices) {
  return choices[std::uniform_int_distribution<std::size_t>(0, choices.size() - 1)(random)];
}
Nanoseconds up_to(std::mt19937& random, milliseconds most) {
  return milliseconds(std::uniform_int_distribution<std::int64_t>(0, most.count())(random));
}

Script random_script(std::mt19937& random) {
  static const std::vector<std::string> texts = {
      ok("fine"),
      ok(std::string(100'000, 'x')),
      kHints,
      status(503),
      "HTTP/1.1 100 Continue\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
      "0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npart",
      "HTTP/1.1 200 OK\r\n\r\nuntil the end",
      "HTTP/1.1 204 No Content\r\nKeep-Alive: timeout=1\r\n\r\n",
      "HTTP/1.1 2",
      "garbage\r\n\r\n",
  };
  Script script{read_head()};
  for (int steps = std::uniform_int_distribution<int>(1, 6)(random); steps > 0; --steps) {
    switch (std::uniform_int_distribution<int>(0, 8)(random)) {
      case 0:
        script.push_back(read_head());
        break;
      case 1:
        script.push_back(read_bytes(5));
        break;
      case 2:
      case 3:
        script.push_back(wait(up_to(random, milliseconds(400))));
        break;
      case 4:
        script.push_back(std::bernoulli_distribution(0.5)(random) ? close() : reset());
        break;
      default:
        script.push_back(say(one_of(random, texts)));
        break;
    }
  }
  if (std::bernoulli_distribution(0.5)(random)) script.push_back(again());
  return script;
}

TEST_F(ProcessRequestTest, NothingIsLeftBehindWhateverHappens) {
  const std::vector<std::string> requests = {
      std::string{kGet},
      request("HEAD"),
      with_length("PUT", "hello"),
      with_length("POST", "hello"),
      with_length("POST", std::string(200'000, 'p')),
      request("POST", "Content-Length: 5\r\n", "he"),
      request("POST", "Content-Length: 5\r\nExpect: 100-continue\r\n"),
      request("POST", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"),
      "0\r\n\r\n",
      "hello",
      "GET /x HTTP/1.0\r\n\r\n",
      "GET",
  };
  std::map<int, int> statuses;
  for (unsigned seed = 0; seed < 1000; ++seed) {
    std::mt19937 random(seed);
    start(3,
          "retries = 2\nconnect_timeout_ms = 100\nfirst_byte_timeout_ms = 300\nread_timeout_ms = 200\n"
          "total_timeout_ms = " +
              one_of<std::string>(random, {"0", "250", "700"}),
          "header_timeout_ms = 400\nbody_timeout_ms = 300\nwrite_timeout_ms = 300\nidle_timeout_ms = 2000");
    for (int i = 1; i <= 3; ++i) {
      reach(i, one_of<upstream::Reach>(
                   random, {upstream::Reach::accepts, upstream::Reach::accepts, upstream::Reach::accepts,
                            upstream::Reach::refuses, upstream::Reach::refuses_later, upstream::Reach::silent}));
      u(i).otherwise = random_script(random);
      u(i).connections = {random_script(random), random_script(random)};
    }
    bool here = true;
    for (int actions = 0; here && actions < 8; ++actions) {
      switch (std::uniform_int_distribution<int>(0, 9)(random)) {
        case 0:
          here = false;
          break;
        case 1:
          client->reset();
          break;
        case 2:
          client->reads = !client->reads;
          break;
        case 3:
        case 4:
        case 5:
          client->pass(up_to(random, milliseconds(500)));
          break;
        default:
          client->send(one_of(random, requests));
          break;
      }
    }
    client->leave();
    loop.run_for(seconds(20));  // whatever can time out
    expect_nothing_left();
    for (const json& line : path->take_log()) ++statuses[line["status"].get<int>()];
    if (HasFailure()) FAIL() << "seed " << seed;
  }
  for (const int expected : {200, 204, 400, 408, 499, 502, 503, 504}) {
    EXPECT_GT(statuses[expected], 10) << expected << " hardly happened: what was tested?";
  }
}

// ---- Presence: what the request path does with the gates.

class PresencePathTest : public ProcessRequestTest {
 protected:
  PresencePathTest() { presence = true; }
  std::uint64_t outcomes(int number, sense::Outcome outcome) {
    return path->shard.upstreams()[static_cast<std::size_t>(number - 1)]
        .outcomes[static_cast<std::size_t>(outcome)]
        .value();
  }
  sense::Gate gate(int number) { return path->admission.gate(static_cast<std::size_t>(number - 1)); }
  std::uint64_t failed_open() { return path->shard.routes()[0].fail_open.value(); }
  // Answers of `times` requests by their status.
  std::map<std::string, int> statuses(int times) {
    std::map<std::string, int> all;
    for (int i = 0; i < times; ++i) {
      if (client->closed) connect();
      ++all[ask(kGet).substr(9, 3)];
    }
    return all;
  }
};

TEST_F(PresencePathTest, ARefusedConnectionClosesTheGateAtOnce) {
  start(2);
  reach(1, upstream::Reach::refuses_later);
  EXPECT_EQ(statuses(10), (std::map<std::string, int>{{"200", 10}}));
  EXPECT_EQ(gate(1), sense::Gate::closed);
  EXPECT_EQ(outcomes(1, sense::Outcome::refused), 1U);
  EXPECT_EQ(outcomes(2, sense::Outcome::success), 10U);
  EXPECT_EQ(failed_open(), 0U);
}

TEST_F(PresencePathTest, TheThirdLostConnectionClosesTheGate) {
  start(2);
  u(1).otherwise = {read_head(), close()};
  EXPECT_EQ(statuses(30), (std::map<std::string, int>{{"200", 30}}));
  EXPECT_EQ(u(1).heads.size(), 3U);
  EXPECT_EQ(gate(1), sense::Gate::closed);
}

TEST_F(PresencePathTest, ServerErrorsCloseNoGateByThemselves) {
  start(2, "retries = 0");
  u(1).otherwise = answers("HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(statuses(20), (std::map<std::string, int>{{"200", 10}, {"500", 10}}));
  EXPECT_EQ(outcomes(1, sense::Outcome::server_error), 10U);
  EXPECT_EQ(gate(1), sense::Gate::open);
}

TEST_F(PresencePathTest, WhenNobodyIsAdmittedOneIsAskedAllTheSame) {
  start(2);
  for (const std::size_t upstream : {0U, 1U}) path->admission.close(upstream);
  EXPECT_EQ(statuses(3), (std::map<std::string, int>{{"200", 3}}));
  EXPECT_EQ(failed_open(), 3U);
}

// It goes on to the other one then, which is no worse.
TEST_F(PresencePathTest, FailingOpenRetriesToo) {
  start(2);
  for (const std::size_t upstream : {0U, 1U}) path->admission.close(upstream);
  reach(1, upstream::Reach::refuses_later);
  EXPECT_EQ(statuses(4), (std::map<std::string, int>{{"200", 4}}));
  EXPECT_EQ(failed_open(), 4U);
}

// There is nobody else: the 500 is the answer, and who is absent is left alone.
TEST_F(PresencePathTest, ARetryDoesNotGoToOneThatIsAbsent) {
  start(2);
  path->admission.close(0);
  u(2).otherwise = answers("HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(statuses(3), (std::map<std::string, int>{{"500", 3}}));
  EXPECT_TRUE(u(1).heads.empty());
  EXPECT_EQ(failed_open(), 0U);
}

TEST_F(PresencePathTest, ATrialTakesItsTokensAndNoMore) {
  start(2);
  path->admission.set_gate(0, sense::Gate::trial, 2);
  EXPECT_EQ(statuses(10), (std::map<std::string, int>{{"200", 10}}));
  EXPECT_EQ(u(1).heads.size(), 2U);
  EXPECT_EQ(path->admission.tokens(0), 0U);
}

TEST_F(PresencePathTest, AClientThatLeavesSaysNothing) {
  start(1);
  u(1).otherwise = {read_head()};
  for (int i = 0; i < 5; ++i) {
    connect();
    client->send(kGet);
    client->leave();
  }
  EXPECT_EQ(outcomes(1, sense::Outcome::cancelled), 5U);
  EXPECT_EQ(gate(1), sense::Gate::open);
  connect();
}

TEST_F(PresencePathTest, TheFirstByteTooLateIsATimeout) {
  start(1, "first_byte_timeout_ms = 100");
  u(1).otherwise = {read_head()};
  client->send(kGet);
  client->pass(milliseconds(200));
  EXPECT_THAT(client->take(), StartsWith("HTTP/1.1 504"));
  EXPECT_EQ(outcomes(1, sense::Outcome::timeout), 1U);
}

TEST_F(PresencePathTest, ANameWithoutAddressIsLikeARefusal) {
  start(2);
  path->state.seats[0]->pool.set_addresses({});
  path->state.seats[0]->resolution_error = Error{.origin = Origin::backend, .kind = ErrorKind::dns_error};
  EXPECT_EQ(statuses(4), (std::map<std::string, int>{{"200", 4}}));
  EXPECT_EQ(gate(1), sense::Gate::closed);
  EXPECT_EQ(outcomes(1, sense::Outcome::refused), 1U);
}

}  // namespace
}  // namespace dao::server

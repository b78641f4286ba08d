// A worker that goes on with another configuration, in virtual time: who has begun ends as it began, who stays is what
// it was, and nothing is left of who is gone.
#include "dao/server/worker_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "dao/base/log.h"
#include "dao/config/load.h"
#include "dao/liminal/interpolate.h"
#include "dao/server/interim_limits.h"
#include "dao/server/request_path_fixture.h"
#include "dao/server/roster.h"

namespace dao::server {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

std::string get(const std::string& path) {
  return "GET " + path + " HTTP/1.1\r\nHost: a.test\r\n\r\n";
}

std::string rule(const std::string& name, const std::vector<int>& upstreams, const std::string& more = "") {
  std::string toml = "[[routes.rule]]\nname = \"" + name + "\"\npolicy = \"round-robin\"\nslow_start_ms = 0\n" + more;
  for (const int number : upstreams) {
    const std::string text = std::to_string(number);
    toml += "[[routes.rule.upstreams]]\nname = \"u" + text + "\"\nurl = \"http://192.0.2." + text + ":80\"\n";
  }
  return toml;
}

class WorkerStateTest : public testing::Test {
 protected:
  WorkerStateTest() {
    log::set_level(log::Level::error);
    loop.run_for(seconds(10));
  }
  ~WorkerStateTest() override {
    client.reset();
    if (path) {
      for (const auto& seat : path->state.seats) {
        if (seat) seat->pool.close_idle();
      }
      path->state.drain_websockets.request(ErrorKind::draining);
    }
    loop.run_for(seconds(60));
    EXPECT_EQ(loop.live_tasks(), 0U);
    EXPECT_EQ(backends.open(), 0);
  }

  static config::Config load(const std::string& rules, const std::string& before) {
    auto loaded = config::load_text(before + "\n[liminal.presence]\nenabled = false\n" + rules, "test.toml");
    if (!loaded) {
      ADD_FAILURE() << loaded.error().front().key << ": " << loaded.error().front().message;
      std::abort();
    }
    return std::move(loaded->config);
  }
  void start(const std::string& rules, const std::string& before = "") {
    path = std::make_unique<RequestPath>(loop, backends, before + "\n[liminal.presence]\nenabled = false\n" + rules);
    config::Config same = *path->config;
    EXPECT_TRUE(roster.number(same));
    static_cast<void>(roster.keep({{path->config}}));
    client = std::make_unique<Client>(loop, *path);
  }
  // What Process does, with one worker.
  std::shared_ptr<const config::Config> numbered(config::Config config) {
    EXPECT_TRUE(roster.number(config));
    path->in_flight.grow(roster.upstreams());
    path->admission.grow(roster.upstreams());
    path->shard.grow(roster.rules(), roster.upstreams());
    for (const std::uint32_t added : roster.added_upstreams()) path->admission.forget(added);
    return std::make_shared<const config::Config>(std::move(config));
  }
  Released reload(const std::string& rules, const std::string& before = "") {
    const auto shared = numbered(load(rules, before));
    path->adopt(shared, backends);
    static_cast<void>(roster.keep({{shared}}));
    return release();
  }
  Released release() {
    Released released = path->state.release_unused();
    roster.release_upstreams(released.upstreams);
    roster.release_rules(released.rules);
    return released;
  }
  // A gradual transition begins, at `progress`.
  void begin_transition(const std::string& rules, const std::string& before = "") {
    coming = numbered(load(rules, "[liminal.metamorphic]\nkey = \"header:X-User\"\n" + before));
    old_generation = path->state.current->generation;
    new_generation = Generation::make(old_generation->number + 1, coming, old_generation.get(), 1).value();
    ring = std::make_shared<sense::SampleRing>();
    path->state.begin_transition(path->adoption_of(new_generation, backends),
                                 {.number = 1, .generation = {}, .view = {.seed = 7}, .ring = ring});
    static_cast<void>(roster.keep({{path->config, coming}}));
  }
  void see(double progress) {
    path->state.see({.seed = 7, .threshold = liminal::threshold_of(progress), .progress = progress});
  }
  // What was told of requests since the last time.
  std::vector<liminal::SideSample> told() {
    std::vector<liminal::SideSample> samples;
    ring->read(told_, [&](const sense::Sample& word) { samples.push_back(liminal::from_word(word)); });
    return samples;
  }
  ScriptedBackends::Backend& u(int number) { return backends["192.0.2." + std::to_string(number) + ":80"]; }
  std::string ask(const std::string& text) {
    client->send(text);
    return client->take();
  }
  std::string ask_as(int user) {
    client->send("GET / HTTP/1.1\r\nHost: a.test\r\nX-User: " + std::to_string(user) + "\r\n\r\n");
    client->pass(std::chrono::microseconds(1));
    return client->take();
  }
  std::uint64_t answered(std::uint32_t upstream) { return path->shard.upstream(upstream).responses[2].value(); }

  rt::VirtualLoop loop;
  ScriptedBackends backends{loop};
  Roster roster{1};
  std::unique_ptr<RequestPath> path;
  std::unique_ptr<Client> client;
  std::shared_ptr<const config::Config> coming;
  std::shared_ptr<const Generation> old_generation;
  std::shared_ptr<const Generation> new_generation;
  std::shared_ptr<sense::SampleRing> ring;
  std::uint64_t told_ = 0;
};

std::string by(int user) {
  return "GET / HTTP/1.1\r\nHost: a.test\r\nX-User: " + std::to_string(user) + "\r\n\r\n";
}

TEST_F(WorkerStateTest, TheNextRequestOfAConnectionHasTheNewConfiguration) {
  start(rule("old", {1}));
  EXPECT_THAT(ask(get("/1")), EndsWith("ok"));
  reload(rule("new", {2}, "filters = { response_headers_set = { X-New = \"1\" } }\n"));
  EXPECT_THAT(ask(get("/2")), HasSubstr("\r\nX-New: 1\r\n"));
  EXPECT_EQ(u(1).heads.size(), 1U);
  EXPECT_EQ(u(2).heads.size(), 1U);
  const auto lines = path->take_log();
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[0]["route"], "old");
  EXPECT_EQ(lines[1]["upstream"], "u2");
}

TEST_F(WorkerStateTest, ARequestEndsWithTheConfigurationItBeganWith) {
  start(rule("old", {1}, "filters = { response_headers_set = { X-Old = \"1\" } }\n"));
  u(1).otherwise = {read_head(), wait(seconds(5)), say(ok("late")), again()};
  client->send(get("/slow"));
  const Released released = reload(rule("new", {2}, "proxy = { first_byte_timeout_ms = 1 }\n"));
  EXPECT_THAT(released.upstreams, IsEmpty());
  EXPECT_THAT(released.rules, IsEmpty());
  EXPECT_EQ(path->in_flight.count(0), 1);
  client->pass(seconds(5));
  const std::string answer = client->take();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(answer, HasSubstr("\r\nX-Old: 1\r\n"));
  EXPECT_EQ(path->in_flight.count(0), 0);
  const auto lines = path->take_log();
  ASSERT_EQ(lines.size(), 1U);
  EXPECT_EQ(lines[0]["route"], "old");
  EXPECT_EQ(lines[0]["upstream"], "u1");
}

TEST_F(WorkerStateTest, ARetryGoesWhereTheRequestsOwnConfigurationSays) {
  start(rule("all", {1, 2}));
  u(1).otherwise = {read_head(), wait(seconds(1)), reset()};
  client->send(get("/again"));
  ASSERT_EQ(u(1).heads.size(), 1U);
  reload(rule("all", {3}));
  client->pass(seconds(2));
  EXPECT_THAT(client->take(), EndsWith("ok"));
  EXPECT_EQ(u(2).heads.size(), 1U);
  EXPECT_EQ(u(3).heads.size(), 0U);
}

TEST_F(WorkerStateTest, WhoIsGoneIsClosedAndClearedWithItsLastRequestAndNotBefore) {
  start(rule("old", {1}));
  Client other(loop, *path);
  u(1).connections = {{read_head(), say(ok("ok")), read_head(), wait(seconds(5)), say(ok("late")), again()},
                      {read_head(), wait(seconds(1)), say(ok("two")), again()}};
  EXPECT_THAT(ask(get("/1")), EndsWith("ok"));
  // Two connections, the first of which has served.
  client->send(get("/slow"));
  other.send(get("/fast"));
  EXPECT_EQ(u(1).opened, 2);
  EXPECT_THAT(reload(rule("new", {2})).upstreams, IsEmpty());
  other.pass(seconds(1));
  EXPECT_THAT(other.take(), EndsWith("two"));
  // It is idle, and may serve a retry of the other one.
  EXPECT_THAT(release().upstreams, IsEmpty());
  EXPECT_EQ(u(1).open, 2);
  EXPECT_EQ(answered(0), 2U);
  client->pass(seconds(6));
  EXPECT_THAT(client->take(), EndsWith("late"));
  EXPECT_EQ(answered(0), 3U);
  const Released released = release();
  EXPECT_THAT(released.upstreams, ElementsAre(0U));
  EXPECT_THAT(released.rules, ElementsAre(0U));
  loop.run_for(Nanoseconds::zero());
  EXPECT_EQ(u(1).open, 0);
  EXPECT_EQ(path->state.seats[0], nullptr);
  EXPECT_EQ(answered(0), 0U);
  EXPECT_EQ(path->shard.upstream(0).connections_idle.value(), 0);
  EXPECT_EQ(path->shard.upstream(0).connections_active.value(), 0);
  EXPECT_EQ(path->shard.route(0).requests[2].value(), 0U);
  EXPECT_EQ(path->shard.gone().requests[2].value(), 3U) << "the sum of all requests does not fall";
  EXPECT_EQ(path->in_flight.count(0), 0);
  EXPECT_THAT(release().upstreams, IsEmpty()) << "once";
}

TEST_F(WorkerStateTest, WhoStaysIsTheVerySame) {
  start(rule("a", {1, 2}, "match = { path_prefix = \"/x\" }\n") + rule("b", {3}, "match = { path_prefix = \"/b\" }\n"));
  for (int number : {1, 2}) {
    u(number).connections = {{read_head(), say(ok("ok")), read_head(), say(ok("ok")), read_head(), wait(seconds(5)),
                              say(ok("late")), again()}};
  }
  for (int i = 0; i < 4; ++i) EXPECT_THAT(ask(get("/x")), EndsWith("ok"));
  EXPECT_THAT(ask(get("/b")), EndsWith("ok"));
  Client held(loop, *path);
  held.send(get("/x/held"));
  const UpstreamSeat* seats[] = {path->state.seats[0].get(), path->state.seats[1].get(), path->state.seats[2].get()};
  const sense::UpstreamSignals* signals = &path->state.signals[0];
  const Instant now = loop.now();
  const double weight = signals->weight(now);
  const double mean = signals->mean_seconds(now);
  ASSERT_GT(weight, 0);
  const std::int64_t in_flight = path->in_flight.count(0) + path->in_flight.count(1);
  ASSERT_EQ(in_flight, 1);
  path->admission.drain(1, true);
  const std::uint64_t counts[] = {answered(0), answered(1), answered(2)};

  // Another one first, the rules the other way round.
  reload(rule("b", {3}, "match = { path_prefix = \"/b\" }\n") + rule("a", {4, 2, 1}));
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(path->state.seats[i].get(), seats[i]);
    EXPECT_EQ(answered(static_cast<std::uint32_t>(i)), counts[i]);
  }
  EXPECT_EQ(&path->state.signals[0], signals);
  EXPECT_EQ(signals->weight(now), weight);
  EXPECT_EQ(signals->mean_seconds(now), mean);
  EXPECT_EQ(path->in_flight.count(0) + path->in_flight.count(1), 1);
  EXPECT_TRUE(path->admission.drained(1));
  EXPECT_EQ(path->shard.route(0).requests[2].value(), 4U);
  EXPECT_EQ(path->shard.route(1).requests[2].value(), 1U);
  EXPECT_THAT(ask(get("/b")), EndsWith("ok"));
  EXPECT_EQ(u(3).opened, 1) << "its idle connection serves on";
  held.pass(seconds(6));
  EXPECT_THAT(held.take(), EndsWith("late"));
}

TEST_F(WorkerStateTest, ANumberThatIsUsedAnewBeginsWithNothing) {
  start(rule("a", {1}));
  EXPECT_THAT(ask(get("/1")), EndsWith("ok"));
  path->admission.drain(0, true);
  reload(rule("b", {2}));
  reload(rule("b", {2}) + rule("c", {3}, "match = { path_prefix = \"/c\" }\n"));
  ASSERT_EQ(path->config->upstreams[1].number, 0U);
  ASSERT_EQ(path->config->rules[1].number, 0U);
  EXPECT_EQ(answered(0), 0U);
  EXPECT_EQ(path->shard.route(0).requests[2].value(), 0U);
  EXPECT_FALSE(path->admission.drained(0));
  EXPECT_EQ(path->state.signals[0].weight(loop.now()), 0);
  EXPECT_EQ(path->state.seats[0]->name, "u3");
  EXPECT_THAT(ask(get("/2")), EndsWith("ok"));
  EXPECT_EQ(u(2).heads.size(), 1U);
  EXPECT_EQ(u(1).heads.size(), 1U);
}

TEST_F(WorkerStateTest, WhoComesBackWhileItsRequestsStillRunIsANewOne) {
  start(rule("a", {1}));
  u(1).connections = {{read_head(), wait(seconds(5)), say(ok("late")), again()}};
  client->send(get("/slow"));
  reload(rule("b", {2}));
  reload(rule("a", {1}));
  EXPECT_EQ(path->config->upstreams[0].number, 2U);
  Client other(loop, *path);
  other.send(get("/new"));
  EXPECT_THAT(other.take(), EndsWith("ok"));
  EXPECT_EQ(answered(2), 1U);
  client->pass(seconds(6));
  EXPECT_THAT(client->take(), EndsWith("late"));
  EXPECT_EQ(answered(0), 1U);
  EXPECT_THAT(release().upstreams, ElementsAre(0U));
  EXPECT_EQ(answered(2), 1U);
}

TEST_F(WorkerStateTest, SettingsOfAPoolThatStaysAreTheNewOnes) {
  start(rule("a", {1}));
  EXPECT_THAT(ask(get("/1")), EndsWith("ok"));
  reload(rule("a", {1}), "[proxy]\npool_max_idle = 0");
  EXPECT_THAT(ask(get("/2")), EndsWith("ok"));
  EXPECT_EQ(u(1).opened, 1);
  EXPECT_EQ(u(1).open, 0) << "no connection is kept any more";
  EXPECT_THAT(ask(get("/3")), EndsWith("ok"));
  EXPECT_EQ(u(1).opened, 2);
}

TEST_F(WorkerStateTest, TheRetryBudgetGoesOn) {
  const std::string frugal = "[proxy]\nretry_budget_percent = 0\nretry_budget_min_per_second = 1";
  start(rule("a", {1, 2}), frugal);
  EXPECT_TRUE(path->state.retry_budget.available(loop.now()));
  path->state.retry_budget.spend();
  reload(rule("a", {1, 2, 3}), frugal);
  EXPECT_FALSE(path->state.retry_budget.available(loop.now())) << "a reload is no new budget";
  reload(rule("a", {1, 2, 3}), "[proxy]\nretry_budget_percent = 0\nretry_budget_min_per_second = 100");
  loop.run_for(milliseconds(100));
  EXPECT_TRUE(path->state.retry_budget.available(loop.now())) << "it fills as the new one says";
}

TEST_F(WorkerStateTest, AWebSocketGoesOnOverReloads) {
  start(rule("a", {1}));
  constexpr std::string_view kFrame("\x81\x02hi", 4);
  u(1).otherwise = {read_head(),
                    say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"),
                    wait(seconds(30)), say(std::string(kFrame))};
  client->send(
      "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n");
  EXPECT_THAT(client->take(), StartsWith("HTTP/1.1 101 "));
  for (int i = 2; i < 12; ++i) {
    const Released released = reload(rule("b", {i}, "proxy = { websocket_idle_timeout_ms = 1 }\n"));
    EXPECT_THAT(released.upstreams, testing::Not(testing::Contains(0U)));
    client->pass(seconds(1));
  }
  EXPECT_EQ(path->in_flight.count(0), 1);
  client->pass(seconds(21));
  EXPECT_EQ(client->take(), kFrame);
  EXPECT_FALSE(client->closed);
  client->leave();
  loop.run_for(seconds(60));
  EXPECT_EQ(path->in_flight.count(0), 0);
  EXPECT_THAT(release().upstreams, testing::Contains(0U));
}

TEST_F(WorkerStateTest, AClientSeesOneSideAndStaysOnTheNewOne) {
  start(rule("a", {1}));
  begin_transition(rule("a", {2}));
  for (int user = 0; user < 20; ++user) EXPECT_THAT(ask_as(user), EndsWith("ok"));
  EXPECT_EQ(u(2).heads.size(), 0U) << "nobody before the first step";
  std::vector<bool> on_new(400);
  for (const double progress : {0.1, 0.3, 0.3, 0.6, 1.0}) {
    see(progress);
    int count = 0;
    for (int user = 0; user < 400; ++user) {
      const std::size_t before = u(2).heads.size();
      EXPECT_THAT(ask_as(user), EndsWith("ok"));
      const bool is_new = u(2).heads.size() > before;
      const auto index = static_cast<std::size_t>(user);
      EXPECT_TRUE(is_new || !on_new[index]) << user << " has gone back at " << progress;
      on_new[index] = is_new;
      count += is_new ? 1 : 0;
    }
    EXPECT_NEAR(count / 400.0, progress, 0.08);
  }
  see(0);
  const std::size_t before = u(2).heads.size();
  for (int user = 0; user < 20; ++user) EXPECT_THAT(ask_as(user), EndsWith("ok"));
  EXPECT_EQ(u(2).heads.size(), before) << "taken back: nobody";
}

// Of 40,000 clients, with a request each.
TEST_F(WorkerStateTest, WeightsAreBetweenTheOldAndTheNewOnes) {
  const auto weighted = [](int first, int second, int third) {
    std::string toml = "[[routes.rule]]\nname = \"a\"\npolicy = \"round-robin\"\nslow_start_ms = 0\n";
    for (const auto& [number, weight] : {std::pair{1, first}, {2, second}, {3, third}}) {
      if (weight == 0) continue;
      const std::string text = std::to_string(number);
      toml += "[[routes.rule.upstreams]]\nname = \"u" + text + "\"\nurl = \"http://192.0.2." + text +
              ":80\"\nweight = " + std::to_string(weight) + "\n";
    }
    return toml;
  };
  start(weighted(8, 2, 0));
  begin_transition(weighted(1, 3, 6));
  constexpr int kClients = 40'000;
  for (const double progress : {0.25, 0.5, 0.75}) {
    see(progress);
    std::size_t before[4] = {};
    for (const int number : {1, 2, 3}) before[number] = u(number).heads.size();
    for (int user = 0; user < kClients; ++user) {
      EXPECT_THAT(ask_as(user), EndsWith("ok"));
    }
    const std::vector<liminal::UpstreamShare> shares =
        liminal::shares_of(*path->config, path->config->rules[0], *coming, coming->rules[0], progress);
    ASSERT_EQ(shares.size(), 3U);
    for (const liminal::UpstreamShare& wanted : shares) {
      const int number = wanted.upstream.back() - '0';
      const double share = static_cast<double>(u(number).heads.size() - before[number]) / kClients;
      EXPECT_NEAR(share, wanted.share, 0.01) << wanted.upstream << " at " << progress;
    }
  }
}

TEST_F(WorkerStateTest, HowRequestsOfBothSidesEndIsTold) {
  start(rule("a", {1}));
  u(1).otherwise = {read_head(), wait(seconds(1)), say(ok("ok")), again()};
  begin_transition(rule("a", {2}) + rule("b", {3}, "match = { path_exact = \"/b\" }\n"));
  u(2).otherwise = answers("HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n");
  see(0.5);
  for (int user = 1; user < 30; ++user) client->send(by(user));
  client->pass(seconds(60));
  const auto samples = told();
  ASSERT_EQ(samples.size(), 29U);
  int on_new = 0;
  for (const liminal::SideSample& sample : samples) {
    const bool is_new = sample.side == liminal::Side::new_config;
    on_new += is_new ? 1 : 0;
    EXPECT_EQ(sample.failed, is_new);
    if (!is_new) EXPECT_EQ(sample.bucket, sense::log_bucket_of(1'000'000'000));
  }
  EXPECT_GT(on_new, 5);
  EXPECT_LT(on_new, 25);
}

TEST_F(WorkerStateTest, ATransitionThatIsTakenBackLeavesNothing) {
  start(rule("a", {1}));
  begin_transition(rule("a", {2}));
  u(2).otherwise = {read_head(), wait(seconds(5)), say(ok("late")), again()};
  see(1);
  client->send(by(1));
  path->state.end_transition();
  static_cast<void>(roster.keep({{path->config}}));
  EXPECT_THAT(release().upstreams, IsEmpty()) << "a request is there still";
  client->pass(seconds(6));
  EXPECT_THAT(client->take(), EndsWith("late"));
  EXPECT_THAT(told(), IsEmpty()) << "it came too late to count";
  EXPECT_THAT(release().upstreams, ElementsAre(1U));
  EXPECT_THAT(ask_as(1), EndsWith("ok"));
  EXPECT_EQ(u(1).heads.size(), 1U);
}

TEST_F(WorkerStateTest, ATransitionThatIsFinishedIsTheConfiguration) {
  start(rule("a", {1}), "[proxy]\nretry_budget_percent = 0\nretry_budget_min_per_second = 1");
  begin_transition(rule("a", {2}), "[proxy]\nretry_budget_percent = 0\nretry_budget_min_per_second = 101\n");
  see(0.5);
  EXPECT_TRUE(path->state.retry_budget.available(loop.now()));
  path->state.retry_budget.spend();
  loop.run_for(milliseconds(10));
  EXPECT_FALSE(path->state.retry_budget.available(loop.now())) << "51 a second: half of one";
  loop.run_for(milliseconds(10));
  EXPECT_TRUE(path->state.retry_budget.available(loop.now()));
  path->state.adopt({});
  path->config = coming;
  static_cast<void>(roster.keep({{coming}}));
  EXPECT_FALSE(path->state.new_side.has_value());
  EXPECT_THAT(release().upstreams, ElementsAre(0U));
  EXPECT_THAT(ask_as(1), EndsWith("ok"));
  EXPECT_EQ(u(2).heads.size(), 1U);
}

// A route's limit of 10 a second that becomes one of 30: both sides count together, by what is between.
TEST_F(WorkerStateTest, ALimitThatBothSidesHaveIsOneAndBetween) {
  const auto limited = [](int rps) {
    return rule("a", {1}, "filters.rate_limit = { rps = " + std::to_string(rps) + ", burst = 5 }\n");
  };
  start(limited(10));
  begin_transition(limited(30));
  InterimLimits limits(old_generation, new_generation);
  const auto admitted_in_ten_seconds = [&] {
    int admitted = 0;
    for (int i = 0; i < 1000; ++i) {
      loop.run_for(milliseconds(10));
      admitted += ask_as(i).starts_with("HTTP/1.1 200 ") ? 1 : 0;
    }
    return admitted;
  };
  for (const double progress : {0.0, 0.5, 1.0}) {
    limits.set(progress);
    see(progress);
    EXPECT_NEAR(admitted_in_ten_seconds(), 10 * (10 + 20 * progress), 20) << progress;
  }
  limits.end();
  path->state.adopt({});
  EXPECT_NEAR(admitted_in_ten_seconds(), 300, 20);
}

// One that only the new side has is that side's, for the part of the clients that it has.
TEST_F(WorkerStateTest, ALimitOfOneSideIsThatSides) {
  start(rule("a", {1}));
  begin_transition(rule("a", {2}, "filters.rate_limit = { rps = 20, burst = 1 }\n"));
  InterimLimits limits(old_generation, new_generation);
  limits.set(0.5);
  see(0.5);
  int refused = 0;
  for (int i = 0; i < 1000; ++i) {
    loop.run_for(milliseconds(10));
    refused += ask_as(i).starts_with("HTTP/1.1 429 ") ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(u(2).heads.size()), 100, 10);
  EXPECT_EQ(u(1).heads.size() + u(2).heads.size() + static_cast<std::size_t>(refused), 1000U);
  EXPECT_NEAR(static_cast<double>(u(1).heads.size()), 500, 60);
}

}  // namespace
}  // namespace dao::server

// What the filters of a route cost a request, without reading and writing heads.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <string>

#include "dao/config/load.h"
#include "dao/flow/asking_exchange.h"
#include "dao/flow/filtered_exchange.h"
#include "dao/flow/gcra.h"
#include "dao/flow/hash.h"

namespace dao::flow {
namespace {

config::Config load(const std::string& filters) {
  auto loaded = config::load_text("[[routes.rule]]\nname = \"r\"\n" + filters +
                                      "[[routes.rule.upstreams]]\nname = \"a\"\nurl = \"http://192.0.2.1\"\n"
                                      "[[routes.rule.upstreams]]\nname = \"b\"\nurl = \"http://192.0.2.2\"\n",
                                  "bench");
  if (!loaded) std::abort();
  return std::move(loaded->config);
}

void run_chain(benchmark::State& state, const std::string& filters) {
  const config::Config config = load(filters);
  const auto shared = Shared::make(config, 1).value();
  const auto chain = Chain::compile(config, 0, *shared);
  sense::RouteCounters counters;
  Random random(1);
  AskingExchange client;
  ManualClock clock;
  clock.advance(std::chrono::hours(1));
  for (auto _ : state) {
    client.begin();
    clock.advance(std::chrono::milliseconds(1));
    if (chain == nullptr) continue;
    FilteredExchange exchange(*chain, client, {.random = random, .counters = counters});
    const Result<> admitted = exchange.admit(clock.now(), clock);
    benchmark::DoNotOptimize(admitted);
    benchmark::DoNotOptimize(exchange.answer());
    benchmark::DoNotOptimize(exchange.select());
    exchange.edit_request();
    exchange.chosen(0, "a", "192.0.2.1");
    const auto sending = exchange.send_head(client.response, {}, {{}, true});
    benchmark::DoNotOptimize(&sending);
  }
}

void BM_NoFilters(benchmark::State& state) {
  run_chain(state, "");
}
void BM_FieldEdits(benchmark::State& state) {
  run_chain(
      state,
      "[routes.rule.filters]\nrequest_headers_set = { \"X-Real-IP\" = \"$client_ip\", Host = \"$upstream_host\" }\n"
      "request_headers_add = { \"X-Asked\" = \"$scheme://$host$path\" }\nresponse_headers_remove = [\"Server\"]\n"
      "response_headers_add = { \"X-Served-By\" = \"$upstream\" }\n");
}
void BM_RateLimitByClient(benchmark::State& state) {
  run_chain(state, "[routes.rule.filters.rate_limit]\nrps = 10000\nkey = \"client\"\n");
}
void BM_RewriteByRegex(benchmark::State& state) {
  run_chain(state, "[routes.rule.rewrite]\nregex = '^/api/v([0-9]+)/(.*)$'\nreplacement = \"/$2\"\n");
}
void BM_StickyAndSplit(benchmark::State& state) {
  run_chain(state,
            "[routes.rule.sticky]\ncookie = \"s\"\nsecret = \"0123456789abcdef\"\n"
            "[[routes.rule.split]]\nname = \"x\"\nweight = 1\nupstreams = \"a\"\n"
            "[[routes.rule.split]]\nname = \"y\"\nweight = 1\nupstreams = \"b\"\n");
}
BENCHMARK(BM_NoFilters);
BENCHMARK(BM_FieldEdits);
BENCHMARK(BM_RateLimitByClient);
BENCHMARK(BM_RewriteByRegex);
BENCHMARK(BM_StickyAndSplit);

// One count, asked by many threads at once.
void BM_GcraCell(benchmark::State& state) {
  static GcraCell cell({.requests = 1'000'000, .period = std::chrono::seconds(1), .burst = 1000});
  Instant now{std::chrono::hours(1)};
  for (auto _ : state) {
    now += std::chrono::nanoseconds(500);
    benchmark::DoNotOptimize(cell.admit(now));
  }
}
BENCHMARK(BM_GcraCell)->Threads(1)->Threads(2);

void BM_GcraTable(benchmark::State& state) {
  GcraTable table({.requests = 10, .period = std::chrono::seconds(1), .burst = 5}, 65'536);
  Instant now{std::chrono::hours(1)};
  std::uint64_t number = 0;
  for (auto _ : state) {
    now += std::chrono::microseconds(100);
    benchmark::DoNotOptimize(table.admit(mix(++number % 50'000, 0x9e3779b97f4a7c15U), now));
  }
}
BENCHMARK(BM_GcraTable);

}  // namespace
}  // namespace dao::flow

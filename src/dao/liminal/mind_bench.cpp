// What one step of the mind costs, ten of which are made in a second, with few upstreams and with many that are mostly
// idle.
#include <benchmark/benchmark.h>

#include <array>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "dao/base/random.h"
#include "dao/config/config.h"
#include "dao/liminal/mind.h"

namespace dao::liminal {
namespace {

// Five upstreams for each route. `requests` in each step, all to the first `busy` upstreams.
void mind_step(benchmark::State& state) {
  const auto upstreams = static_cast<std::uint32_t>(state.range(0));
  const auto busy = static_cast<std::uint32_t>(state.range(1));
  const auto requests = static_cast<std::size_t>(state.range(2));
  constexpr std::uint32_t kPerRoute = 5;
  constexpr std::size_t kShards = 4;
  auto config = std::make_shared<config::Config>();
  for (std::uint32_t i = 0; i < upstreams; ++i) {
    config->upstreams.push_back(
        {.name = "backend-" + std::to_string(i), .number = static_cast<std::uint32_t>(i), .url = {}});
    if (i % kPerRoute == 0) {
      const auto number = static_cast<std::uint32_t>(config->rules.size());
      config->rules.emplace_back().number = number;
    }
    config->rules.back().upstreams.push_back({.index = i});
  }
  std::vector<std::unique_ptr<sense::Shard>> shards;
  std::vector<const sense::Shard*> readable;
  for (std::size_t i = 0; i < kShards; ++i) {
    readable.push_back(shards.emplace_back(std::make_unique<sense::Shard>(config->rules.size(), upstreams)).get());
  }
  const sense::InFlight in_flight{upstreams};
  sense::Admission admission{upstreams};
  Mind mind{config, {.shards = readable, .in_flight = in_flight, .admission = admission}};
  Random random{1};
  Instant now{std::chrono::seconds(1)};
  const auto serve = [&] {
    for (std::size_t i = 0; i < requests; ++i) {
      sense::Shard& shard = *shards[i % kShards];
      const auto upstream = static_cast<std::uint32_t>(random.below(busy));
      const std::uint64_t duration = 1'000'000 + (random.next() >> (36 + random.below(8)));
      sense::report_outcome(shard.upstream(upstream).outcomes, admission, upstream, sense::Outcome::success, 3);
      shard.record(sense::FinishedAttempt{.upstream = upstream, .status = 200, .head_ns = duration});
      shard.record(sense::FinishedRequest{.route = upstream / kPerRoute, .status = 200, .duration_ns = duration});
    }
    now += kStepInterval;
  };
  std::deque<sense::ViewPtr> held;  // workers have the last one, and whoever is asked about it one more
  const auto step = [&] {
    held.push_back(mind.step(now));
    if (held.size() > 2) held.pop_front();
    benchmark::DoNotOptimize(mind.take_due_probes(now, 64));
  };
  for (int i = 0; i < 20; ++i) {
    serve();
    step();
  }
  for (auto _ : state) {
    state.PauseTiming();
    serve();
    state.ResumeTiming();
    step();
  }
}
BENCHMARK(mind_step)
    ->ArgNames({"upstreams", "busy", "requests"})
    ->Args({8, 8, 1000})
    ->Args({1000, 100, 1000})
    ->Args({50'000, 100, 1000})
    ->Args({50'000, 1000, 1000})
    ->Args({50'000, 50'000, 1000})
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace dao::liminal

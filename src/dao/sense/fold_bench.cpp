// What one step of the mind's fold costs, ten of which are made in a second.
#include <benchmark/benchmark.h>

#include <memory>
#include <vector>

#include "dao/base/random.h"
#include "dao/sense/fold.h"

namespace dao::sense {
namespace {

// `requests` since the last step, spread over all upstreams and shards, with full windows.
void fold_step(benchmark::State& state) {
  const auto upstreams = static_cast<std::uint32_t>(state.range(0));
  const auto shard_count = static_cast<std::size_t>(state.range(1));
  const auto requests = static_cast<std::size_t>(state.range(2));
  std::vector<std::unique_ptr<Shard>> shards;
  std::vector<const Shard*> readable;
  for (std::size_t i = 0; i < shard_count; ++i) {
    readable.push_back(shards.emplace_back(std::make_unique<Shard>(1, upstreams)).get());
  }
  std::vector<std::uint32_t> all;
  for (std::uint32_t i = 0; i < upstreams; ++i) all.push_back(i);
  const InFlight in_flight{upstreams};
  Fold fold{readable, {{.route = 0, .upstreams = all}}, in_flight};
  Random random{1};
  Instant now{};
  View view;
  const auto serve = [&] {
    for (std::size_t i = 0; i < requests; ++i) {
      Shard& shard = *shards[i % shard_count];
      const std::uint64_t duration = 1'000'000 + (random.next() >> (36 + random.below(8)));
      shard.record(FinishedAttempt{
          .upstream = static_cast<std::uint32_t>(random.below(upstreams)), .status = 200, .head_ns = duration});
      shard.record(FinishedRequest{.route = 0, .status = 200, .duration_ns = duration});
    }
    now += std::chrono::milliseconds(100);
  };
  for (int i = 0; i < 600; ++i) {
    serve();
    fold.step(now, view);
  }
  for (auto _ : state) {
    state.PauseTiming();
    serve();
    state.ResumeTiming();
    fold.step(now, view);
  }
  benchmark::DoNotOptimize(view.upstreams.data());
}
BENCHMARK(fold_step)
    ->ArgNames({"upstreams", "shards", "requests"})
    ->Args({8, 4, 1000})
    ->Args({8, 4, 10'000})
    ->Args({1000, 4, 1000})
    ->Args({1000, 4, 10'000})
    ->Args({50'000, 4, 1000})
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace dao::sense

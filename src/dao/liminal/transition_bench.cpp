// What a transition costs: a request on a worker, and a step of the mind.
#include <benchmark/benchmark.h>

#include <array>
#include <cstring>
#include <string>

#include "dao/liminal/transition_world.h"

namespace dao::liminal {
namespace {

void side_by_address(benchmark::State& state, std::size_t length) {
  std::array<std::uint8_t, 16> address{};
  std::uint32_t number = 0;
  std::uint64_t threshold = threshold_of(0.3);
  std::uint64_t seed = 77;
  benchmark::DoNotOptimize(threshold);
  benchmark::DoNotOptimize(seed);
  for (auto _ : state) {
    ++number;
    std::memcpy(address.data(), &number, sizeof number);
    const ClientPoint point = point_of_address({address.data(), length}, 64, seed);
    benchmark::DoNotOptimize(side_of(point, threshold));
  }
}
BENCHMARK_CAPTURE(side_by_address, ipv4, 4);
BENCHMARK_CAPTURE(side_by_address, ipv6, 16);

void side_by_key(benchmark::State& state) {
  const std::string value = "0123456789abcdef0123456789abcdef";
  std::uint64_t seed = 77;
  for (auto _ : state) {
    benchmark::DoNotOptimize(seed);
    benchmark::DoNotOptimize(side_of(point_of_key(value, seed), threshold_of(0.3)));
  }
}
BENCHMARK(side_by_key);

// The mind's part of one request, blocks and evidence included.
void mind_for_each_request(benchmark::State& state) {
  Random random(1);
  Transition transition({}, std::chrono::hours(10), 1, Instant{}, "a benchmark");
  Instant now{};
  const auto per_step = static_cast<std::uint64_t>(state.range(0)) / 10;
  std::uint64_t in_step = 0;
  for (auto _ : state) {
    const auto point = static_cast<ClientPoint>(random.next());
    transition.add({.side = side_of(point, threshold_of(0.3)),
                    .cell = cell_of(point),
                    .bucket = static_cast<std::uint16_t>(900 + random.below(200))});
    if (++in_step < per_step) continue;
    in_step = 0;
    now += std::chrono::milliseconds(100);
    transition.step(now);
  }
}
BENCHMARK(mind_for_each_request)->Arg(1000)->Arg(10'000)->Arg(100'000);

}  // namespace
}  // namespace dao::liminal

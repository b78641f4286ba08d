// What counting one finished exchange costs a worker: one request and one attempt.
#include <benchmark/benchmark.h>

#include <array>

#include "dao/base/random.h"
#include "dao/sense/shard.h"

namespace dao::sense {
namespace {

// Durations, routes and upstreams vary, so that neither the branch predictor nor one cache line answers for all.
void record_exchange(benchmark::State& state) {
  const auto upstreams = static_cast<std::uint32_t>(state.range(0));
  Shard shard{upstreams, upstreams};
  Random random{1};
  std::array<FinishedRequest, 1024> requests;
  std::array<FinishedAttempt, 1024> attempts;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const auto upstream = static_cast<std::uint32_t>(random.below(upstreams));
    const std::uint64_t duration = 50'000 + (random.next() >> (36 + random.below(12)));
    const auto status = static_cast<std::uint16_t>(random.below(20) == 0 ? 404 : 200);
    requests[i] = {upstream, status, random.below(1000), random.below(100'000), duration};
    attempts[i] = {upstream, status, ErrorKind::none, random.below(10) != 0, duration - 20'000};
  }
  std::size_t i = 0;
  for (auto _ : state) {
    shard.record(requests[i % requests.size()]);
    shard.record(attempts[i % attempts.size()]);
    ++i;
  }
  benchmark::DoNotOptimize(shard.routes().data());
}
BENCHMARK(record_exchange)->ArgName("upstreams")->Arg(1)->Arg(8)->Arg(1000);

void find_bucket(benchmark::State& state) {
  Random random{1};
  std::array<std::uint64_t, 1024> durations{};
  for (auto& duration : durations) duration = random.next() >> (24 + random.below(24));
  std::size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(bucket_of(durations[i++ % durations.size()]));
}
BENCHMARK(find_bucket);

}  // namespace
}  // namespace dao::sense

// What choosing costs a worker, alone and with everything else that is counted for a request.
#include <benchmark/benchmark.h>

#include <array>
#include <vector>

#include "dao/align/policy.h"
#include "dao/align/stable_hash.h"
#include "dao/sense/shard.h"

namespace dao::align {
namespace {

// Upstreams under a usual load: some requests under way, answers seen.
class Worker {
 public:
  Worker(config::Policy kind, std::uint32_t upstreams)
      : in_flight_(upstreams),
        admission_(upstreams),
        signals_(upstreams),
        shard_(1, upstreams),
        policy_(make_policy({.kind = kind})) {
    view_.number = 1;
    view_.upstreams.resize(upstreams);
    for (std::uint32_t i = 0; i < upstreams; ++i) {
      candidates_.push_back({.upstream = i, .weight = 1 + i % 3, .identity = mixed(i + 1)});
      for (std::uint64_t n = random_.below(4); n > 0; --n) in_flight_.enter(i);
      for (int n = 0; n < 20; ++n) {
        signals_[i].sent(now_);
        signals_[i].answered(now_, now_ + std::chrono::microseconds(1000 + random_.below(9000)), false);
      }
    }
    policy_->prepare(candidates_);
  }

  std::size_t choose() {
    now_ += std::chrono::microseconds(20);
    const Choosing choosing{.candidates = candidates_,
                            .in_flight = in_flight_,
                            .admission = admission_,
                            .signals = signals_,
                            .view = view_,
                            .now = now_,
                            .random = random_,
                            .key = mixed(static_cast<std::uint64_t>(now_.time_since_epoch().count()))};
    return *policy_->choose(choosing);
  }

  // One request: chosen, sent, answered, counted.
  void serve() {
    const auto upstream = static_cast<std::uint32_t>(choose());
    in_flight_.enter(upstream);
    signals_[upstream].sent(now_);
    const Nanoseconds took = std::chrono::microseconds(1000 + (now_.time_since_epoch().count() & 0xfffU));
    signals_[upstream].answered(now_, now_ + took, false);
    in_flight_.leave(upstream);
    const auto nanoseconds = static_cast<std::uint64_t>(took.count());
    shard_.record(
        sense::FinishedAttempt{.upstream = upstream, .status = 200, .reused_connection = true, .head_ns = nanoseconds});
    shard_.record(sense::FinishedRequest{
        .route = 0, .status = 200, .request_bytes = 100, .response_bytes = 1000, .duration_ns = nanoseconds});
  }

 private:
  Random random_{1};
  Instant now_{std::chrono::seconds(1000)};
  sense::InFlight in_flight_;
  sense::Admission admission_;
  std::vector<sense::UpstreamSignals> signals_;
  sense::View view_;
  sense::Shard shard_;
  std::vector<Candidate> candidates_;
  std::unique_ptr<Policy> policy_;
};

template <config::Policy kind>
void choose(benchmark::State& state) {
  Worker worker(kind, static_cast<std::uint32_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(worker.choose());
}

template <config::Policy kind>
void choose_and_record(benchmark::State& state) {
  Worker worker(kind, static_cast<std::uint32_t>(state.range(0)));
  for (auto _ : state) worker.serve();
}

#define DAO_BENCH_POLICY(kind)                                                      \
  BENCHMARK(choose<config::Policy::kind>)->ArgName("upstreams")->Arg(8)->Arg(1000); \
  BENCHMARK(choose_and_record<config::Policy::kind>)->ArgName("upstreams")->Arg(8)->Arg(1000)

DAO_BENCH_POLICY(round_robin);
DAO_BENCH_POLICY(random);
DAO_BENCH_POLICY(least_connections);
DAO_BENCH_POLICY(two_choices);
DAO_BENCH_POLICY(peak_ewma);
DAO_BENCH_POLICY(consistent_hash);
DAO_BENCH_POLICY(resonant);

}  // namespace
}  // namespace dao::align

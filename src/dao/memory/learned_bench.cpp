// What it costs the mind's thread to keep what it has learned, and the store's thread to write it, with many upstreams.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>

#include "dao/base/log.h"
#include "dao/config/load.h"
#include "dao/memory/learned.h"
#include "dao/memory/sqlite_store.h"

namespace dao::memory {
namespace {

constexpr std::uint32_t kUpstreams = 50'000;

struct World {
  World() {
    log::set_level(log::Level::error);
    directory = std::filesystem::temp_directory_path() / ("dao-learned-bench-" + std::to_string(getpid()));
    std::filesystem::remove_all(directory);
    store = SqliteStore::open({.path = directory / "dao.db"}, system_clock).value();
    learned = std::make_unique<Learned>(*store, system_clock);
    auto made = std::make_shared<config::Config>();
    made->rules.emplace_back().name = "r";
    for (std::uint32_t i = 0; i < kUpstreams; ++i) {
      config::Upstream upstream{.name = "upstream-" + std::to_string(i), .url = {}};
      upstream.url.text = "http://10.0.0.1:" + std::to_string(i + 1);
      made->upstreams.push_back(std::move(upstream));
      made->rules[0].upstreams.push_back({.index = i});
    }
    config = made;
    shard = std::make_unique<sense::Shard>(1, kUpstreams);
    in_flight = std::make_unique<sense::InFlight>(kUpstreams);
    admission = std::make_unique<sense::Admission>(kUpstreams);
    mind = std::make_unique<liminal::Mind>(
        config, liminal::Mind::Senses{.shards = {shard.get()}, .in_flight = *in_flight, .admission = *admission});
    answer_all(sense::Outcome::success);
    learned->adopt(Roster::of(*config), *mind, now);
  }
  ~World() {
    store.reset();
    std::filesystem::remove_all(directory);
  }
  void answer_all(sense::Outcome outcome) {
    for (std::uint32_t i = 0; i < kUpstreams; ++i) shard->upstream(i).outcomes[static_cast<std::size_t>(outcome)].add();
    now += std::chrono::seconds(1);
    mind->step(now);
  }

  const SystemClock system_clock;
  std::filesystem::path directory;
  Instant now{std::chrono::hours(1)};
  std::unique_ptr<Store> store;
  std::unique_ptr<Learned> learned;
  std::shared_ptr<const config::Config> config;
  std::unique_ptr<sense::Shard> shard;
  std::unique_ptr<sense::InFlight> in_flight;
  std::unique_ptr<sense::Admission> admission;
  std::unique_ptr<liminal::Mind> mind;
};

// A second in which nothing changed.
void learned_second_without_change(benchmark::State& state) {
  World world;
  world.learned->save_all(*world.mind, world.now);
  for ([[maybe_unused]] const auto _ : state) {
    world.now += std::chrono::seconds(1);
    world.learned->step(*world.mind, world.now);
  }
}
BENCHMARK(learned_second_without_change)->Unit(benchmark::kMillisecond);

// A second of traffic with failures everywhere: each history that is looked at has changed.
void learned_second_of_traffic(benchmark::State& state) {
  World world;
  world.learned->save_all(*world.mind, world.now);
  bool good = false;
  for ([[maybe_unused]] const auto _ : state) {
    state.PauseTiming();
    world.answer_all(good ? sense::Outcome::success : sense::Outcome::server_error);
    good = !good;
    world.store->flush(std::chrono::seconds(60));
    state.ResumeTiming();
    world.learned->step(*world.mind, world.now);
  }
}
BENCHMARK(learned_second_of_traffic)->Unit(benchmark::kMillisecond);

// All 50,000 at once, as at the end of DAO: handing them over, and with their way to the disk.
void learned_save_all(benchmark::State& state) {
  World world;
  const bool to_disk = state.range(0) != 0;
  bool good = false;
  for ([[maybe_unused]] const auto _ : state) {
    state.PauseTiming();
    world.answer_all(good ? sense::Outcome::success : sense::Outcome::server_error);
    good = !good;
    world.store->flush(std::chrono::seconds(60));
    state.ResumeTiming();
    world.learned->save_all(*world.mind, world.now);
    if (to_disk) world.store->flush(std::chrono::seconds(60));
  }
}
BENCHMARK(learned_save_all)->ArgName("to_disk")->Arg(0)->Arg(1)->Unit(benchmark::kMillisecond);

void learned_restore(benchmark::State& state) {
  World world;
  world.learned->save_all(*world.mind, world.now);
  world.store->flush(std::chrono::seconds(60));
  for ([[maybe_unused]] const auto _ : state) {
    Learned next(*world.store, world.system_clock);
    benchmark::DoNotOptimize(next.adopt(Roster::of(*world.config), *world.mind, world.now));
  }
}
BENCHMARK(learned_restore)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace dao::memory

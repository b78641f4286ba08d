// What the runtime costs: awaiting a task, waking a waiter, a timer.
#include <benchmark/benchmark.h>

#include "dao/rt/event.h"
#include "dao/rt/join.h"

namespace dao::rt {
namespace {

constexpr int kBatch = 1000;

[[gnu::noinline]] Task<int> leaf(int value) {
  co_return value;
}

// A call that returns at once, as most calls of the request path do.
void await_a_task(benchmark::State& state) {
  VirtualLoop loop;
  auto many = []() -> Task<int> {
    int sum = 0;
    for (int i = 0; i < kBatch; ++i) {
      auto one = leaf(i);
      const int value = co_await std::move(one);
      sum += value;
    }
    co_return sum;
  };
  for (auto _ : state) benchmark::DoNotOptimize(loop.run_task(many()));
  state.SetItemsProcessed(state.iterations() * kBatch);
}
BENCHMARK(await_a_task);

void join_two_tasks(benchmark::State& state) {
  VirtualLoop loop;
  auto many = []() -> Task<int> {
    int sum = 0;
    for (int i = 0; i < kBatch; ++i) {
      auto both = join(leaf(i), leaf(i));
      const auto [a, b] = co_await std::move(both);
      sum += a + b;
    }
    co_return sum;
  };
  for (auto _ : state) benchmark::DoNotOptimize(loop.run_task(many()));
  state.SetItemsProcessed(state.iterations() * kBatch);
}
BENCHMARK(join_two_tasks);

// Two tasks that wake each other in turn, each wait with a deadline and a Cancel as in production.
void wake_a_waiter(benchmark::State& state) {
  VirtualLoop loop;
  Event ping;
  Event pong;
  Cancel cancel;
  auto player = [](VirtualLoop& the_loop, Event& mine, Event& other, Cancel& off, bool serves) -> Task<> {
    if (serves) other.set();
    for (int i = 0; i < kBatch; ++i) {
      const Wake wake = co_await mine.wait(the_loop, the_loop.now() + std::chrono::seconds(30), &off);
      static_cast<void>(wake);
      other.set();
    }
  };
  auto game = [&]() -> Task<> {
    struct Done {};
    auto left = [](Task<> inner) -> Task<Done> {
      co_await std::move(inner);
      co_return Done{};
    };
    auto both = join(left(player(loop, ping, pong, cancel, true)), left(player(loop, pong, ping, cancel, false)));
    const auto ended = co_await std::move(both);
    static_cast<void>(ended);
  };
  for (auto _ : state) loop.run_task(game());
  state.SetItemsProcessed(state.iterations() * kBatch * 2);
}
BENCHMARK(wake_a_waiter);

// A deadline that is set and called off: nearly every timer's life.
void set_and_cancel_a_timer(benchmark::State& state) {
  TimerWheel wheel{Instant{}};
  Timer timer;
  timer.fire = [](Timer&) {};
  Instant now{};
  for (auto _ : state) {
    now += std::chrono::microseconds(10);
    wheel.schedule(timer, now + std::chrono::seconds(30));
    wheel.cancel(timer);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(set_and_cancel_a_timer);

void let_a_timer_fire(benchmark::State& state) {
  TimerWheel wheel{Instant{}};
  std::size_t fired = 0;
  struct Counting : Timer {
    std::size_t* count = nullptr;
  } timer;
  timer.count = &fired;
  timer.fire = [](Timer& self) { ++*static_cast<Counting&>(self).count; };
  const auto delay = std::chrono::milliseconds(state.range(0));
  Instant now{};
  for (auto _ : state) {
    wheel.schedule(timer, now + delay);
    now += delay;
    wheel.advance(now);
  }
  benchmark::DoNotOptimize(fired);
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(let_a_timer_fire)->ArgName("ms")->Arg(1)->Arg(100)->Arg(10'000);

}  // namespace
}  // namespace dao::rt

// What the pool costs a request that finds an idle connection, by the number of addresses of the upstream.
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "dao/upstream/memory_connector.h"
#include "dao/upstream/retry_budget.h"

namespace dao::upstream {
namespace {

class Connector final : public MemoryConnector {
 private:
  void opened(Opened connection) override { far_ends_.push_back(std::move(connection)); }
  std::vector<Opened> far_ends_;
};

void acquire_and_release(benchmark::State& state) {
  rt::VirtualLoop loop;
  Connector connector;
  http::BufferPool buffers;
  sense::UpstreamCounters counters;
  Pool pool{loop, connector, buffers, counters, {}};
  std::vector<net::SocketAddress> addresses;
  for (int i = 1; i <= state.range(0); ++i) {
    addresses.push_back(*net::SocketAddress::from_ip("192.0.2." + std::to_string(i), 80));
  }
  pool.set_addresses(addresses);
  std::vector<Pool::Lease> first;
  for (std::size_t i = 0; i < addresses.size(); ++i) first.push_back(*pool.acquire({.fresh = true}));
  for (Pool::Lease& lease : first) pool.release(std::move(lease), true, std::nullopt);
  for (auto _ : state) {
    Result<Pool::Lease> lease = pool.acquire({});
    benchmark::DoNotOptimize(lease);
    pool.release(std::move(*lease), true, std::nullopt);
  }
  state.SetItemsProcessed(state.iterations());
  state.counters["connections"] = static_cast<double>(connector.tried.size());
}
BENCHMARK(acquire_and_release)->ArgName("addresses")->Arg(1)->Arg(4)->Arg(32);

void account_for_a_request_in_the_budget(benchmark::State& state) {
  Instant now{};
  RetryBudget budget(20, 10, now);
  for (auto _ : state) {
    now += std::chrono::microseconds(20);
    budget.request_began();
    benchmark::DoNotOptimize(budget.available(now));
  }
}
BENCHMARK(account_for_a_request_in_the_budget);

}  // namespace
}  // namespace dao::upstream

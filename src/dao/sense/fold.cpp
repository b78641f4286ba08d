#include "dao/sense/fold.h"

#include <chrono>
#include <utility>

namespace dao::sense {

Fold::Fold(std::vector<const Shard*> shards, std::size_t routes, std::size_t upstreams)
    : shards_(std::move(shards)), attempts_before_(upstreams), requests_before_(routes) {}

void Fold::step(Instant now, View& into) {
  const double seconds = std::chrono::duration<double>(now - before_).count();
  into.folded_at = now;
  into.upstreams.resize(attempts_before_.size());
  into.routes.resize(requests_before_.size());
  const auto rate = [&](std::uint64_t count, std::uint64_t& before) {
    const std::uint64_t more = count - std::exchange(before, count);
    return first_ || seconds <= 0 ? 0 : static_cast<double>(more) / seconds;
  };
  for (std::size_t i = 0; i < into.upstreams.size(); ++i) {
    std::uint64_t attempts = 0;
    for (const Shard* shard : shards_) {
      for (const Counter& count : shard->upstreams()[i].responses) attempts += count.value();
    }
    into.upstreams[i].rps = rate(attempts, attempts_before_[i]);
  }
  for (std::size_t i = 0; i < into.routes.size(); ++i) {
    std::uint64_t requests = 0;
    for (const Shard* shard : shards_) {
      for (const Counter& count : shard->routes()[i].requests) requests += count.value();
    }
    into.routes[i].rps = rate(requests, requests_before_[i]);
  }
  before_ = now;
  first_ = false;
}

}  // namespace dao::sense

#include "dao/server/upstream_names.h"

#include <random>
#include <utility>

#include "dao/base/log.h"

namespace dao::server {

void UpstreamNames::watch(const config::Config& config) {
  // Other servers or times: all names are asked for anew; what is known of them stays until there is an answer.
  const bool anew = resolver_ && settings_ != config.dns;
  if (anew) {
    resolver_->stop();
    resolver_.reset();
  }
  settings_ = config.dns;
  for (const config::Upstream& upstream : config.upstreams) {
    const config::Url& url = upstream.url;
    if (url.scheme == config::Scheme::unix_socket || url.host_is_ip || watches_.contains(upstream.number)) continue;
    auto watch = std::make_shared<Watch>();
    watch->name = upstream.name;
    watch->host = url.host;
    watch->port = url.port;
    watches_.emplace(upstream.number, watch);
    const std::lock_guard lock(waiting_mutex_);
    ++unresolved_;
    if (!anew && resolver_) begin(upstream.number, watch);
  }
  if (resolver_ || watches_.empty()) return;
  net::Resolver::Settings settings;
  for (const config::Address& server : config.dns.servers) settings.servers.push_back(server.text);
  settings.timeout = config.dns.timeout;
  settings.min_ttl = config.dns.min_ttl;
  settings.max_ttl = config.dns.max_ttl;
  settings.seed = std::random_device{}();
  resolver_ = std::make_unique<net::Resolver>(settings);
  for (const auto& [number, watch] : watches_) begin(number, watch);
}

void UpstreamNames::begin(std::uint32_t upstream, const std::shared_ptr<Watch>& watch) {
  watch->at_resolver = resolver_->watch(watch->host, watch->port, [this, upstream, watch](const auto& resolution) {
    resolved(upstream, *watch, resolution);
  });
}

void UpstreamNames::resolved(std::uint32_t upstream, Watch& watch, net::Resolution resolution) {
  {
    const std::lock_guard lock(watch.mutex);
    if (watch.over) return;
    const bool first = !watch.latest;
    // A resolver that is new knows nothing of what another one had found.
    if (!first && resolution.addresses.empty()) resolution.addresses = watch.latest->addresses;
    const bool changed = first || !(*watch.latest == resolution);
    watch.latest = resolution;
    // Those that need it before the log: who has read the line may count on it.
    if (watch.told && changed) tell_(upstream, resolution);
    if (!first && !changed) return;
    if (first) {
      const std::lock_guard waiting(waiting_mutex_);
      --unresolved_;
      one_more_.notify_all();
    }
  }
  if (resolution.error) {
    log::warning("cannot resolve upstream", {{"upstream", watch.name},
                                             {"host", watch.host},
                                             {"error", resolution.error->detail},
                                             {"addresses_kept", resolution.addresses.size()}});
  } else {
    log::info("resolved upstream",
              {{"upstream", watch.name}, {"host", watch.host}, {"addresses", resolution.addresses.size()}});
  }
}

void UpstreamNames::wait(Nanoseconds patience) {
  std::unique_lock lock(waiting_mutex_);
  one_more_.wait_for(lock, patience, [this] { return unresolved_ == 0; });
}

std::optional<net::Resolution> UpstreamNames::known_of(std::uint32_t upstream) {
  const auto entry = watches_.find(upstream);
  if (entry == watches_.end()) return std::nullopt;
  const std::lock_guard lock(entry->second->mutex);
  return entry->second->latest;
}

void UpstreamNames::tell_of(const config::Config& config) {
  for (const config::Upstream& upstream : config.upstreams) {
    const auto entry = watches_.find(upstream.number);
    if (entry == watches_.end()) continue;
    Watch& watch = *entry->second;
    const std::lock_guard lock(watch.mutex);
    if (!std::exchange(watch.told, true) && watch.latest) tell_(upstream.number, *watch.latest);
  }
}

void UpstreamNames::unwatch(std::span<const std::uint32_t> upstreams) {
  for (const std::uint32_t upstream : upstreams) {
    const auto entry = watches_.find(upstream);
    if (entry == watches_.end()) continue;
    Watch& watch = *entry->second;
    {
      const std::lock_guard lock(watch.mutex);
      watch.over = true;
      if (!watch.latest) {
        const std::lock_guard waiting(waiting_mutex_);
        --unresolved_;
      }
    }
    resolver_->unwatch(watch.at_resolver);
    watches_.erase(entry);
  }
}

void UpstreamNames::stop() {
  if (resolver_) resolver_->stop();
}

}  // namespace dao::server

// The names of upstreams, kept resolved (net/resolver.h), and who is told of their addresses. The main thread, but for
// what the resolver tells.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>

#include "dao/config/config.h"
#include "dao/net/resolver.h"

namespace dao::server {

class UpstreamNames {
 public:
  // Called from any thread, never two at once for one upstream, with what is known of it first and with every change
  // later; never again once unwatch() has returned.
  using Tell = std::function<void(std::uint32_t upstream, const net::Resolution&)>;
  explicit UpstreamNames(Tell tell) : tell_(std::move(tell)) {}
  ~UpstreamNames() { stop(); }
  UpstreamNames(const UpstreamNames&) = delete;
  UpstreamNames& operator=(const UpstreamNames&) = delete;

  // Looks for the names of upstreams that are not watched yet, by the settings of this configuration. Nobody is told
  // before tell_of().
  void watch(const config::Config& config);
  // Until each was looked for once, found or not, at most so long.
  void wait(Nanoseconds patience);
  // What is known of an upstream by now; nothing: nothing, or it has an address and no name.
  [[nodiscard]] std::optional<net::Resolution> known_of(std::uint32_t upstream);
  // Whoever is to be told exists now: these upstreams of the configuration are told of.
  void tell_of(const config::Config& config);
  void unwatch(std::span<const std::uint32_t> upstreams);
  // Nobody is told any more.
  void stop();

 private:
  struct Watch {
    std::string name;
    std::string host;
    std::uint16_t port = 0;
    std::uint64_t at_resolver = 0;
    std::mutex mutex{};  // held while somebody is told
    bool over = false;
    bool told = false;  // changes are passed on
    std::optional<net::Resolution> latest{};
  };
  void begin(std::uint32_t upstream, const std::shared_ptr<Watch>& watch);
  void resolved(std::uint32_t upstream, Watch& watch, net::Resolution resolution);

  const Tell tell_;
  std::unique_ptr<net::Resolver> resolver_;
  std::optional<config::Dns> settings_;
  std::unordered_map<std::uint32_t, std::shared_ptr<Watch>> watches_;  // by the upstreams' numbers
  std::mutex waiting_mutex_;
  std::condition_variable one_more_;
  std::size_t unresolved_ = 0;
};

}  // namespace dao::server

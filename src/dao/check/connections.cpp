#include "dao/check/connections.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "dao/check/findings.h"
#include "dao/check/upstream_keys.h"
#include "dao/net/address.h"
#include "dao/net/resolver.h"

namespace dao::check {

namespace {

using config::Severity;
using Clock = std::chrono::steady_clock;

// Where somebody should listen, and what came of trying. The same address is tried once for all upstreams that have it.
struct Target {
  net::SocketAddress address;
  int error = 0;  // 0: connected
};

class Connecting {
 public:
  explicit Connecting(Milliseconds timeout) : timeout_(timeout) {}

  void connect(std::span<Target*> targets) {
    std::size_t next = 0;
    while (next < targets.size() || !waiting_.empty()) {
      while (next < targets.size() && waiting_.size() < kConnectionsAtOnce) start(*targets[next++]);
      wait();
    }
  }

 private:
  struct Waiting {
    Target* target;
    int fd;
    Clock::time_point deadline;
  };

  void start(Target& target) {
    const int fd = socket(target.address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
      target.error = errno;
      return;
    }
    if (::connect(fd, target.address.raw(), target.address.length()) == 0) {
      close(fd);
      return;
    }
    if (errno == EINPROGRESS) {
      waiting_.push_back({&target, fd, Clock::now() + timeout_});
      return;
    }
    target.error = errno == EAGAIN ? 0 : errno;  // a unix socket whose queue is full has somebody behind it
    close(fd);
  }

  void wait() {
    if (waiting_.empty()) return;
    std::vector<pollfd> polled;
    Clock::time_point first = Clock::time_point::max();
    for (const Waiting& one : waiting_) {
      polled.push_back({.fd = one.fd, .events = POLLOUT, .revents = 0});
      first = std::min(first, one.deadline);
    }
    const auto left = std::chrono::ceil<Milliseconds>(first - Clock::now());
    poll(polled.data(), polled.size(), static_cast<int>(std::max<Milliseconds::rep>(left.count(), 0)));
    const Clock::time_point now = Clock::now();
    for (std::size_t i = 0; i < waiting_.size(); ++i) {
      Waiting& one = waiting_[i];
      if (polled[i].revents != 0) {
        socklen_t size = sizeof(one.target->error);
        getsockopt(one.fd, SOL_SOCKET, SO_ERROR, &one.target->error, &size);
      } else if (one.deadline <= now) {
        one.target->error = ETIMEDOUT;
      } else {
        continue;
      }
      close(one.fd);
      one.fd = -1;
    }
    std::erase_if(waiting_, [](const Waiting& one) { return one.fd < 0; });
  }

  Milliseconds timeout_;
  std::vector<Waiting> waiting_;
};

// All names at once; the resolver bounds how many are under way.
std::map<std::pair<std::string, std::uint16_t>, net::Resolution> resolve(const config::Config& config) {
  net::Resolver::Settings settings;
  for (const config::Address& server : config.dns.servers) settings.servers.push_back(server.text);
  settings.timeout = config.dns.timeout;
  settings.min_ttl = std::chrono::hours(1);  // once is enough
  settings.max_ttl = std::chrono::hours(1);
  std::mutex mutex;
  std::condition_variable changed;
  std::map<std::pair<std::string, std::uint16_t>, net::Resolution> results;
  std::size_t asked = 0;
  net::Resolver resolver(std::move(settings));
  std::map<std::pair<std::string, std::uint16_t>, bool> names;
  for (const config::Upstream& upstream : config.upstreams) {
    const config::Url& url = upstream.url;
    if (url.scheme == config::Scheme::unix_socket || url.host_is_ip) continue;
    if (!names.emplace(std::pair(url.host, url.port), true).second) continue;
    ++asked;
    resolver.watch(url.host, url.port, [&, name = std::pair(url.host, url.port)](const net::Resolution& resolution) {
      const std::lock_guard lock(mutex);
      results.insert_or_assign(name, resolution);
      changed.notify_one();
    });
  }
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return results.size() == asked; });
  }
  resolver.stop();
  return results;
}

std::string why(const Error& error) {
  if (error.kind == ErrorKind::dns_timeout) return "no DNS server answered in time";
  return error.detail.empty() ? "it is not known" : std::string(error.detail);
}

std::string why(int error) {
  return error == ETIMEDOUT ? "no answer in time" : std::strerror(error);
}

}  // namespace

config::Diagnostics check_connections(const config::Config& config) {
  config::Diagnostics found;
  const std::vector<std::string> keys = upstream_keys(config);
  const auto names = resolve(config);
  std::map<std::string, std::unique_ptr<Target>> targets;  // by the address as text
  std::vector<Target*> to_try;
  std::vector<std::vector<const Target*>> of_upstream(config.upstreams.size());
  const auto add_target = [&](std::size_t upstream, const net::SocketAddress& address) {
    std::unique_ptr<Target>& target = targets[address.text()];
    if (!target) {
      target = std::make_unique<Target>(Target{.address = address});
      to_try.push_back(target.get());
    }
    of_upstream[upstream].push_back(target.get());
  };
  for (std::size_t i = 0; i < config.upstreams.size(); ++i) {
    const config::Url& url = config.upstreams[i].url;
    if (url.scheme == config::Scheme::unix_socket || url.host_is_ip) {
      const auto address = url.host_is_ip ? net::SocketAddress::from_ip(url.host, url.port)
                                          : net::SocketAddress::from_path(url.socket_path);
      if (address) add_target(i, *address);
      continue;
    }
    const net::Resolution& resolution = names.at({url.host, url.port});
    for (const net::SocketAddress& address : resolution.addresses) add_target(i, address);
    if (!resolution.addresses.empty() || !resolution.error) continue;
    add(found, Severity::warning, keys[i] + ".url",
        fmt::format("the name {} resolves nowhere: {}", url.host, why(*resolution.error)));
  }
  Connecting(config.proxy.defaults.connect_timeout).connect(to_try);
  for (std::size_t i = 0; i < of_upstream.size(); ++i) {
    const auto& all = of_upstream[i];
    const auto failed = std::ranges::find_if(all, [](const Target* target) { return target->error != 0; });
    if (failed == all.end()) continue;
    const auto count = std::ranges::count_if(all, [](const Target* target) { return target->error != 0; });
    const std::string where = fmt::format("{}: {}", (*failed)->address.text(), why((*failed)->error));
    add(found, Severity::warning, keys[i] + ".url",
        all.size() == 1
            ? fmt::format("nobody accepts connections at {}", where)
            : fmt::format("nobody accepts connections at {} of {} addresses, among them {}", count, all.size(), where));
  }
  return found;
}

}  // namespace dao::check

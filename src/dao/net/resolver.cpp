#include "dao/net/resolver.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "dao/base/random.h"
#include "dao/base/signals_blocked.h"
#include "dao/net/dns_lookup.h"

namespace dao::net {

namespace {

std::span<const unsigned char> ip_bytes(const SocketAddress& address) {
  if (address.family() == AF_INET) {
    const auto* raw = reinterpret_cast<const sockaddr_in*>(address.raw());
    return {reinterpret_cast<const unsigned char*>(&raw->sin_addr), sizeof raw->sin_addr};
  }
  const auto* raw = reinterpret_cast<const sockaddr_in6*>(address.raw());
  return {reinterpret_cast<const unsigned char*>(&raw->sin6_addr), sizeof raw->sin6_addr};
}

bool before(const SocketAddress& a, const SocketAddress& b) {
  const auto x = ip_bytes(a);
  const auto y = ip_bytes(b);
  if (x.size() != y.size()) return x.size() < y.size();
  return std::memcmp(x.data(), y.data(), x.size()) < 0;
}

SocketAddress with_port(const SocketAddress& address, std::uint16_t port) {
  if (address.family() == AF_INET) {
    sockaddr_in raw = *reinterpret_cast<const sockaddr_in*>(address.raw());
    raw.sin_port = htons(port);
    return SocketAddress::from_raw(reinterpret_cast<const sockaddr*>(&raw), sizeof raw);
  }
  sockaddr_in6 raw = *reinterpret_cast<const sockaddr_in6*>(address.raw());
  raw.sin6_port = htons(port);
  return SocketAddress::from_raw(reinterpret_cast<const sockaddr*>(&raw), sizeof raw);
}

bool same_error(const std::optional<Error>& a, const std::optional<Error>& b) {
  if (!a || !b) return a.has_value() == b.has_value();
  return a->kind == b->kind && a->detail == b->detail;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string all;
  for (const std::string& part : parts) all += (all.empty() ? "" : ",") + part;
  return all;
}

struct Watcher {
  std::uint64_t id;
  std::uint16_t port;
  Resolver::Callback on_change;
};

struct Name {
  std::vector<Watcher> watchers;
  std::vector<SocketAddress> v4;  // the last good ones, port 0
  std::vector<SocketAddress> v6;
  Resolution known;  // what watchers were told last, port 0
  bool resolved = false;
  Instant due{};
  Milliseconds backoff{0};  // of the last delay; 0: the last refresh was good
  std::unique_ptr<DnsLookup> lookup;
};

}  // namespace

bool operator==(const Resolution& a, const Resolution& b) {
  return a.addresses == b.addresses && same_error(a.error, b.error);
}

class Resolver::Worker {
 public:
  explicit Worker(Settings settings)
      : settings_(std::move(settings)),
        servers_(joined(settings_.servers)),
        random_(settings_.seed),
        wake_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    const SignalsBlocked quiet;
    thread_ = std::thread([this] { run(); });
  }

  ~Worker() {
    stop();
    close(wake_fd_);
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  std::uint64_t watch(std::string host, std::uint16_t port, Resolver::Callback on_change) {
    // DNS ignores case (RFC 4343).
    for (char& c : host) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    std::uint64_t id = 0;
    {
      const std::lock_guard lock(mutex_);
      id = ++watches_;
      arrivals_.emplace_back(std::move(host), Watcher{.id = id, .port = port, .on_change = std::move(on_change)});
    }
    wake();
    return id;
  }

  void unwatch(std::uint64_t watch) {
    {
      const std::lock_guard lock(mutex_);
      departures_.insert(watch);
    }
    wake();
  }

  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake();
    if (thread_.joinable()) thread_.join();
  }

 private:
  void wake() const {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(wake_fd_, &one, sizeof one);  // fails only when already signalled
  }

  void run() {
    while (take_arrivals()) {
      start_due();
      wait_and_process();
    }
    names_.clear();
  }

  // False when the thread is to end.
  bool take_arrivals() {
    std::vector<std::pair<std::string, Watcher>> arrivals;
    std::set<std::uint64_t> departures;
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return false;
      arrivals.swap(arrivals_);
      departures.swap(departures_);
    }
    std::erase_if(arrivals, [&](const auto& arrival) { return departures.contains(arrival.second.id); });
    if (!departures.empty()) forget(departures);
    for (auto& [host, watcher] : arrivals) {
      Name& name = names_[host];
      name.watchers.push_back(std::move(watcher));
      if (name.resolved) tell(name.watchers.back(), name.known);
    }
    return true;
  }

  void forget(const std::set<std::uint64_t>& departures) {
    for (auto entry = names_.begin(); entry != names_.end();) {
      Name& name = entry->second;
      std::erase_if(name.watchers, [&](const Watcher& watcher) { return departures.contains(watcher.id); });
      const bool wanted = !name.watchers.empty();
      if (!wanted && name.lookup) --lookups_;
      entry = wanted ? std::next(entry) : names_.erase(entry);
    }
  }

  void start_due() {
    const Instant now = clock_.now();
    for (auto& [host, name] : names_) {
      if (lookups_ == kMaxLookups) return;
      if (name.lookup || name.due > now) continue;
      name.lookup = std::make_unique<DnsLookup>(host, servers_, settings_.timeout, now);
      ++lookups_;
      take_answers(name, now);  // the hosts file answers at once
    }
  }

  void wait_and_process() {
    polled_.assign(1, {.fd = wake_fd_, .events = POLLIN, .revents = 0});
    const Instant before_wait = clock_.now();
    Instant wakes_at = before_wait + std::chrono::hours(1);
    for (const auto& [host, name] : names_) {
      if (name.lookup) {
        const auto sockets = name.lookup->sockets();
        polled_.insert(polled_.end(), sockets.begin(), sockets.end());
        wakes_at = std::min(wakes_at, name.lookup->wakes_at(before_wait));
      } else if (lookups_ < kMaxLookups) {
        wakes_at = std::min(wakes_at, name.due);
      }
    }
    const auto wait = std::chrono::ceil<Milliseconds>(std::max(wakes_at - before_wait, Nanoseconds{0}));
    poll(polled_.data(), polled_.size(), static_cast<int>(wait.count()));

    if (polled_[0].revents != 0) {
      std::uint64_t count = 0;
      [[maybe_unused]] const ssize_t taken = read(wake_fd_, &count, sizeof count);
    }

    const Instant now = clock_.now();
    std::size_t next = 1;
    for (auto& [host, name] : names_) {
      if (!name.lookup) continue;
      const std::size_t sockets = name.lookup->sockets().size();
      name.lookup->process(std::span{polled_}.subspan(next, sockets), now);
      next += sockets;
      take_answers(name, now);
    }
  }

  static void replace(std::vector<SocketAddress>& addresses, const DnsLookup::Answer& answer) {
    if (answer.outcome == DnsLookup::Outcome::found) addresses = answer.addresses;
  }

  void take_answers(Name& name, Instant now) {
    const DnsLookup& lookup = *name.lookup;
    const bool found_v4 = lookup.v4().outcome == DnsLookup::Outcome::found;
    const bool found_v6 = lookup.v6().outcome == DnsLookup::Outcome::found;
    replace(name.v4, lookup.v4());
    replace(name.v6, lookup.v6());
    if (!lookup.ended()) {
      if (found_v4 || found_v6) publish(name, std::nullopt);
      return;
    }

    if (found_v4 || found_v6) {
      // A family that is certainly absent goes; one that failed to answer stays as it was.
      if (lookup.v4().outcome == DnsLookup::Outcome::absent) name.v4.clear();
      if (lookup.v6().outcome == DnsLookup::Outcome::absent) name.v6.clear();
      publish(name, std::nullopt);
      name.backoff = Milliseconds{0};
      name.due = now + refresh_after(lookup, found_v4, found_v6);
    } else {
      // "It does not exist" counts only if both say so: otherwise what failed is why the name has no addresses.
      const bool v4_failed = lookup.v4().outcome == DnsLookup::Outcome::failed;
      publish(name, v4_failed || !lookup.v6().error ? lookup.v4().error : lookup.v6().error);
      name.due = now + retry_after(name);
    }
    name.lookup.reset();
    --lookups_;
  }

  [[nodiscard]] Nanoseconds refresh_after(const DnsLookup& lookup, bool found_v4, bool found_v6) const {
    auto ttl = std::chrono::seconds::max();
    if (found_v4) ttl = std::min(ttl, lookup.v4().ttl);
    if (found_v6) ttl = std::min(ttl, lookup.v6().ttl);
    if (ttl >= settings_.max_ttl) return settings_.max_ttl;
    return std::max<Nanoseconds>(ttl, settings_.min_ttl);
  }

  [[nodiscard]] Nanoseconds retry_after(Name& name) {
    const Milliseconds most = std::max(std::min(settings_.max_ttl, kMaxBackoff), settings_.min_ttl);
    name.backoff = std::clamp(name.backoff * 2, settings_.min_ttl, most);
    // Between half and all of it: names that failed together are not asked together again.
    const auto half = std::chrono::duration_cast<Nanoseconds>(name.backoff) / 2;
    return half + Nanoseconds{static_cast<std::int64_t>(random_.unit() * static_cast<double>(half.count()))};
  }

  static void publish(Name& name, const std::optional<Error>& error) {
    Resolution fresh;
    fresh.addresses = name.v4;
    fresh.addresses.insert(fresh.addresses.end(), name.v6.begin(), name.v6.end());
    std::ranges::sort(fresh.addresses, before);
    const auto [first, last] = std::ranges::unique(fresh.addresses);
    fresh.addresses.erase(first, last);
    if (fresh.addresses.size() > kMaxAddresses) fresh.addresses.resize(kMaxAddresses);
    fresh.error = error;
    if (name.resolved && fresh == name.known) return;
    name.known = std::move(fresh);
    name.resolved = true;
    for (Watcher& watcher : name.watchers) tell(watcher, name.known);
  }

  static void tell(const Watcher& watcher, const Resolution& known) {
    Resolution resolution = known;
    for (SocketAddress& address : resolution.addresses) address = with_port(address, watcher.port);
    watcher.on_change(resolution);
  }

  const Settings settings_;
  const std::string servers_;
  const SystemClock clock_;
  Random random_;
  const int wake_fd_;

  std::mutex mutex_;  // guards what follows up to stopping_; the rest is the thread's own
  std::uint64_t watches_ = 0;
  std::vector<std::pair<std::string, Watcher>> arrivals_;
  std::set<std::uint64_t> departures_;
  bool stopping_ = false;

  std::map<std::string, Name> names_;
  std::size_t lookups_ = 0;
  std::vector<pollfd> polled_;
  std::thread thread_;
};

Resolver::Resolver(Settings settings) : worker_(std::make_unique<Worker>(std::move(settings))) {}

Resolver::~Resolver() = default;

std::uint64_t Resolver::watch(std::string host, std::uint16_t port, Callback on_change) {
  return worker_->watch(std::move(host), port, std::move(on_change));
}

void Resolver::unwatch(std::uint64_t watch) {
  worker_->unwatch(watch);
}

void Resolver::stop() {
  worker_->stop();
}

}  // namespace dao::net

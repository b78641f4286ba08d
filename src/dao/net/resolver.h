// Names to addresses, kept fresh: each watched name is resolved at once and again whenever its records' TTL ends, on a
// thread of the resolver's own, so that no worker ever waits for DNS. /etc/hosts comes first, then DNS (A and AAAA).
//
// What a watcher is told:
//  - the first result as soon as there is one: if A answers and AAAA hangs, the A addresses come without waiting;
//  - later, only what changed: other addresses, or an error that came or went.
// A refresh that fails keeps the last good addresses, with the error alongside, and is repeated after a delay that
// doubles from min_ttl to kMaxBackoff (or max_ttl, if less), with jitter. One family failing while the other answers is
// no error: the failing family keeps its last good addresses until a refresh says that it has none.
//
// Bounds: kMaxAddresses a name; kMaxLookups names looked up at once, the others wait their turn.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dao/base/clock.h"
#include "dao/base/error.h"
#include "dao/net/address.h"

namespace dao::net {

struct Resolution {
  std::vector<SocketAddress> addresses;  // IPv4 first, then by value; no duplicates; with the watcher's port
  // Origin::backend; dns_timeout, or dns_error whose detail begins with NXDOMAIN, NODATA, SERVFAIL, ... With addresses:
  // these are old. Without: the name has never been resolved.
  std::optional<Error> error;

  friend bool operator==(const Resolution& a, const Resolution& b);
};

class Resolver {
 public:
  static constexpr std::size_t kMaxAddresses = 256;
  static constexpr std::size_t kMaxLookups = 64;
  static constexpr Milliseconds kMaxBackoff = std::chrono::seconds(30);

  struct Settings {
    std::vector<std::string> servers;  // "ip:port", "[ipv6]:port"; empty: the system's (resolv.conf)
    Milliseconds timeout{2000};        // for one resolution of one name, repeats to all servers included
    Milliseconds min_ttl{1000};        // TTLs are raised and lowered to these
    Milliseconds max_ttl{std::chrono::hours(1)};
    std::uint64_t seed = 0;  // of the jitter
  };
  // Runs on the resolver's thread and must not block it; it may call watch(), not stop().
  using Callback = std::function<void(const Resolution&)>;

  // Starts the thread.
  explicit Resolver(Settings settings);
  ~Resolver();  // stop()
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // Any thread. `host` is a name, not an IP literal. A name that is watched several times is looked up once. What it
  // returns is for unwatch().
  std::uint64_t watch(std::string host, std::uint16_t port, Callback on_change);
  // Any thread. A callback may still come soon after, none later; a name that nobody watches is no longer looked up.
  void unwatch(std::uint64_t watch);

  // Calls off what is pending and joins the thread: no callback runs after it returns. Not from a callback.
  void stop();

 private:
  class Worker;
  std::unique_ptr<Worker> worker_;
};

}  // namespace dao::net

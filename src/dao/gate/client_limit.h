// How many connections one client address may hold at once. A client's connections are spread over the workers, so all
// of them count in one place: a table of addresses in parts with a lock each, asked once when a connection comes and
// told once when it goes. There is an entry for each address that holds a connection now and none for others, so the
// table is never larger than the number of connections. Any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "dao/config/config.h"
#include "dao/net/address.h"

namespace dao::gate {

class ClientLimit {
 public:
  // `ipv6_prefix`: how many bits of an IPv6 address stand for one client. `seed`: secret, so that nobody can choose
  // addresses that collide.
  ClientLimit(std::size_t most, unsigned ipv6_prefix, std::uint64_t seed);

  // False: the client has as many as it may. True must be paid back with leave(). The peer has an address.
  bool enter(const net::Peer& client);
  void leave(const net::Peer& client);
  [[nodiscard]] std::size_t most() const { return most_.load(std::memory_order_relaxed); }
  // From the next connection on.
  void set_most(std::size_t most) { most_.store(most, std::memory_order_relaxed); }
  [[nodiscard]] unsigned ipv6_prefix() const { return ipv6_prefix_; }
  // Addresses that hold connections now.
  [[nodiscard]] std::size_t clients() const;

 private:
  struct Key {
    std::array<std::uint64_t, 2> words{};
    bool v6 = false;
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct Hash {
    std::uint64_t seed;
    std::size_t operator()(const Key& key) const;
  };
  struct alignas(64) Part {
    mutable std::mutex mutex;
    std::unordered_map<Key, std::size_t, Hash> connections;
  };

  [[nodiscard]] Key key_of(const net::Peer& client) const;
  Part& part_of(const Key& key);

  std::atomic<std::size_t> most_;
  const unsigned ipv6_prefix_;
  const Hash hash_;
  std::vector<Part> parts_;
};

// What a configuration asks for: null without a limit. `before`: the limit until now, or null; it goes on with what it
// has counted unless it counts otherwise now.
[[nodiscard]] std::shared_ptr<ClientLimit> client_limit(std::size_t most, unsigned ipv6_prefix,
                                                        const std::shared_ptr<ClientLimit>& before);

// One connection's place in up to two limits, given back when it goes. One thread.
class ClientPlace {
 public:
  ClientPlace() = default;
  ClientPlace(const ClientPlace&) = delete;
  ClientPlace& operator=(const ClientPlace&) = delete;
  ~ClientPlace();

  // Null: the client may come in. Else the limit that it has reached; then nothing was taken. Once.
  const ClientLimit* take(const net::Peer& client, ClientLimit* process, ClientLimit* listener);

 private:
  net::Peer client_;
  std::array<ClientLimit*, 2> taken_{};
};

}  // namespace dao::gate

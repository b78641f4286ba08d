#include "dao/gate/client_limit.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "dao/base/random.h"

namespace dao::gate {

namespace {

constexpr std::size_t kParts = 64;

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  const Uint128 product = static_cast<Uint128>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64U);
}

}  // namespace

std::size_t ClientLimit::Hash::operator()(const Key& key) const {
  constexpr std::uint64_t kOdd = 0x9e3779b97f4a7c15U;
  const std::uint64_t first = mix(key.words[0] ^ seed, kOdd ^ (seed << 1U));
  return mix(first ^ key.words[1] ^ (key.v6 ? kOdd : 0), seed | 1U);
}

ClientLimit::ClientLimit(std::size_t most, unsigned ipv6_prefix, std::uint64_t seed)
    : most_(most), ipv6_prefix_(ipv6_prefix), hash_{seed}, parts_(kParts) {
  for (Part& part : parts_) part.connections = decltype(part.connections)(0, hash_);
}

ClientLimit::Key ClientLimit::key_of(const net::Peer& client) const {
  std::array<std::uint8_t, 16> bytes{};
  std::ranges::copy(client.bytes(), bytes.begin());
  if (client.is_v6()) {
    const std::size_t whole = ipv6_prefix_ / 8;
    const unsigned rest = ipv6_prefix_ % 8;
    if (whole < bytes.size()) {
      bytes[whole] = static_cast<std::uint8_t>(bytes[whole] & (0xff00U >> rest));
      std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(whole) + 1, bytes.end(), std::uint8_t{0});
    }
  }
  Key key{.words = {}, .v6 = client.is_v6()};
  std::memcpy(key.words.data(), bytes.data(), bytes.size());
  return key;
}

ClientLimit::Part& ClientLimit::part_of(const Key& key) {
  return parts_[(hash_(key) >> 32U) % kParts];  // the low bits choose the bucket within the part
}

bool ClientLimit::enter(const net::Peer& client) {
  const Key key = key_of(client);
  Part& part = part_of(key);
  const std::lock_guard lock(part.mutex);
  std::size_t& held = part.connections[key];
  if (held >= most()) return false;
  ++held;
  return true;
}

void ClientLimit::leave(const net::Peer& client) {
  const Key key = key_of(client);
  Part& part = part_of(key);
  const std::lock_guard lock(part.mutex);
  const auto found = part.connections.find(key);
  if (found != part.connections.end() && --found->second == 0) part.connections.erase(found);
}

std::size_t ClientLimit::clients() const {
  std::size_t count = 0;
  for (const Part& part : parts_) {
    const std::lock_guard lock(part.mutex);
    count += part.connections.size();
  }
  return count;
}

std::shared_ptr<ClientLimit> client_limit(std::size_t most, unsigned ipv6_prefix,
                                          const std::shared_ptr<ClientLimit>& before) {
  if (most == 0) return nullptr;
  if (before && before->ipv6_prefix() == ipv6_prefix) {
    before->set_most(most);
    return before;
  }
  std::random_device entropy;
  const std::uint64_t seed = (std::uint64_t{entropy()} << 32U) | entropy();
  return std::make_shared<ClientLimit>(most, ipv6_prefix, seed);
}

const ClientLimit* ClientPlace::take(const net::Peer& client, ClientLimit* process, ClientLimit* listener) {
  client_ = client;
  for (ClientLimit* limit : {process, listener}) {
    if (limit == nullptr) continue;
    if (limit->enter(client)) {
      taken_[limit == process ? 0 : 1] = limit;
      continue;
    }
    if (taken_[0] != nullptr) taken_[0]->leave(client);
    taken_[0] = nullptr;
    return limit;
  }
  return nullptr;
}

ClientPlace::~ClientPlace() {
  for (ClientLimit* limit : taken_) {
    if (limit != nullptr) limit->leave(client_);
  }
}

}  // namespace dao::gate

#include "dao/server/host_map.h"

#include <algorithm>
#include <cstring>

#include "dao/base/random.h"

namespace dao::server {

namespace {

template <class Word>
std::uint64_t load(const char* from) {
  Word word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

// Eight characters at once: ASCII capitals become small, every other byte stays.
constexpr std::uint64_t lower_case(std::uint64_t word) {
  constexpr std::uint64_t kEach = 0x0101010101010101U;
  const std::uint64_t low = word & (0x7f * kEach);
  const std::uint64_t from_a = low + (0x80 - 'A') * kEach;  // its high bit: >= 'A'
  const std::uint64_t past_z = low + (0x7f - 'Z') * kEach;  // its high bit: > 'Z'
  const std::uint64_t capitals = (from_a ^ past_z) & ~word & (0x80 * kEach);
  return word | (capitals >> 2U);
}

// Of a text of fewer than eight characters; together with its length it says which text.
std::uint64_t short_word(const char* text, std::size_t size) {
  if (size >= 4) return load<std::uint32_t>(text) | (load<std::uint32_t>(text + size - 4) << 32U);
  if (size == 0) return 0;
  const auto byte = [text](std::size_t at) { return static_cast<std::uint64_t>(static_cast<unsigned char>(text[at])); };
  return byte(0) | (byte(size / 2) << 8U) | (byte(size - 1) << 16U);
}

std::uint64_t mixed(std::uint64_t a, std::uint64_t b) {
  const Uint128 product = static_cast<Uint128>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64U);
}

// `known` is in lower case already.
bool same(const char* known, const char* given, std::size_t size) {
  if (size < 8) return short_word(known, size) == lower_case(short_word(given, size));
  for (std::size_t at = 0; at + 8 < size; at += 8) {
    if (load<std::uint64_t>(known + at) != lower_case(load<std::uint64_t>(given + at))) return false;
  }
  return load<std::uint64_t>(known + size - 8) == lower_case(load<std::uint64_t>(given + size - 8));
}

}  // namespace

std::uint64_t HostMap::hash(std::string_view host) const {
  constexpr std::uint64_t kFactor = 0x9e3779b97f4a7c15U;
  std::uint64_t hash = seed_ ^ (host.size() * kFactor);
  if (host.size() < 8) return mixed(hash ^ lower_case(short_word(host.data(), host.size())), kFactor);
  for (std::size_t at = 0; at + 8 < host.size(); at += 8) {
    hash = mixed(hash ^ lower_case(load<std::uint64_t>(host.data() + at)), seed_ | 1);
  }
  return mixed(hash ^ lower_case(load<std::uint64_t>(host.data() + host.size() - 8)), kFactor);
}

std::uint32_t HostMap::add(std::string_view host) {
  if (const std::uint32_t known = find(host); known != kNone) return known;
  const auto number = static_cast<std::uint32_t>(names_.size());
  names_.push_back({static_cast<std::uint32_t>(text_.size()), static_cast<std::uint32_t>(host.size())});
  text_ += host;
  longest_ = std::max(longest_, host.size());
  if (2 * names_.size() > slots_.size()) {
    grow();
  } else {
    put(hash(host), number);
  }
  return number;
}

void HostMap::grow() {
  slots_.assign(slots_.empty() ? 8 : 2 * slots_.size(), {});
  for (std::uint32_t i = 0; i < names_.size(); ++i) {
    put(hash(std::string_view(text_).substr(names_[i].at, names_[i].size)), i);
  }
}

void HostMap::put(std::uint64_t hash, std::uint32_t number) {
  std::size_t slot = hash & (slots_.size() - 1);
  while (slots_[slot].number != kNone) slot = (slot + 1) & (slots_.size() - 1);
  slots_[slot] = {.tag = static_cast<std::uint32_t>(hash >> 32U), .number = number};
}

std::uint32_t HostMap::find(std::string_view host) const {
  if (slots_.empty() || host.size() > longest_) return kNone;
  const std::uint64_t wanted = hash(host);
  const auto tag = static_cast<std::uint32_t>(wanted >> 32U);
  for (std::size_t at = wanted & (slots_.size() - 1);; at = (at + 1) & (slots_.size() - 1)) {
    const Slot& slot = slots_[at];
    if (slot.number == kNone) return kNone;
    if (slot.tag != tag) continue;
    const Name& name = names_[slot.number];
    if (name.size == host.size() && same(text_.data() + name.at, host.data(), name.size)) return slot.number;
  }
}

}  // namespace dao::server

#include "dao/server/roster.h"

#include <fmt/format.h>

#include <algorithm>

#include "dao/sense/slots.h"

namespace dao::server {

namespace {

// What makes the connections to it, and what was learned of it, those of another one.
std::string identity_of(const config::Upstream& upstream) {
  const config::UpstreamTls& tls = upstream.tls;
  return fmt::format("{}\n{}\n{}\n{}\n{}\n{}\n{}{}{}{}", upstream.name, upstream.url.text, tls.ca, tls.server_name,
                     tls.cert, tls.key, static_cast<int>(upstream.proxy_protocol), tls.verify, tls.protocols.h1,
                     tls.protocols.h2);
}

}  // namespace

bool Roster::number(config::Config& config) {
  std::vector<std::string> upstreams;
  upstreams.reserve(config.upstreams.size());
  for (const config::Upstream& upstream : config.upstreams) upstreams.push_back(identity_of(upstream));
  std::vector<std::string> rules;
  rules.reserve(config.rules.size());
  for (const config::Rule& rule : config.rules) rules.push_back(rule.name);
  if (!upstreams_.suffice(upstreams) || !rules_.suffice(rules)) return false;
  for (std::size_t i = 0; i < upstreams.size(); ++i) config.upstreams[i].number = upstreams_.of(upstreams[i]);
  for (std::size_t i = 0; i < rules.size(); ++i) config.rules[i].number = rules_.of(rules[i]);
  return true;
}

Roster::Leaving Roster::keep(std::span<const std::shared_ptr<const config::Config>> configs) {
  std::unordered_set<std::uint32_t> upstreams;
  std::unordered_set<std::uint32_t> rules;
  for (const auto& config : configs) {
    for (const config::Upstream& upstream : config->upstreams) upstreams.insert(upstream.number);
    for (const config::Rule& rule : config->rules) rules.insert(rule.number);
  }
  return {.upstreams = upstreams_.keep(upstreams), .rules = rules_.keep(rules)};
}

void Roster::give_up() {
  upstreams_.give_up();
  rules_.give_up();
}

void Roster::release_upstreams(std::span<const std::uint32_t> numbers) {
  for (const std::uint32_t number : numbers) upstreams_.release(number, parties_);
}

void Roster::release_rules(std::span<const std::uint32_t> numbers) {
  for (const std::uint32_t number : numbers) rules_.release(number, parties_);
}

bool Roster::Numbers::suffice(std::span<const std::string> identities) const {
  std::unordered_set<std::string_view> added;
  for (const std::string& identity : identities) {
    if (!by_identity_.contains(identity)) added.insert(identity);
  }
  return added.size() <= free_.size() + (sense::kMostNumbers - entries_.size());
}

std::uint32_t Roster::Numbers::of(const std::string& identity) {
  if (const auto known = by_identity_.find(identity); known != by_identity_.end()) return known->second;
  std::uint32_t number = static_cast<std::uint32_t>(entries_.size());
  if (free_.empty()) {
    entries_.emplace_back();
  } else {
    number = free_.back();
    free_.pop_back();
  }
  entries_[number] = {.identity = identity, .state = State::added};
  by_identity_.emplace(identity, number);
  added_.push_back(number);
  return number;
}

std::vector<std::uint32_t> Roster::Numbers::keep(const std::unordered_set<std::uint32_t>& numbers) {
  for (const std::uint32_t number : added_) entries_[number].state = State::kept;
  added_.clear();
  std::vector<std::uint32_t> leaving;
  for (std::uint32_t number = 0; number < entries_.size(); ++number) {
    Entry& entry = entries_[number];
    if (entry.state != State::kept || numbers.contains(number)) continue;
    by_identity_.erase(entry.identity);
    entry.identity.clear();
    entry.state = State::leaving;
    leaving.push_back(number);
  }
  return leaving;
}

void Roster::Numbers::give_up() {
  for (const std::uint32_t number : added_) {
    by_identity_.erase(entries_[number].identity);
    entries_[number] = {};
    free_.push_back(number);
  }
  added_.clear();
}

void Roster::Numbers::release(std::uint32_t number, std::size_t parties) {
  Entry& entry = entries_[number];
  if (++entry.released < parties) return;
  entry = {};
  free_.push_back(number);
}

}  // namespace dao::server

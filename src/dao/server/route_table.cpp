#include "dao/server/route_table.h"

#include <algorithm>
#include <random>
#include <utility>

namespace dao::server {

namespace {

std::uint64_t any_seed() {
  std::random_device entropy;
  return (std::uint64_t{entropy()} << 32U) | entropy();
}

std::string_view host_of(std::string_view authority) {
  std::string_view host = !authority.empty() && authority.front() == '[' ? authority.substr(0, authority.find(']') + 1)
                                                                         : authority.substr(0, authority.find(':'));
  if (host.ends_with('.')) host.remove_suffix(1);  // the same name, spelled absolutely
  return host;
}

bool header_matches(const http::RequestHead& request, const config::HeaderMatch& wanted) {
  return std::ranges::any_of(request.fields, [&wanted](const http::Field& field) {
    return field.value == wanted.value && http::equals_ignoring_case(field.name, wanted.name);
  });
}

PathTrie::Pattern pattern_of(const config::Match& match, std::size_t rule) {
  PathTrie::Pattern pattern;
  pattern.rule = static_cast<std::uint32_t>(rule);
  pattern.exact = match.path_exact.has_value();
  if (match.path_exact) {
    pattern.path = *match.path_exact;
  } else if (match.path_prefix) {
    pattern.path = *match.path_prefix;
  }
  return pattern;
}

}  // namespace

RouteTable::RouteTable(const std::vector<config::Rule>& rules) : hosts_(any_seed()), wildcards_(any_seed()) {
  using Patterns = std::vector<PathTrie::Pattern>;
  std::vector<Patterns> of_hosts;
  std::vector<Patterns> of_wildcards;
  Patterns of_any_host;
  const auto add = [](HostMap& names, std::vector<Patterns>& patterns, const std::string& name,
                      const PathTrie::Pattern& pattern) {
    const std::uint32_t number = names.add(name);
    if (number == patterns.size()) patterns.emplace_back();
    patterns[number].push_back(pattern);
  };
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const config::Match& match = rules[i].match;
    PathTrie::Pattern pattern = pattern_of(match, i);
    if (!match.headers.empty() || match.upgrade != config::Upgrade::any) {
      pattern.condition = static_cast<std::uint32_t>(conditions_.size());
      conditions_.push_back({.headers = match.headers, .upgrade = match.upgrade});
    }
    for (const config::HostPattern& host : match.hosts) {
      if (!host.wildcard) {
        add(hosts_, of_hosts, host.text, pattern);
        continue;
      }
      add(wildcards_, of_wildcards, host.text, pattern);
      if (std::ranges::find(wildcard_sizes_, host.text.size()) == wildcard_sizes_.end()) {
        wildcard_sizes_.push_back(host.text.size());
      }
    }
    if (match.hosts.empty()) of_any_host.push_back(pattern);
  }
  for (Patterns& patterns : of_hosts) roots_of_hosts_.push_back(paths_.plant(std::move(patterns)));
  for (Patterns& patterns : of_wildcards) roots_of_wildcards_.push_back(paths_.plant(std::move(patterns)));
  root_of_any_host_ = paths_.plant(std::move(of_any_host));
}

bool RouteTable::holds(const Condition& condition, const http::RequestHead& request) {
  if (condition.upgrade == config::Upgrade::websocket && request.upgrade != http::Upgrade::websocket) return false;
  return std::ranges::all_of(condition.headers,
                             [&request](const auto& wanted) { return header_matches(request, wanted); });
}

std::optional<std::uint32_t> RouteTable::find(const http::RequestHead& request) const {
  const std::string_view path = request.path.substr(0, request.path.find('?'));
  std::uint32_t best = PathTrie::kNone;
  const auto search = [&](std::uint32_t root) {
    best =
        paths_.first(root, path, best, [&](std::uint32_t condition) { return holds(conditions_[condition], request); });
  };
  if (!hosts_.empty() || !wildcards_.empty()) {
    const std::string_view host = host_of(request.authority);
    if (const std::uint32_t number = hosts_.find(host); number != HostMap::kNone) search(roots_of_hosts_[number]);
    for (const std::size_t size : wildcard_sizes_) {
      if (host.size() <= size || host[host.size() - size] != '.') continue;
      const std::uint32_t number = wildcards_.find(host.substr(host.size() - size));
      if (number != HostMap::kNone) search(roots_of_wildcards_[number]);
    }
  }
  search(root_of_any_host_);
  if (best == PathTrie::kNone) return std::nullopt;
  return best;
}

}  // namespace dao::server

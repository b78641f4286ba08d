#include "dao/server/route_table.h"

#include <algorithm>

namespace dao::server {

namespace {

std::string_view without_port(std::string_view authority) {
  if (!authority.empty() && authority.front() == '[') return authority.substr(0, authority.find(']') + 1);
  return authority.substr(0, authority.find(':'));
}

bool host_matches(const std::vector<config::HostPattern>& patterns, std::string_view host) {
  return std::ranges::any_of(patterns, [host](const config::HostPattern& pattern) {
    if (!pattern.wildcard) return http::equals_ignoring_case(pattern.text, host);
    return host.size() > pattern.text.size() &&
           http::equals_ignoring_case(host.substr(host.size() - pattern.text.size()), pattern.text);
  });
}

bool header_matches(const http::RequestHead& request, const config::HeaderMatch& wanted) {
  return std::ranges::any_of(request.fields, [&wanted](const http::Field& field) {
    return field.value == wanted.value && http::equals_ignoring_case(field.name, wanted.name);
  });
}

}  // namespace

std::optional<std::uint32_t> RouteTable::find(const http::RequestHead& request) const {
  std::string_view host = without_port(request.authority);
  if (host.ends_with('.')) host.remove_suffix(1);  // the same name, spelled absolutely
  const std::string_view path = request.path.substr(0, request.path.find('?'));
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    const config::Match& match = rules_[i].match;
    if (match.path_exact && path != *match.path_exact) continue;
    if (match.path_prefix && !path.starts_with(*match.path_prefix)) continue;
    if (match.upgrade == config::Upgrade::websocket && request.upgrade != http::Upgrade::websocket) continue;
    if (!match.hosts.empty() && !host_matches(match.hosts, host)) continue;
    if (!std::ranges::all_of(match.headers,
                             [&request](const auto& wanted) { return header_matches(request, wanted); })) {
      continue;
    }
    return static_cast<std::uint32_t>(i);
  }
  return std::nullopt;
}

}  // namespace dao::server

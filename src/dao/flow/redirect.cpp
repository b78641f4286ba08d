#include "dao/flow/redirect.h"

#include <algorithm>
#include <charconv>

#include "dao/flow/url_text.h"

namespace dao::flow {

namespace {

// What stands behind the host of an authority: ":8080", or nothing.
std::string_view port_of(std::string_view authority, std::string_view host) {
  return authority.substr(std::min(authority.size(), host.size()));
}

std::string_view port_text(std::uint16_t port, http::Arena& arena) {
  char digits[8] = {':'};
  const auto end = std::to_chars(digits + 1, digits + sizeof digits, port);
  return arena.copy({digits, static_cast<std::size_t>(end.ptr - digits)});
}

bool is_usual(std::string_view port, std::string_view scheme) {
  return port.empty() || port == (scheme == "https" ? ":443" : ":80");
}

}  // namespace

std::optional<std::string_view> Redirect::location(Facts& facts, http::Arena& arena) const {
  const std::string_view old_host = facts.host();
  const std::string_view old_port = port_of(facts.request.authority, old_host);
  const std::string_view scheme = redirect_.scheme.empty() ? facts.scheme : std::string_view(redirect_.scheme);
  const std::string_view host =
      redirect_.host.empty() ? old_host : url_safe(render(redirect_.host, facts, arena), arena);
  std::string_view port;
  if (redirect_.port != 0) {
    port = port_text(redirect_.port, arena);
  } else if (scheme == facts.scheme && redirect_.host.empty()) {
    port = old_port;
  }
  if (is_usual(port, scheme)) port = {};
  const bool other_path = !redirect_.path.empty();
  std::string_view path = other_path ? url_safe(render(redirect_.path, facts, arena), arena) : facts.path();

  const bool same_port = redirect_.port == 0 || port == old_port || (port.empty() && is_usual(old_port, scheme));
  const bool same = scheme == facts.scheme && http::equals_ignoring_case(host, old_host) && same_port &&
                    path == facts.path() && (redirect_.keep_query || facts.query().empty());
  if (same || host.empty()) return std::nullopt;

  if (path == "*") path = "/";
  const std::string_view query = redirect_.keep_query ? facts.query() : std::string_view{};
  const std::string_view between = query.empty() ? "" : path.find('?') == std::string_view::npos ? "?" : "&";
  const std::string_view parts[] = {scheme, "://", host, port, path, between, url_safe(query, arena)};
  std::size_t size = 0;
  for (const std::string_view part : parts) size += part.size();
  char* const begin = arena.allocate(size);
  char* at = begin;
  for (const std::string_view part : parts) at += part.copy(at, part.size());
  return std::string_view{begin, size};
}

}  // namespace dao::flow

#include "dao/config/url.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "dao/config/address.h"
#include "dao/config/names.h"

namespace dao::config {
namespace {

constexpr std::string_view kForms =
    R"("http://host[:port][/base/path]", the same with "https://" or "h2c://", or "unix:/path")";

std::string_view name_of(Scheme scheme) {
  if (scheme == Scheme::https) return "https";
  return scheme == Scheme::h2c ? "h2c" : "http";
}

std::unexpected<Problem> refuse(std::string message, std::string suggestion = {}) {
  return std::unexpected(Problem{std::move(message), std::string(kForms), std::move(suggestion)});
}

// RFC 3986 section 3.3: pchar and '/', with whole percent-encodings only.
bool is_path_text(std::string_view path) {
  for (std::size_t i = 0; i < path.size(); ++i) {
    const char c = path[i];
    if (c == '%') {
      if (i + 2 >= path.size() || !is_hex_digit(path[i + 1]) || !is_hex_digit(path[i + 2])) return false;
      i += 2;
    } else if (!is_alnum(c) && std::string_view("-._~!$&'()*+,;=:@/").find(c) == std::string_view::npos) {
      return false;
    }
  }
  return true;
}

bool has_dot_segment(std::string_view path) {
  while (!path.empty()) {
    path.remove_prefix(1);
    const std::string_view segment = path.substr(0, path.find('/'));
    if (segment == "." || segment == "..") return true;
    path.remove_prefix(segment.size());
  }
  return false;
}

Parsed<Url> parse_http(Url url, std::string_view rest) {
  if (rest.find_first_of("?#") != std::string_view::npos) return refuse("a query or fragment has no place here");
  const std::size_t slash = rest.find('/');
  std::string_view authority = rest.substr(0, slash);
  std::string_view path = slash == std::string_view::npos ? std::string_view() : rest.substr(slash);
  if (authority.find('@') != std::string_view::npos) return refuse("a user name or password has no place here");

  constexpr std::uint16_t kHttpPort = 80;
  constexpr std::uint16_t kHttpsPort = 443;
  url.port = url.scheme == Scheme::https ? kHttpsPort : kHttpPort;
  std::string_view host = authority;
  std::string_view port;
  const std::size_t close = authority.starts_with('[') ? authority.find(']') : 0;
  if (close == std::string_view::npos) return refuse("\"]\" is missing");
  const std::size_t colon = authority.find(':', close);
  if (colon != std::string_view::npos) {
    host = authority.substr(0, colon);
    port = authority.substr(colon + 1);
    if (is_ipv6(authority))
      return refuse("an IPv6 address needs brackets", fmt::format("{}://[{}]{}", name_of(url.scheme), authority, path));
    const auto number = parse_port(port);
    if (!number || *number == 0) {
      return std::unexpected(Problem{in_quotes(port) + " is not a port", "a number from 1 to 65535"});
    }
    url.port = *number;
  }
  if (host.empty()) return refuse("the host is missing");
  if (host.starts_with('[')) {
    if (!host.ends_with(']') || !is_ipv6(host.substr(1, host.size() - 2))) {
      return refuse(in_quotes(host) + " is not an IPv6 address");
    }
    host = host.substr(1, host.size() - 2);
    url.host_is_ip = true;
  } else if (is_ipv4(host)) {
    url.host_is_ip = true;
  } else if (!is_host_name(host.ends_with('.') ? host.substr(0, host.size() - 1) : host)) {
    return refuse(in_quotes(host) + " is neither a host name nor an IP address");
  }
  url.host = lower_case(host);

  if (!is_path_text(path))
    return refuse("the path contains characters that a URL path cannot have unless percent-encoded");
  if (has_dot_segment(path)) return refuse("the path contains a \".\" or \"..\" segment");
  while (path.ends_with('/')) path.remove_suffix(1);
  url.base_path = path;
  return url;
}

}  // namespace

Parsed<Url> parse_url(std::string_view text) {
  Url url;
  url.text = text;
  if (text.empty()) return refuse("the URL is empty");
  const std::string_view head = text.substr(0, text.find('/'));
  const std::size_t colon = head.find(':');
  const std::string scheme = lower_case(head.substr(0, colon));
  if (colon != std::string_view::npos && scheme == "unix") {
    auto path = parse_unix_path(text.substr(colon + 1));
    if (!path) return std::unexpected(path.error());
    url.scheme = Scheme::unix_socket;
    url.socket_path = *std::move(path);
    return url;
  }
  if (text.starts_with('/')) return refuse("the scheme is missing", fmt::format("unix:{}", text));
  const bool has_scheme = colon != std::string_view::npos && text.substr(colon + 1).starts_with("//");
  if (!has_scheme) return refuse("the scheme is missing", fmt::format("http://{}", text));
  if (scheme == "h2c") {
    url.scheme = Scheme::h2c;
  } else if (scheme == "https" || scheme == "wss") {
    url.scheme = Scheme::https;
  } else if (scheme != "http" && scheme != "ws") {
    return refuse(fmt::format("the scheme {} is not supported", in_quotes(scheme)));
  }
  return parse_http(std::move(url), text.substr(colon + 3));
}

}  // namespace dao::config

#include "dao/config/match_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "dao/config/names.h"

namespace dao::config {
namespace {

constexpr std::string_view kHostForms = R"(a host name, "*." and a host name, or an IP address; no port)";

bool is_printable_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; });
}

}  // namespace

Parsed<HostPattern> parse_host_pattern(std::string_view text) {
  const auto refuse = [](std::string message, std::string suggestion = {}) {
    return std::unexpected(Problem{std::move(message), std::string(kHostForms), std::move(suggestion)});
  };
  if (text.empty()) return refuse("the host is empty");
  if (text == "*") return refuse("\"*\" is not a host; a rule without \"host\" matches every host");
  if (text.find("://") != std::string_view::npos) return refuse(in_quotes(text) + " is a URL, not a host");
  if (text.ends_with('.'))
    return refuse("the dot at the end is not part of a host", std::string(text.substr(0, text.size() - 1)));
  if (is_ipv6(text)) return refuse("an IPv6 address needs brackets", fmt::format("[{}]", lower_case(text)));

  HostPattern pattern;
  std::string_view name = text;
  if (name.starts_with("*.")) {
    name.remove_prefix(2);
    pattern.wildcard = true;
    if (is_ipv4(name)) return refuse("a wildcard cannot stand before an address");
  }
  const bool bracketed = name.size() > 2 && name.starts_with('[') && name.ends_with(']') && !pattern.wildcard &&
                         is_ipv6(name.substr(1, name.size() - 2));
  if (!bracketed && !is_ipv4(name) && !is_host_name(name)) {
    const std::size_t colon = name.rfind(':');
    const std::string_view before = name.substr(0, colon);
    if (colon != std::string_view::npos && (is_host_name(before) || is_ipv4(before) || before.ends_with(']'))) {
      return refuse("a host is matched without its port", std::string(text.substr(0, text.rfind(':'))));
    }
    if (name.find('*') != std::string_view::npos)
      return refuse("\"*\" can only stand for what comes before the first dot");
    return refuse(in_quotes(text) + " is not a host");
  }
  pattern.text = pattern.wildcard ? "." + lower_case(name) : lower_case(name);
  return pattern;
}

Parsed<std::string> parse_path(std::string_view text) {
  if (!text.starts_with('/')) {
    return std::unexpected(
        Problem{"the path does not start with \"/\"", "a path like \"/api\"", fmt::format("/{}", text)});
  }
  if (text.find_first_of("?#") != std::string_view::npos) {
    return std::unexpected(Problem{"a path is matched without query and fragment", "a path like \"/api\"",
                                   std::string(text.substr(0, text.find_first_of("?#")))});
  }
  if (!is_printable_ascii(text) || text.find(' ') != std::string_view::npos) {
    return std::unexpected(
        Problem{"no request can have this path: it contains a space, a control character or a character outside ASCII",
                "such characters percent-encoded, as clients send them"});
  }
  return std::string(text);
}

Parsed<HeaderMatch> parse_header_match(std::string_view name, std::string_view value) {
  if (!is_token(name))
    return std::unexpected(Problem{in_quotes(name) + " is not a header name", "an HTTP token (RFC 9110)"});
  const bool outer_space =
      value.starts_with(' ') || value.ends_with(' ') || value.starts_with('\t') || value.ends_with('\t');
  const bool control =
      std::ranges::any_of(value, [](char c) { return (c >= 0 && c < ' ' && c != '\t') || c == '\x7f'; });
  if (outer_space || control) {
    return std::unexpected(Problem{"no header can have this value: it contains a control character or space around it",
                                   "the value without surrounding space"});
  }
  return HeaderMatch{lower_case(name), std::string(value)};
}

Parsed<std::string> parse_name(std::string_view text) {
  const bool valid = !text.empty() && text.size() <= 128 && is_printable_ascii(text) &&
                     text.find_first_of("\"\\") == std::string_view::npos && !text.starts_with(' ') &&
                     !text.ends_with(' ');
  if (!valid) {
    return std::unexpected(Problem{in_quotes(text) + " cannot be a name",
                                   "1 to 128 printable ASCII characters without quotes and backslashes"});
  }
  return std::string(text);
}

Parsed<std::string> parse_token(std::string_view text) {
  if (!is_token(text))
    return std::unexpected(Problem{in_quotes(text) + " is not an HTTP token", "letters, digits and !#$%&'*+-.^_`|~"});
  return std::string(text);
}

Parsed<std::string> parse_intent(std::string_view text) {
  if (!is_token(text) || text.size() > 64) {
    return std::unexpected(Problem{in_quotes(text) + " cannot be an intent",
                                   "1 to 64 letters, digits and !#$%&'*+-.^_`|~, such as \"realtime\""});
  }
  return lower_case(text);
}

Parsed<HashKey> parse_hash_key(std::string_view text) {
  constexpr std::string_view kHeader = "header:";
  constexpr std::string_view kCookie = "cookie:";
  if (text == "client") return HashKey{};
  if (text.starts_with(kHeader) && is_token(text.substr(kHeader.size()))) {
    return HashKey{.kind = HashKey::Kind::header, .name = lower_case(text.substr(kHeader.size()))};
  }
  if (text.starts_with(kCookie) && is_token(text.substr(kCookie.size()))) {
    return HashKey{.kind = HashKey::Kind::cookie, .name = std::string(text.substr(kCookie.size()))};
  }
  return std::unexpected(Problem{in_quotes(text) + " is nothing to keep requests together by",
                                 R"("client", "header:NAME" or "cookie:NAME")"});
}

Parsed<std::string> parse_optional_header_name(std::string_view text) {
  if (!text.empty() && !is_token(text)) {
    return std::unexpected(Problem{in_quotes(text) + " is not a header name", "an HTTP token (RFC 9110), or \"\""});
  }
  return lower_case(text);
}

Parsed<std::string> parse_log_path(std::string_view text) {
  if (text.find('\0') != std::string_view::npos || text.size() > 4095 || text.ends_with('/')) {
    return std::unexpected(
        Problem{in_quotes(text) + " cannot be the path of a file", "\"\", \"-\" or the path of a file"});
  }
  return std::string(text);
}

Parsed<std::string> parse_file_path(std::string_view text) {
  constexpr std::size_t kPathMax = 4095;
  if (text.empty() || text.find('\0') != std::string_view::npos || text.size() > kPathMax || text.ends_with('/')) {
    return std::unexpected(Problem{in_quotes(text) + " cannot be the path of a file", "the path of a file"});
  }
  return std::string(text);
}

}  // namespace dao::config

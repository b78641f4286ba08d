#include "dao/config/address.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "dao/config/names.h"

namespace dao::config {
namespace {

constexpr std::string_view kBindForms = R"("host:port", "[ipv6]:port", "*:port", "unix:/path" or "fd:NAME")";
constexpr std::string_view kNameServerForms = R"("ip:port" or "[ipv6]:port")";
constexpr std::string_view kBlockForms = R"(an address like "192.0.2.7", a block like "10.0.0.0/8", or "unix")";

struct HostPort {
  std::string_view host;  // without brackets
  std::string_view port;
  bool bracketed = false;
};

// Splits at the last colon, or behind the bracket of an IPv6 literal.
Parsed<HostPort> split_host_port(std::string_view text, std::string_view forms) {
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos) return std::unexpected(Problem{"\"]\" is missing", std::string(forms)});
    const std::string_view host = text.substr(1, close - 1);
    if (!is_ipv6(host))
      return std::unexpected(Problem{in_quotes(host) + " is not an IPv6 address", std::string(forms)});
    const std::string_view rest = text.substr(close + 1);
    if (!rest.starts_with(':')) return std::unexpected(Problem{"the port is missing", std::string(forms)});
    return HostPort{host, rest.substr(1), true};
  }
  if (is_ipv6(text)) {
    return std::unexpected(
        Problem{"an IPv6 address needs brackets and a port", std::string(forms), fmt::format("[{}]:80", text)});
  }
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::unexpected(Problem{"the port is missing", std::string(forms)});
  return HostPort{text.substr(0, colon), text.substr(colon + 1), false};
}

// An address in its one canonical spelling, so that equal addresses are equal texts.
std::string canonical_ip(std::string_view text) {
  const int family = text.find(':') == std::string_view::npos ? AF_INET : AF_INET6;
  std::array<unsigned char, 16> bytes{};
  std::array<char, INET6_ADDRSTRLEN> out{};
  if (inet_pton(family, std::string(text).c_str(), bytes.data()) != 1) return std::string(text);
  return inet_ntop(family, bytes.data(), out.data(), out.size());
}

}  // namespace

Parsed<std::uint16_t> parse_port(std::string_view text) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || text.size() > 5 || error != std::errc() || end != text.data() + text.size() || value > 65535) {
    return std::unexpected(Problem{in_quotes(text) + " is not a port", "a number from 0 to 65535"});
  }
  return static_cast<std::uint16_t>(value);
}

Parsed<std::string> parse_unix_path(std::string_view text) {
  if (text.starts_with("///")) text.remove_prefix(2);
  if (!text.starts_with('/') || text.starts_with("//") || text.size() == 1) {
    return std::unexpected(Problem{"the path of a unix socket must be absolute", "\"unix:/path\""});
  }
  constexpr std::size_t kMaxPath = sizeof(sockaddr_un::sun_path) - 1;
  if (text.size() > kMaxPath) {
    return std::unexpected(Problem{fmt::format("the path of a unix socket has {} bytes", text.size()),
                                   fmt::format("at most {} bytes", kMaxPath)});
  }
  if (text.find('\0') != std::string_view::npos) {
    return std::unexpected(Problem{"the path of a unix socket contains a NUL character", "\"unix:/path\""});
  }
  return std::string(text);
}

Parsed<Address> parse_bind(std::string_view text) {
  Address address;
  address.text = text;
  if (text.starts_with("unix:")) {
    auto path = parse_unix_path(text.substr(5));
    if (!path) return std::unexpected(path.error());
    address.kind = Address::Kind::unix_socket;
    address.path = *std::move(path);
    return address;
  }
  if (text.starts_with("fd:")) {
    address.host = text.substr(3);
    const bool plain = std::ranges::all_of(address.host, [](char c) { return c > ' ' && c < 0x7f && c != ':'; });
    if (address.host.empty() || !plain || address.host.size() > 255) {
      return std::unexpected(
          Problem{in_quotes(text) + " names no socket", "\"fd:NAME\", as in FileDescriptorName= of the socket unit"});
    }
    address.kind = Address::Kind::inherited;
    return address;
  }
  if (const std::size_t scheme = text.find("://"); scheme != std::string_view::npos) {
    std::string_view rest = text.substr(scheme + 3);
    while (rest.ends_with('/')) rest.remove_suffix(1);
    return std::unexpected(
        Problem{in_quotes(text) + " is a URL, not an address", std::string(kBindForms), std::string(rest)});
  }
  if (text.starts_with('/')) {
    return std::unexpected(
        Problem{in_quotes(text) + " is not an address", std::string(kBindForms), fmt::format("unix:{}", text)});
  }
  if (!text.empty() && std::ranges::all_of(text, is_digit)) {
    return std::unexpected(Problem{"the host is missing", std::string(kBindForms), fmt::format("*:{}", text)});
  }
  const auto split = split_host_port(text, kBindForms);
  if (!split) return std::unexpected(split.error());
  const auto port = parse_port(split->port);
  if (!port) return std::unexpected(port.error());
  address.port = *port;
  if (!split->bracketed && (split->host.empty() || split->host == "*")) return address;
  if (!split->bracketed && !is_ipv4(split->host)) {
    Problem problem{in_quotes(split->host) + " is not an IP address", "an IP address, or \"*\" for every address"};
    if (lower_case(split->host) == "localhost") problem.suggestion = fmt::format("127.0.0.1:{}", *port);
    return std::unexpected(std::move(problem));
  }
  address.host = canonical_ip(split->host);
  return address;
}

Parsed<Address> parse_name_server(std::string_view text) {
  Address address;
  address.text = text;
  address.port = 53;
  if (is_ipv4(text) || is_ipv6(text)) {
    address.host = canonical_ip(text);
    return address;
  }
  const auto split = split_host_port(text, kNameServerForms);
  if (!split) {
    Problem problem = split.error();
    if (is_host_name(text)) problem.message = in_quotes(text) + " is not an IP address";
    return std::unexpected(std::move(problem));
  }
  if (!split->bracketed && !is_ipv4(split->host)) {
    return std::unexpected(Problem{in_quotes(split->host) + " is not an IP address", std::string(kNameServerForms)});
  }
  const auto port = parse_port(split->port);
  if (!port) return std::unexpected(port.error());
  if (*port == 0) return std::unexpected(Problem{"port 0 cannot be sent to", "a number from 1 to 65535"});
  address.host = canonical_ip(split->host);
  address.port = *port;
  return address;
}

Parsed<AddressBlock> parse_address_block(std::string_view text) {
  AddressBlock block;
  const std::size_t slash = text.find('/');
  const std::string_view host = text.substr(0, slash);
  if (!is_ipv4(host) && !is_ipv6(host)) {
    return std::unexpected(Problem{in_quotes(host) + " is not an IP address", std::string(kBlockForms)});
  }
  block.v4 = host.find(':') == std::string_view::npos;
  const unsigned bits = block.v4 ? 32 : 128;
  inet_pton(block.v4 ? AF_INET : AF_INET6, std::string(host).c_str(), block.bytes.data());

  unsigned prefix = bits;
  if (slash != std::string_view::npos) {
    const std::string_view length = text.substr(slash + 1);
    const auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), prefix);
    if (length.empty() || length.size() > 3 || error != std::errc() || end != length.data() + length.size() ||
        prefix > bits) {
      return std::unexpected(
          Problem{in_quotes(length) + " is not a prefix length", fmt::format("a number from 0 to {}", bits)});
    }
  }
  block.prefix = static_cast<std::uint8_t>(prefix);

  const auto given = block.bytes;
  for (unsigned bit = prefix; bit < bits; ++bit) {
    auto& byte = block.bytes[bit / 8];
    byte = static_cast<std::uint8_t>(byte & ~(0x80U >> bit % 8));
  }
  if (given != block.bytes) {
    std::array<char, INET6_ADDRSTRLEN> name{};
    inet_ntop(block.v4 ? AF_INET : AF_INET6, block.bytes.data(), name.data(), name.size());
    return std::unexpected(Problem{fmt::format("{} has bits set behind its prefix of {}", in_quotes(text), prefix),
                                   "the first address of the block", fmt::format("{}/{}", name.data(), prefix)});
  }
  return block;
}

bool is_local(const Address& address) {
  switch (address.kind) {
    case Address::Kind::unix_socket:
      return true;
    case Address::Kind::tcp:
      return address.host.starts_with("127.") || address.host == "::1";
    case Address::Kind::inherited:
      break;
  }
  return false;
}

bool same_listener(const Address& a, const Address& b) {
  if (a.kind != b.kind) return false;
  if (a.kind == Address::Kind::unix_socket) return a.path == b.path;
  if (a.kind == Address::Kind::inherited) return a.host == b.host;
  if (a.port != b.port || a.port == 0) return false;
  const auto any = [](const Address& address) {
    return address.host.empty() || address.host == "0.0.0.0" || address.host == "::";
  };
  return a.host == b.host || (a.host.empty() && any(b)) || (b.host.empty() && any(a));
}

}  // namespace dao::config

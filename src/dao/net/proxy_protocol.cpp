#include "dao/net/proxy_protocol.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>

namespace dao::net {

namespace {

using namespace std::string_view_literals;

constexpr std::string_view kSignatureV1 = "PROXY "sv;
constexpr std::string_view kSignatureV2 = "\r\n\r\n\0\r\nQUIT\n"sv;
constexpr std::size_t kFixedV2 = 16;  // signature, version and command, family and protocol, length

std::unexpected<Error> refused(std::string_view why) {
  return std::unexpected(Error{.origin = Origin::client, .kind = ErrorKind::proxy_header, .detail = why});
}

// One of the two begins with the other.
bool begins_like(std::string_view received, std::string_view signature) {
  const std::size_t common = std::min(received.size(), signature.size());
  return received.substr(0, common) == signature.substr(0, common);
}

// Up to the next space, which is taken too; the last word has none behind it.
std::optional<std::string_view> next_word(std::string_view& line, bool last) {
  const std::size_t end = line.find(' ');
  if ((end == std::string_view::npos) != last) return std::nullopt;
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(last ? line.size() : end + 1);
  if (word.empty()) return std::nullopt;
  return word;
}

std::optional<std::uint16_t> port_of(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (text.size() > 1 && text.front() == '0') return std::nullopt;
  return port;
}

std::optional<Peer> peer_of(int family, std::string_view address, std::uint16_t port) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.size() >= text.size() || address.find('\0') != std::string_view::npos) return std::nullopt;
  std::memcpy(text.data(), address.data(), address.size());
  if (family == AF_INET) {
    sockaddr_in raw{};
    raw.sin_family = AF_INET;
    raw.sin_port = htons(port);
    if (inet_pton(AF_INET, text.data(), &raw.sin_addr) != 1) return std::nullopt;
    return Peer(reinterpret_cast<const sockaddr*>(&raw));
  }
  sockaddr_in6 raw{};
  raw.sin6_family = AF_INET6;
  raw.sin6_port = htons(port);
  if (inet_pton(AF_INET6, text.data(), &raw.sin6_addr) != 1) return std::nullopt;
  return Peer(reinterpret_cast<const sockaddr*>(&raw));
}

Result<ProxyHeader> parse_v1(std::string_view received) {
  const std::string_view within = received.substr(0, kProxyHeaderV1Max);
  const std::size_t cr = within.find_first_of("\r\n");
  const bool ends_here = cr != std::string_view::npos;
  if (ends_here && (within[cr] != '\r' || (cr + 1 < within.size() && within[cr + 1] != '\n'))) {
    return refused("a PROXY line that does not end with CR LF");
  }
  if (!ends_here || cr + 1 >= within.size()) {
    if (within.size() == kProxyHeaderV1Max) return refused("a PROXY line of more than 107 bytes");
    return ProxyHeader{};
  }
  ProxyHeader header{.bytes = cr + 2, .source = std::nullopt};
  std::string_view line = within.substr(kSignatureV1.size(), cr - kSignatureV1.size());
  if (line == "UNKNOWN" || line.starts_with("UNKNOWN ")) return header;

  const std::optional<std::string_view> protocol = next_word(line, false);
  const int family = protocol == "TCP4" ? AF_INET : AF_INET6;
  if (protocol != "TCP4" && protocol != "TCP6") return refused("a PROXY line for neither TCP4, TCP6 nor UNKNOWN");
  const auto source = next_word(line, false);
  const auto destination = next_word(line, false);
  const auto source_port = next_word(line, false);
  const auto destination_port = next_word(line, true);
  if (!source || !destination || !source_port || !destination_port) {
    return refused("a PROXY line without its two addresses and two ports");
  }
  const auto port = port_of(*source_port);
  if (!port || !port_of(*destination_port)) return refused("a PROXY line with a bad port");
  header.source = peer_of(family, *source, *port);
  if (!header.source || !peer_of(family, *destination, 0)) return refused("a PROXY line with a bad address");
  return header;
}

std::uint8_t byte_at(std::string_view text, std::size_t index) {
  return static_cast<std::uint8_t>(text[index]);
}

std::uint16_t short_at(std::string_view text, std::size_t index) {
  return static_cast<std::uint16_t>(byte_at(text, index) << 8U | byte_at(text, index + 1));
}

// CRC-32C (RFC 9260 appendix A) of `text`, in which the four bytes at `zeroed` count as zero.
std::uint32_t crc32c(std::string_view text, std::size_t zeroed) {
  std::uint32_t crc = ~0U;
  for (std::size_t i = 0; i < text.size(); ++i) {
    crc ^= i >= zeroed && i < zeroed + 4 ? 0U : byte_at(text, i);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? 0x82f63b78U : 0U);
  }
  return ~crc;
}

// Fields behind the addresses: only their framing and the checksum over the whole header concern us.
Result<> check_fields(std::string_view header, std::size_t at) {
  constexpr std::uint8_t kTypeCrc32c = 0x03;
  while (at < header.size()) {
    if (header.size() - at < 3) return refused("a PROXY header with a field cut short");
    const std::uint8_t type = byte_at(header, at);
    const std::size_t length = short_at(header, at + 1);
    at += 3;
    if (header.size() - at < length) return refused("a PROXY header with a field cut short");
    if (type == kTypeCrc32c) {
      if (length != 4) return refused("a PROXY header with a checksum of the wrong size");
      const std::uint32_t given = std::uint32_t{short_at(header, at)} << 16U | short_at(header, at + 2);
      if (given != crc32c(header, at)) return refused("a PROXY header with a wrong checksum");
    }
    at += length;
  }
  return {};
}

Result<ProxyHeader> parse_v2(std::string_view received) {
  enum Family : std::uint8_t { unspecified, inet, inet6, local };
  constexpr std::array<std::size_t, 4> kAddressBytes = {0, 12, 36, 216};

  if (received.size() > 12) {
    const std::uint8_t version_and_command = byte_at(received, 12);
    if (version_and_command != 0x20 && version_and_command != 0x21) {
      return refused("a PROXY header of an unknown version or command");
    }
  }
  if (received.size() < kFixedV2) return ProxyHeader{};
  const bool proxied = byte_at(received, 12) == 0x21;
  const std::uint8_t family = byte_at(received, 13) >> 4U;
  const std::uint8_t transport = byte_at(received, 13) & 0x0fU;
  const std::size_t length = kFixedV2 + short_at(received, 14);
  if (length > kProxyHeaderMax) return refused("a PROXY header of more than 4096 bytes");
  if (family > local || transport > 2) return refused("a PROXY header of an unknown address family or protocol");
  if (received.size() < length) return ProxyHeader{};

  const std::string_view whole = received.substr(0, length);
  ProxyHeader header{.bytes = length, .source = std::nullopt};
  // What a LOCAL header has behind its fixed part is to be skipped unread.
  if (!proxied) return header;
  if (transport == 2) return refused("a PROXY header for datagrams");
  const std::size_t fields = kFixedV2 + kAddressBytes.at(family);
  if (whole.size() < fields) return refused("a PROXY header that is too short for its addresses");
  if (const Result<> checked = check_fields(whole, fields); !checked && family != unspecified) {
    return std::unexpected(checked.error());
  }
  if (transport == 0 || family == unspecified) return header;

  const char* addresses = whole.data() + kFixedV2;
  if (family == inet) {
    sockaddr_in raw{};
    raw.sin_family = AF_INET;
    std::memcpy(&raw.sin_addr, addresses, 4);
    std::memcpy(&raw.sin_port, addresses + 8, 2);
    header.source = Peer(reinterpret_cast<const sockaddr*>(&raw));
  } else if (family == inet6) {
    sockaddr_in6 raw{};
    raw.sin6_family = AF_INET6;
    std::memcpy(&raw.sin6_addr, addresses, 16);
    std::memcpy(&raw.sin6_port, addresses + 32, 2);
    header.source = Peer(reinterpret_cast<const sockaddr*>(&raw));
  } else {
    header.source = Peer();
  }
  return header;
}

}  // namespace

Result<ProxyHeader> parse_proxy_header(std::string_view received) {
  if (begins_like(received, kSignatureV1)) {
    return received.size() < kSignatureV1.size() ? ProxyHeader{} : parse_v1(received);
  }
  if (begins_like(received, kSignatureV2)) return parse_v2(received);
  return refused("what came is no PROXY header");
}

}  // namespace dao::net

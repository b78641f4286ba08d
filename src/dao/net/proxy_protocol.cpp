#include "dao/net/proxy_protocol.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <span>

namespace dao::net {

namespace {

using namespace std::string_view_literals;

constexpr std::string_view kSignatureV1 = "PROXY "sv;
constexpr std::string_view kSignatureV2 = "\r\n\r\n\0\r\nQUIT\n"sv;
constexpr std::size_t kFixedV2 = 16;  // signature, version and command, family and protocol, length

enum FamilyV2 : std::uint8_t { unspecified, inet, inet6, local };
constexpr std::uint8_t kStream = 1;
constexpr std::uint8_t kLocal = 0x20;  // version 2 and the command
constexpr std::uint8_t kProxy = 0x21;
// Types of the fields behind the addresses (section 2.2).
enum FieldV2 : std::uint8_t { alpn = 0x01, authority = 0x02, crc32c_sum = 0x03, ssl = 0x20 };
enum SslField : std::uint8_t { ssl_version = 0x21, ssl_common_name = 0x22, ssl_cipher = 0x23 };

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

std::optional<SocketAddress> address_of(int family, std::string_view address, std::uint16_t port) {
  if (address.find('\0') != std::string_view::npos) return std::nullopt;
  std::optional<SocketAddress> found = SocketAddress::from_ip(address, port);
  if (found && found->family() != family) return std::nullopt;
  return found;
}

// From raw bytes in network order.
SocketAddress inet_address(const char* address, const char* port) {
  sockaddr_in raw{};
  raw.sin_family = AF_INET;
  std::memcpy(&raw.sin_addr, address, sizeof raw.sin_addr);
  std::memcpy(&raw.sin_port, port, sizeof raw.sin_port);
  return SocketAddress::from_raw(reinterpret_cast<const sockaddr*>(&raw), sizeof raw);
}
SocketAddress inet6_address(const char* address, const char* port) {
  sockaddr_in6 raw{};
  raw.sin6_family = AF_INET6;
  std::memcpy(&raw.sin6_addr, address, sizeof raw.sin6_addr);
  std::memcpy(&raw.sin6_port, port, sizeof raw.sin6_port);
  return SocketAddress::from_raw(reinterpret_cast<const sockaddr*>(&raw), sizeof raw);
}

Peer peer_of(const SocketAddress& source, const SocketAddress& destination) {
  Peer peer(source.raw());
  peer.set_destination(destination.raw());
  return peer;
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
  const auto from_port = port_of(*source_port);
  const auto to_port = port_of(*destination_port);
  if (!from_port || !to_port) return refused("a PROXY line with a bad port");
  const auto from = address_of(family, *source, *from_port);
  const auto to = address_of(family, *destination, *to_port);
  if (!from || !to) return refused("a PROXY line with a bad address");
  header.source = peer_of(*from, *to);
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
  while (at < header.size()) {
    if (header.size() - at < 3) return refused("a PROXY header with a field cut short");
    const std::uint8_t type = byte_at(header, at);
    const std::size_t length = short_at(header, at + 1);
    at += 3;
    if (header.size() - at < length) return refused("a PROXY header with a field cut short");
    if (type == crc32c_sum) {
      if (length != 4) return refused("a PROXY header with a checksum of the wrong size");
      const std::uint32_t given = std::uint32_t{short_at(header, at)} << 16U | short_at(header, at + 2);
      if (given != crc32c(header, at)) return refused("a PROXY header with a wrong checksum");
    }
    at += length;
  }
  return {};
}

Result<ProxyHeader> parse_v2(std::string_view received) {
  constexpr std::array<std::size_t, 4> kAddressBytes = {0, 12, 36, 216};

  if (received.size() > 12) {
    const std::uint8_t version_and_command = byte_at(received, 12);
    if (version_and_command != kLocal && version_and_command != kProxy) {
      return refused("a PROXY header of an unknown version or command");
    }
  }
  if (received.size() < kFixedV2) return ProxyHeader{};
  const bool proxied = byte_at(received, 12) == kProxy;
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
    header.source = peer_of(inet_address(addresses, addresses + 8), inet_address(addresses + 4, addresses + 10));
  } else if (family == inet6) {
    header.source = peer_of(inet6_address(addresses, addresses + 32), inet6_address(addresses + 16, addresses + 34));
  } else {
    header.source = Peer();
  }
  return header;
}

void append_short(std::string& to, std::size_t value) {
  to += static_cast<char>(value >> 8U);
  to += static_cast<char>(value & 0xffU);
}

void append_bytes(std::string& to, std::span<const std::uint8_t> bytes) {
  to.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

// Left out if it is empty, or longer than anybody needs.
void append_field(std::string& to, std::uint8_t type, std::string_view value) {
  constexpr std::size_t kMost = 256;
  if (value.empty() || value.size() > kMost) return;
  to += static_cast<char>(type);
  append_short(to, value.size());
  to += value;
}

void set_short(std::string& in, std::size_t at, std::size_t value) {
  in[at] = static_cast<char>(value >> 8U);
  in[at + 1] = static_cast<char>(value & 0xffU);
}

// What the client agreed on with us.
void append_tls_fields(const TlsFacts& tls, std::string& to) {
  constexpr char kOverTls = 0x01;
  constexpr char kCertificateNow = 0x02;
  constexpr char kCertificateInSession = 0x04;
  append_field(to, alpn, tls.alpn);
  append_field(to, authority, tls.server_name);
  const std::size_t begin = to.size();
  to += static_cast<char>(ssl);
  append_short(to, 0);
  char facts = kOverTls;
  if (tls.client_verified) facts |= tls.resumed ? kCertificateInSession : kCertificateNow | kCertificateInSession;
  to += facts;
  to.append(3, '\0');
  to += tls.client_verified ? '\0' : '\1';
  append_field(to, ssl_version, tls.version);
  append_field(to, ssl_common_name, tls.client_common_name);
  append_field(to, ssl_cipher, tls.cipher);
  set_short(to, begin + 1, to.size() - begin - 3);
}

void write_v1(const Peer& client, std::string& to) {
  if (client.is_unix()) {
    to += "PROXY UNKNOWN\r\n";
    return;
  }
  std::array<char, INET6_ADDRSTRLEN> destination{};
  std::array<std::uint8_t, 16> bytes{};
  std::ranges::copy(client.destination(), bytes.begin());
  inet_ntop(client.is_v6() ? AF_INET6 : AF_INET, bytes.data(), destination.data(), destination.size());
  to += client.is_v6() ? "PROXY TCP6 " : "PROXY TCP4 ";
  to += client.ip_text();
  to += ' ';
  to += destination.data();
  to += ' ';
  to += std::to_string(client.port());
  to += ' ';
  to += std::to_string(client.destination_port());
  to += "\r\n";
}

void write_v2(const Peer& client, const TlsFacts* tls, std::string& to) {
  to += kSignatureV2;
  to += static_cast<char>(kProxy);
  const std::uint8_t family = client.is_v6() ? inet6 : inet;
  to += static_cast<char>(client.is_unix() ? 0 : family << 4U | kStream);
  append_short(to, 0);
  if (!client.is_unix()) {
    std::array<std::uint8_t, 16> destination{};
    std::ranges::copy(client.destination(), destination.begin());
    append_bytes(to, client.bytes());
    append_bytes(to, std::span(destination).first(client.bytes().size()));
    append_short(to, client.port());
    append_short(to, client.destination_port());
  }
  if (tls != nullptr) append_tls_fields(*tls, to);
  set_short(to, kFixedV2 - 2, to.size() - kFixedV2);
}

}  // namespace

void write_proxy_header(ProxyVersion version, const Peer& client, const TlsFacts* tls, std::string& to) {
  to.clear();
  if (version == ProxyVersion::v1) {
    write_v1(client, to);
  } else {
    write_v2(client, tls, to);
  }
}

Result<ProxyHeader> parse_proxy_header(std::string_view received) {
  if (begins_like(received, kSignatureV1)) {
    return received.size() < kSignatureV1.size() ? ProxyHeader{} : parse_v1(received);
  }
  if (begins_like(received, kSignatureV2)) return parse_v2(received);
  return refused("what came is no PROXY header");
}

}  // namespace dao::net

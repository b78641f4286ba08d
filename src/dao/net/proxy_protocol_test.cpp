#include "dao/net/proxy_protocol.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace dao::net {
namespace {

using namespace std::string_literals;

const std::string kSignature = "\r\n\r\n\0\r\nQUIT\n"s;

std::string v2(unsigned char command, unsigned char family, const std::string& rest) {
  return kSignature + static_cast<char>(command) + static_cast<char>(family) + static_cast<char>(rest.size() >> 8U) +
         static_cast<char>(rest.size() & 0xffU) + rest;
}

const std::string kInet = "\xc0\x00\x02\x07\xc6\x33\x64\x01\x10\x92\x01\xbb"s;  // 192.0.2.7:4242 to 198.51.100.1:443

// Accepted as a whole, and still unfinished at every shorter length.
ProxyHeader accept(const std::string& header) {
  for (std::size_t size = 0; size < header.size(); ++size) {
    const auto part = parse_proxy_header(std::string_view(header).substr(0, size));
    EXPECT_TRUE(part.has_value()) << size << " of " << header;
    if (part) {
      EXPECT_EQ(part->bytes, 0U) << size;
    }
  }
  const auto parsed = parse_proxy_header(header + "\x16\x03GET / HTTP/1.1\r\n");
  EXPECT_TRUE(parsed.has_value()) << header << ": " << (parsed ? "" : parsed.error().detail);
  if (!parsed) return {};
  EXPECT_EQ(parsed->bytes, header.size());
  return *parsed;
}

std::string source(const std::string& header) {
  const ProxyHeader parsed = accept(header);
  if (!parsed.source) return "none";
  return std::string(parsed.source->ip_text()) + " " + std::to_string(parsed.source->port());
}

void refuse(const std::string& header) {
  const auto parsed = parse_proxy_header(header);
  ASSERT_FALSE(parsed.has_value()) << header << " taken as " << parsed->bytes;
  EXPECT_EQ(parsed.error().kind, ErrorKind::proxy_header);
  EXPECT_EQ(parsed.error().origin, Origin::client);
  EXPECT_FALSE(parsed.error().detail.empty());
}

TEST(ProxyHeaderV1, TellsTheSource) {
  EXPECT_EQ(source("PROXY TCP4 192.0.2.7 198.51.100.1 4242 443\r\n"), "192.0.2.7 4242");
  EXPECT_EQ(source("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), "255.255.255.255 65535");
  EXPECT_EQ(source("PROXY TCP6 2001:db8::7 2001:DB8::1 0 443\r\n"), "2001:db8::7 0");
  EXPECT_EQ(source("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n"), "192.0.2.7 1");
  const std::string longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
  EXPECT_EQ(source("PROXY TCP6 " + longest + " " + longest + " 65535 65535\r\n"), longest + " 65535");
}

TEST(ProxyHeaderV1, MayNotKnow) {
  EXPECT_EQ(source("PROXY UNKNOWN\r\n"), "none");
  EXPECT_EQ(source("PROXY UNKNOWN whatever may stand here\r\n"), "none");
  EXPECT_EQ(source("PROXY UNKNOWN " + std::string(kProxyHeaderV1Max - 16, 'f') + "\r\n"), "none");
}

TEST(ProxyHeaderV1, RefusesWhatIsNotExactlyThat) {
  for (const char* line : {
           "PROXY TCP4 192.0.2.7 198.51.100.1 4242 443\n",
           "PROXY TCP4 192.0.2.7 198.51.100.1 4242 443\r\r",
           "PROXY TCP4 192.0.2.7 198.51.100.1 4242\r\n",
           "PROXY TCP4 192.0.2.7 198.51.100.1 4242 443 \r\n",
           "PROXY TCP4  192.0.2.7 198.51.100.1 4242 443\r\n",
           "PROXY TCP4 192.0.2.7 198.51.100.1 4242 443 1\r\n",
           "PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
           "PROXY TCP4 192.0.2.7 198.51.100.1 04242 443\r\n",
           "PROXY TCP4 192.0.2.7 198.51.100.1 -1 443\r\n",
           "PROXY TCP4 192.0.2.7 198.51.100.1 +1 443\r\n",
           "PROXY TCP4 192.0.2 198.51.100.1 1 443\r\n",
           "PROXY TCP4 192.0.2.07 198.51.100.1 1 443\r\n",
           "PROXY TCP4 2001:db8::7 2001:db8::1 1 443\r\n",
           "PROXY TCP6 192.0.2.7 198.51.100.1 1 443\r\n",
           "PROXY TCP5 192.0.2.7 198.51.100.1 1 443\r\n",
           "PROXY tcp4 192.0.2.7 198.51.100.1 1 443\r\n",
           "PROXY UNKNOWNS\r\n",
           "PROXY \r\n",
           "PROXY\t",
           "proxy ",
           "GET / HTTP/1.1\r\n",
           "\x16\x03\x01",
           "PROXY TCP4 192.0.2.7%eth0 198.51.100.1 1 443\r\n",
       }) {
    refuse(line);
  }
  refuse("PROXY UNKNOWN " + std::string(kProxyHeaderV1Max - 15, 'f') + "\r\n");
  refuse("PROXY TCP4 1.2.3.4\0 1.2.3.4 1 1\r\n"s);
  refuse("PROXY TCP6 " + std::string(60, '1') + " ::1 1 1\r\n");
}

TEST(ProxyHeaderV2, TellsTheSource) {
  EXPECT_EQ(source(v2(0x21, 0x11, kInet)), "192.0.2.7 4242");
  EXPECT_EQ(
      source(v2(0x21, 0x21,
                "\x20\x01\x0d\xb8"s + std::string(11, '\0') + "\x07" + std::string(16, '\0') + "\x10\x92\x01\xbb")),
      "2001:db8::7 4242");
  EXPECT_EQ(source(v2(0x21, 0x31, std::string(216, 'p'))), "unix 0");
}

TEST(ProxyHeaderV2, MayNotKnow) {
  EXPECT_EQ(source(v2(0x20, 0x00, "")), "none");
  EXPECT_EQ(source(v2(0x20, 0x11, kInet)), "none");  // LOCAL: whatever stands there
  EXPECT_EQ(source(v2(0x20, 0x11, "x")), "none");
  EXPECT_EQ(source(v2(0x21, 0x00, "anything")), "none");
  EXPECT_EQ(source(v2(0x21, 0x10, kInet)), "none");
}

TEST(ProxyHeaderV2, SkipsFieldsAndChecksTheChecksum) {
  EXPECT_EQ(source(v2(0x21, 0x11, kInet + "\x04\x00\x00"s)), "192.0.2.7 4242");
  EXPECT_EQ(source(v2(0x21, 0x11, kInet + "\x02\x00\x03"s + "a.b" + "\xea\x00\x01x"s)), "192.0.2.7 4242");
  EXPECT_EQ(source(v2(0x21, 0x11, kInet + "\x04\x0f\xe1"s + std::string(4065, 'n'))), "192.0.2.7 4242");
  // Computed with an independent implementation.
  EXPECT_EQ(source(v2(0x21, 0x11, kInet + "\x03\x00\x04\x7d\xdb\xb3\x2e"s)), "192.0.2.7 4242");
  refuse(v2(0x21, 0x11, kInet + "\x03\x00\x04\x7d\xdb\xb3\x2f"s));
  refuse(v2(0x21, 0x11, kInet + "\x03\x00\x03\x7d\xdb\xb3"s));
}

TEST(ProxyHeaderV2, RefusesWhatIsNotExactlyThat) {
  refuse(v2(0x11, 0x11, kInet));
  refuse(v2(0x31, 0x11, kInet));
  refuse(v2(0x22, 0x11, kInet));
  refuse(v2(0x21, 0x41, kInet));
  refuse(v2(0x21, 0x13, kInet));
  refuse(v2(0x21, 0x12, kInet));
  refuse(v2(0x21, 0x11, kInet.substr(1)));
  refuse(v2(0x21, 0x21, kInet));
  refuse(v2(0x21, 0x31, kInet));
  refuse(v2(0x21, 0x11, kInet + "\x04\x00"s));
  refuse(v2(0x21, 0x11, kInet + "\x04\x00\x02x"s));
  refuse(v2(0x21, 0x11, kInet + std::string(kProxyHeaderMax, 'x')));
  refuse(kSignature.substr(0, 11) + "\r");
}

// Who is announced when `from` connected to `to` ("" if that is not known).
Peer client(const char* from, std::uint16_t port, const char* to, std::uint16_t to_port) {
  Peer peer(SocketAddress::from_ip(from, port)->raw());
  if (*to != '\0') peer.set_destination(SocketAddress::from_ip(to, to_port)->raw());
  return peer;
}

std::string written(ProxyVersion version, const Peer& peer, const TlsFacts* tls = nullptr) {
  std::string header = "what was there before";
  write_proxy_header(version, peer, tls, header);
  return header;
}

TEST(WriteProxyHeader, Version1) {
  const auto v1 = [](const Peer& peer) { return written(ProxyVersion::v1, peer); };
  EXPECT_EQ(v1(client("192.0.2.7", 4242, "198.51.100.1", 443)), "PROXY TCP4 192.0.2.7 198.51.100.1 4242 443\r\n");
  EXPECT_EQ(v1(client("::ffff:192.0.2.7", 1, "::ffff:198.51.100.1", 2)), "PROXY TCP4 192.0.2.7 198.51.100.1 1 2\r\n");
  EXPECT_EQ(v1(client("2001:db8::7", 1, "2001:DB8::1", 65535)), "PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n");
  EXPECT_EQ(v1(client("192.0.2.7", 4242, "", 0)), "PROXY TCP4 192.0.2.7 0.0.0.0 4242 0\r\n");
  EXPECT_EQ(v1(client("192.0.2.7", 4242, "::1", 443)), "PROXY TCP4 192.0.2.7 0.0.0.0 4242 0\r\n");
  EXPECT_EQ(v1(client("2001:db8::7", 4242, "", 0)), "PROXY TCP6 2001:db8::7 :: 4242 0\r\n");
  EXPECT_EQ(v1(Peer()), "PROXY UNKNOWN\r\n");
  const char* longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
  EXPECT_LE(v1(client(longest, 65535, longest, 65535)).size(), kProxyHeaderV1Max);
}

TEST(WriteProxyHeader, Version2) {
  const auto plain = [](const Peer& peer) { return written(ProxyVersion::v2, peer); };
  EXPECT_EQ(plain(client("192.0.2.7", 4242, "198.51.100.1", 443)), v2(0x21, 0x11, kInet));
  EXPECT_EQ(plain(client("2001:db8::7", 4242, "::1", 443)),
            v2(0x21, 0x21,
               "\x20\x01\x0d\xb8"s + std::string(11, '\0') + "\x07" + std::string(15, '\0') + "\x01\x10\x92\x01\xbb"));
  EXPECT_EQ(plain(Peer()), v2(0x21, 0x00, ""));
}

TEST(WriteProxyHeader, Version2TellsOfTls) {
  TlsFacts tls;
  tls.version = "TLSv1.3";
  tls.cipher = "TLS_X";
  tls.alpn = "h2";
  tls.server_name = "a.test";
  const std::string about = "\x01\x00\x02h2\x02\x00\x06"s + "a.test";
  const std::string version = "\x21\x00\x07TLSv1.3"s;
  const std::string cipher = "\x23\x00\x05TLS_X"s;
  const Peer peer = client("192.0.2.7", 4242, "198.51.100.1", 443);
  EXPECT_EQ(written(ProxyVersion::v2, peer, &tls),
            v2(0x21, 0x11, kInet + about + "\x20\x00\x17\x01\x00\x00\x00\x01"s + version + cipher));
  tls.client_verified = true;
  tls.client_common_name = "Al";
  const std::string name = "\x22\x00\x02"s + "Al";
  EXPECT_EQ(written(ProxyVersion::v2, peer, &tls),
            v2(0x21, 0x11, kInet + about + "\x20\x00\x1c\x07\x00\x00\x00\x00"s + version + name + cipher));
  tls.resumed = true;
  tls.alpn.clear();
  tls.server_name.clear();
  EXPECT_EQ(written(ProxyVersion::v2, Peer(), &tls),
            v2(0x21, 0x00, "\x20\x00\x1c\x05\x00\x00\x00\x00"s + version + name + cipher));
  tls.client_common_name.assign(300, 'n');
  EXPECT_EQ(written(ProxyVersion::v2, Peer(), &tls),
            v2(0x21, 0x00, "\x20\x00\x17\x05\x00\x00\x00\x00"s + version + cipher));
}

TEST(WriteProxyHeader, IsReadTheSame) {
  for (const ProxyVersion version : {ProxyVersion::v1, ProxyVersion::v2}) {
    for (const Peer& peer : {client("192.0.2.7", 4242, "198.51.100.1", 443), client("2001:db8::7", 1, "2001:db8::1", 2),
                             client("192.0.2.7", 0, "", 0)}) {
      const ProxyHeader parsed = accept(written(version, peer));
      ASSERT_TRUE(parsed.source);
      EXPECT_TRUE(parsed.source->is(peer));
      EXPECT_EQ(parsed.source->destination_port(), peer.destination_port());
      EXPECT_EQ(written(version, *parsed.source), written(version, peer));
    }
  }
}

}  // namespace
}  // namespace dao::net

#include "dao/net/address.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <string>

namespace dao::net {
namespace {

TEST(SocketAddress, ReadsLiteralsAndPrintsThem) {
  struct Sample {
    const char* host;
    const char* text;
  };
  for (const Sample& sample :
       {Sample{"127.0.0.1", "127.0.0.1:80"}, Sample{"::1", "[::1]:80"}, Sample{"2001:DB8:0::1", "[2001:db8::1]:80"},
        Sample{"0.0.0.0", "0.0.0.0:80"}, Sample{"", "[::]:80"}}) {
    const std::optional<SocketAddress> address = SocketAddress::from_ip(sample.host, 80);
    ASSERT_TRUE(address) << sample.host;
    EXPECT_EQ(address->text(), sample.text);
    EXPECT_EQ(address->port(), 80);
    EXPECT_FALSE(address->is_unix());
  }
}

TEST(SocketAddress, RefusesWhatIsNoLiteral) {
  for (const char* host : {"localhost", "[::1]", "127.0.0.1:80", "127.1", "1.2.3.4.5", "::1%lo", "256.0.0.1", " ::1"}) {
    EXPECT_FALSE(SocketAddress::from_ip(host, 80)) << host;
  }
}

TEST(SocketAddress, UnixPaths) {
  const std::optional<SocketAddress> address = SocketAddress::from_path("/run/dao.sock");
  ASSERT_TRUE(address);
  EXPECT_TRUE(address->is_unix());
  EXPECT_EQ(address->text(), "unix:/run/dao.sock");
  EXPECT_EQ(address->port(), 0);
  EXPECT_TRUE(SocketAddress::from_path(std::string(107, 'p')));
  EXPECT_FALSE(SocketAddress::from_path(std::string(108, 'p')));
  EXPECT_FALSE(SocketAddress::from_path(""));
}

TEST(SocketAddress, ComparesByValue) {
  EXPECT_EQ(SocketAddress::from_ip("127.0.0.1", 1), SocketAddress::from_ip("127.0.0.1", 1));
  EXPECT_NE(SocketAddress::from_ip("127.0.0.1", 1), SocketAddress::from_ip("127.0.0.1", 2));
  EXPECT_NE(SocketAddress::from_ip("::1", 1), SocketAddress::from_ip("127.0.0.1", 1));
  const SocketAddress address = *SocketAddress::from_ip("::1", 1);
  EXPECT_EQ(SocketAddress::from_raw(address.raw(), address.length()), address);
  EXPECT_EQ(SocketAddress{}.text(), "unspecified");
}

TEST(Peer, ShowsWhoItIs) {
  const Peer v4(SocketAddress::from_ip("192.0.2.1", 4711)->raw());
  EXPECT_EQ(v4.ip_text(), "192.0.2.1");
  EXPECT_EQ(v4.port(), 4711);
  EXPECT_EQ(v4.bytes().size(), 4U);
  EXPECT_FALSE(v4.is_v6());

  const Peer v6(SocketAddress::from_ip("2001:db8::1", 4711)->raw());
  EXPECT_EQ(v6.ip_text(), "2001:db8::1");
  EXPECT_TRUE(v6.is_v6());

  const Peer mapped(SocketAddress::from_ip("::ffff:192.0.2.1", 4711)->raw());
  EXPECT_EQ(mapped.ip_text(), "192.0.2.1") << "an IPv4-mapped address is the IPv4 address";
  EXPECT_EQ(mapped.bytes().size(), 4U);

  const Peer longest(SocketAddress::from_ip("1111:2222:3333:4444:5555:6666:7777:8888", 1)->raw());
  EXPECT_EQ(longest.ip_text(), "1111:2222:3333:4444:5555:6666:7777:8888");

  const Peer local(SocketAddress::from_path("/x")->raw());
  EXPECT_TRUE(local.is_unix());
  EXPECT_EQ(local.ip_text(), "unix");
  EXPECT_TRUE(local.bytes().empty());
}

}  // namespace
}  // namespace dao::net

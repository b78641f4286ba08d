#include "dao/liminal/side_of.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "dao/align/stable_hash.h"

namespace dao::liminal {
namespace {

constexpr std::uint32_t kClients = 100'000;

std::array<std::uint8_t, 4> v4(std::uint32_t number) {
  return {static_cast<std::uint8_t>(10 + (number >> 24U)), static_cast<std::uint8_t>(number >> 16U),
          static_cast<std::uint8_t>(number >> 8U), static_cast<std::uint8_t>(number)};
}

std::array<std::uint8_t, 16> v6(std::uint32_t network, std::uint64_t host) {
  std::array<std::uint8_t, 16> address{0x20, 0x01, 0x0d, 0xb8};
  for (unsigned i = 0; i < 4; ++i) address[4 + i] = static_cast<std::uint8_t>(network >> (24 - 8 * i));
  for (unsigned i = 0; i < 8; ++i) address[8 + i] = static_cast<std::uint8_t>(host >> (56 - 8 * i));
  return address;
}

void expect_shares(const std::vector<ClientPoint>& points) {
  for (int percent = 0; percent <= 100; ++percent) {
    const double progress = percent / 100.0;
    const std::uint64_t threshold = threshold_of(progress);
    double share = 0;
    for (const ClientPoint point : points) share += side_of(point, threshold) == Side::new_config ? 1.0 / kClients : 0;
    EXPECT_NEAR(share, progress, 0.01);
  }
}

TEST(SideOf, TheShareOfClientsIsTheProgress) {
  std::vector<ClientPoint> by_v4;
  std::vector<ClientPoint> by_v6;
  std::vector<ClientPoint> by_key;
  for (std::uint32_t i = 0; i < kClients; ++i) {
    by_v4.push_back(point_of_address(v4(i), 64, 1234));
    by_v6.push_back(point_of_address(v6(i, i * 7), 64, 1234));
    by_key.push_back(point_of_key("session-" + std::to_string(i), 1234));
  }
  expect_shares(by_v4);
  expect_shares(by_v6);
  expect_shares(by_key);
  std::vector<ClientPoint> by_hash;
  for (std::uint32_t i = 0; i < kClients; ++i) by_hash.push_back(point_of_hash(align::stable_hash(v4(i)), 1234));
  expect_shares(by_hash);
}

TEST(SideOf, NobodyAtTheBeginningEverybodyAtTheEnd) {
  for (const ClientPoint point : {0U, 1U, 0x7fffffffU, 0xffffffffU}) {
    EXPECT_EQ(side_of(point, threshold_of(0)), Side::old_config);
    EXPECT_EQ(side_of(point, threshold_of(1)), Side::new_config);
  }
}

TEST(SideOf, WhoHasSeenTheNewSideStays) {
  for (std::uint32_t i = 0; i < 1000; ++i) {
    const ClientPoint point = point_of_address(v4(i), 64, 99);
    bool seen = false;
    for (int step = 0; step <= 1000; ++step) {
      const bool is_new = side_of(point, threshold_of(step / 1000.0)) == Side::new_config;
      ASSERT_TRUE(is_new || !seen);
      seen = is_new;
    }
    EXPECT_TRUE(seen);
  }
}

TEST(SideOf, AnIpv6ClientIsItsPrefix) {
  const auto point = [](std::uint32_t network, std::uint64_t host, unsigned prefix) {
    return point_of_address(v6(network, host), prefix, 5);
  };
  EXPECT_EQ(point(1, 1, 64), point(1, 0xffff'ffff'ffff'ffff, 64));
  EXPECT_NE(point(1, 1, 64), point(2, 1, 64));
  EXPECT_EQ(point(0x100, 1, 56), point(0x1ff, 9, 56));
  EXPECT_NE(point(0x100, 1, 56), point(0x200, 1, 56));
  EXPECT_NE(point(1, 1, 128), point(1, 2, 128));
  EXPECT_EQ(point(1, 2, 127), point(1, 3, 127));
  EXPECT_NE(point(1, 2, 127), point(1, 4, 127));
  EXPECT_EQ(point(0, 0, 1), point(0xffff, 7, 1)) << "both begin with a zero bit";
}

// Who was among the first once is not so again.
TEST(SideOf, EachTransitionDrawsAnew) {
  std::uint32_t both = 0;
  for (std::uint32_t i = 0; i < kClients; ++i) {
    const bool once = side_of(point_of_address(v4(i), 64, 1), threshold_of(0.1)) == Side::new_config;
    const bool again = side_of(point_of_address(v4(i), 64, 2), threshold_of(0.1)) == Side::new_config;
    if (once && again) ++both;
  }
  EXPECT_NEAR(both / static_cast<double>(kClients), 0.01, 0.002);
}

TEST(SideOf, CellsAreOfEqualSize) {
  std::vector<std::uint32_t> counts(kCells);
  for (std::uint32_t i = 0; i < kClients; ++i) ++counts[cell_of(point_of_address(v4(i), 64, 3))];
  double chi_square = 0;
  const double expected = kClients / static_cast<double>(kCells);
  for (const std::uint32_t count : counts) chi_square += (count - expected) * (count - expected) / expected;
  // 1023 degrees of freedom: mean 1023, standard deviation 45.
  EXPECT_NEAR(chi_square, 1023, 225);
}

TEST(SideOf, ClientsWithoutAnAddressAreOne) {
  EXPECT_EQ(point_of_address({}, 64, 3), point_of_address({}, 64, 3));
}

}  // namespace
}  // namespace dao::liminal

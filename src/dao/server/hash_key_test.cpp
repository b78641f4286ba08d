#include "dao/server/hash_key.h"

#include <gtest/gtest.h>

#include <array>

namespace dao::server {
namespace {

using Kind = config::HashKey::Kind;

TEST(HashKey, IsTheClientsAddress) {
  const http::RequestHead request{};
  const std::array<std::uint8_t, 4> one{192, 0, 2, 1};
  const std::array<std::uint8_t, 4> other{192, 0, 2, 2};
  EXPECT_EQ(hash_of({.kind = Kind::client}, request, one), hash_of({.kind = Kind::client}, request, one));
  EXPECT_NE(hash_of({.kind = Kind::client}, request, one), hash_of({.kind = Kind::client}, request, other));
  EXPECT_EQ(hash_of({.kind = Kind::client}, request, {}), 0U);
}

TEST(HashKey, IsAHeader) {
  http::RequestHead request;
  const config::HashKey key{.kind = Kind::header, .name = "x-user"};
  EXPECT_EQ(hash_of(key, request, {}), 0U);
  request.add("X-User", "anna");
  const std::uint64_t anna = hash_of(key, request, {});
  EXPECT_NE(anna, 0U);
  request.fields.back().value = "bert";
  EXPECT_NE(hash_of(key, request, {}), anna);
}

TEST(HashKey, IsACookieAmongOthers) {
  const config::HashKey key{.kind = Kind::cookie, .name = "id"};
  const auto with = [&key](std::initializer_list<std::string_view> cookies) {
    http::RequestHead request;
    for (const std::string_view text : cookies) request.add("Cookie", text);
    return hash_of(key, request, {});
  };
  const std::uint64_t wanted = with({"id=7"});
  EXPECT_NE(wanted, 0U);
  EXPECT_EQ(with({"a=1; id=7; b=2"}), wanted);
  EXPECT_EQ(with({"a=1", "id=7"}), wanted);
  EXPECT_EQ(with({"a=1;id=7 "}), wanted);
  EXPECT_NE(with({"id=8"}), wanted);
  EXPECT_EQ(with({"ID=7"}), 0U) << "names of cookies have case";
  EXPECT_EQ(with({"xid=7; id"}), 0U);
  EXPECT_EQ(with({}), 0U);
}

TEST(HashKey, WhatAnOperatorWritesIsWhatARequestHas) {
  const http::RequestHead request{};
  const std::array<std::uint8_t, 4> v4{192, 0, 2, 7};
  const config::HashKey by_client{.kind = config::HashKey::Kind::client};
  EXPECT_EQ(hash_of(by_client, "192.0.2.7"), hash_of(by_client, request, v4));
  EXPECT_EQ(hash_of(by_client, "::ffff:192.0.2.7"), hash_of(by_client, request, v4));
  EXPECT_NE(hash_of(by_client, "192.0.2.8"), hash_of(by_client, request, v4));
  EXPECT_EQ(hash_of(by_client, "anna"), std::nullopt);
  http::RequestHead named;
  named.add("x-user", "anna");
  const config::HashKey by_header{.kind = config::HashKey::Kind::header, .name = "x-user"};
  EXPECT_EQ(hash_of(by_header, "anna"), hash_of(by_header, named, {}));
}

}  // namespace
}  // namespace dao::server

#include "dao/http/h2/hpack_encoder.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <random>
#include <string>
#include <vector>

#include "dao/http/h2/hpack_static_table.h"
#include "dao/http/h2/hpack_test_fields.h"

namespace dao::http::h2 {
namespace {

using namespace std::string_literals;

// How a field was represented (RFC 7541 section 6).
enum class Kind : std::uint8_t { indexed, with_indexing, without_indexing, never_indexed };

Kind kind_of(std::string_view field) {
  const auto first = static_cast<unsigned char>(field.front());
  if (first >= 0x80) return Kind::indexed;
  if (first >= 0x40) return Kind::with_indexing;
  return first >= 0x10 ? Kind::never_indexed : Kind::without_indexing;
}

// An encoder with the peer that understands it.
class HpackEncoderTest : public testing::Test {
 protected:
  std::string add(std::string_view name, std::string_view value, bool never_indexed = false) {
    std::string bytes(HpackEncoder::most_bytes(name, value), '\0');
    bytes.resize(static_cast<std::size_t>(encoder.add(name, value, bytes.data(), never_indexed) - bytes.data()));
    std::string lower{name};
    std::ranges::transform(lower, lower.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    EXPECT_EQ(reference.decode(bytes), (TestFields{{lower, std::string{value}}}));
    return bytes;
  }
  Kind kind(std::string_view name, std::string_view value) { return kind_of(add(name, value)); }
  std::string begin_block() {
    std::string bytes(HpackEncoder::kBlockStartMost, '\0');
    bytes.resize(static_cast<std::size_t>(encoder.begin_block(bytes.data()) - bytes.data()));
    EXPECT_EQ(reference.decode(bytes), TestFields{});
    return bytes;
  }

  HpackEncoder encoder;
  ReferenceDecoder reference;
};

TEST_F(HpackEncoderTest, WhatTheStaticTableHasIsOneByte) {
  for (std::size_t index = 1; index <= kHpackStaticEntries; ++index) {
    const HpackStaticEntry& entry = kHpackStaticTable[index];
    EXPECT_EQ(add(entry.name, entry.value), std::string(1, static_cast<char>(0x80 | index))) << entry.name;
  }
}

TEST_F(HpackEncoderTest, NamesOfTheStaticTableAreNotSpeltOut) {
  for (std::size_t index = 1; index <= kHpackStaticEntries; ++index) {
    EXPECT_LE(add(kHpackStaticTable[index].name, "{}").size(), 2 + 1 + 2U) << kHpackStaticTable[index].name;
  }
}

TEST_F(HpackEncoderTest, TheSecondTimeIsOneByte) {
  EXPECT_EQ(kind("user-agent", "curl/8.5.0"), Kind::with_indexing);
  EXPECT_EQ(kind("x-own", "value"), Kind::with_indexing);
  EXPECT_EQ(add("user-agent", "curl/8.5.0"), "\xbf");
  EXPECT_EQ(add("x-own", "value"), "\xbe");
}

TEST_F(HpackEncoderTest, ANameThatIsInTheDynamicTableIsNotSpeltOut) {
  add("x-own-name", "first");
  EXPECT_EQ(add("x-own-name", "{}"), "\x7e\x02{}");
  EXPECT_EQ(add("x-own-name", "first"), "\xbf");
}

TEST_F(HpackEncoderTest, HuffmanWhereItIsShorter) {
  EXPECT_EQ(add("location", "/sample/path"), "\x0f\x1f\x89\x61\x03\xa6\xba\x0a\xc5\x63\x4c\xff"s);
  EXPECT_EQ(add("location", "/{}{}{}"), "\x0f\x1f\x07/{}{}{}"s);
  EXPECT_EQ(add("location", std::string(1000, 'a')).size(), 2 + 3 + 625U);
  EXPECT_EQ(add("location", std::string(1000, '{')).size(), 2 + 3 + 1000U);
}

TEST_F(HpackEncoderTest, NamesAreWrittenInLowerCase) {
  for (const std::string_view name :
       {"A", "TE", "Via", "Host", "X-Own", "Accept", "Alt-Svc", "Content-Type", "Cache-Control", "X-Forwarded-For",
        "Strict-Transport-Security", "X-A-Name-Of-Our-Own-That-Is-Long", "x-lower-and-then-Upper-in-the-middle",
        "X-[\\]^_`@{|}~0123456789", "X-Sixty-Four-Characters-And-No-More-Than-That-Counted-With-Care-64",
        "X-More-Than-Any-Table-Of-Ours-Would-Want-To-Hold-In-Upper-Case-Because-It-Is-So-Very-Long-Indeed"}) {
    add(name, "value");
    add(name, "value");
    add(name, "other");
  }
  // Bytes that are no letters of ASCII stay.
  std::string odd = "X-";
  for (int c = 0x80; c < 0xb0; ++c) odd += static_cast<char>(c);
  std::string lower = odd;
  lower[0] = 'x';
  EXPECT_EQ(kind(odd, "value"), Kind::with_indexing);
  EXPECT_EQ(kind(lower, "value"), Kind::indexed);
}

TEST_F(HpackEncoderTest, CaseMakesNoOtherEntry) {
  EXPECT_EQ(kind("Server", "DAO"), Kind::with_indexing);
  EXPECT_EQ(kind("server", "DAO"), Kind::indexed);
  EXPECT_EQ(kind("X-Frame-Options", "DENY"), Kind::with_indexing);
  EXPECT_EQ(kind("x-frame-options", "DENY"), Kind::indexed);
  EXPECT_EQ(kind("x-frame-options", "deny"), Kind::with_indexing);
}

TEST_F(HpackEncoderTest, WhatHardlyComesAgainEntersNoTable) {
  for (const std::string_view name :
       {"age", "content-length", "content-range", "content-location", "if-match", "if-modified-since", "if-none-match",
        "if-range", "if-unmodified-since", "location", "range"}) {
    EXPECT_EQ(kind(name, "something of it"), Kind::without_indexing) << name;
    EXPECT_EQ(kind(name, "something of it"), Kind::without_indexing) << name;
  }
}

TEST_F(HpackEncoderTest, WhatSomebodyAskedForCannotBeGuessedFromTheTable) {
  for (int i = 0; i < 2; ++i) EXPECT_EQ(kind(":path", "/dao.Echo/Say"), Kind::without_indexing);
}

TEST_F(HpackEncoderTest, ValuesEnterTheTableAsLongAsTheyComeAgain) {
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(kind("etag", "\"a\""), i == 0 ? Kind::with_indexing : Kind::indexed);
    EXPECT_EQ(kind("etag", "\"b\""), i == 0 ? Kind::with_indexing : Kind::indexed);
  }
  int entered = 0;
  for (int i = 0; i < 160; ++i) entered += kind("etag", fmt::format("\"{}\"", i)) == Kind::with_indexing ? 1 : 0;
  EXPECT_EQ(entered, 8 + 9);
}

TEST_F(HpackEncoderTest, SecretsAreNeverIndexed) {
  const std::string long_secret(100, 's');
  for (int time = 0; time < 2; ++time) {
    EXPECT_EQ(kind("authorization", "Basic YTpi"), Kind::never_indexed);
    EXPECT_EQ(kind("authorization", long_secret), Kind::never_indexed);
    EXPECT_EQ(kind("Proxy-Authorization", long_secret), Kind::never_indexed);
    EXPECT_EQ(kind("cookie", "pin=1234"), Kind::never_indexed);
    EXPECT_EQ(kind("set-cookie", "pin=1234"), Kind::never_indexed);
    EXPECT_EQ(kind("set-cookie", long_secret), Kind::without_indexing);
  }
  EXPECT_EQ(kind("cookie", long_secret), Kind::with_indexing);
  EXPECT_EQ(kind("cookie", long_secret), Kind::indexed);
}

TEST_F(HpackEncoderTest, WhatCameNeverIndexedGoesOnSo) {
  EXPECT_EQ(kind("x-own", "value"), Kind::with_indexing);
  EXPECT_EQ(kind_of(add("x-own", "value", true)), Kind::never_indexed);
  EXPECT_EQ(kind_of(add(":method", "GET", true)), Kind::never_indexed);
  const std::string long_name = "X-" + std::string(100, 'a');
  EXPECT_EQ(kind_of(add(long_name, "value", true)), Kind::never_indexed);
  EXPECT_EQ(kind_of(add(long_name, "value")), Kind::without_indexing);
}

TEST_F(HpackEncoderTest, OneEntryDoesNotTakeTheWholeTable) {
  add("x-own", "value");
  EXPECT_EQ(kind("x-large", std::string(3100, 'v')), Kind::without_indexing);
  EXPECT_EQ(kind("x-own", "value"), Kind::indexed);
  EXPECT_EQ(kind("x-large", std::string(3000, 'v')), Kind::with_indexing);
}

TEST_F(HpackEncoderTest, ValuesThatAreNewEachTimeHardlyEverDriveOutTheOthers) {
  int entered = 0;
  int driven_out = -1;  // the first time it is new
  for (int i = 0; i < 1000; ++i) {
    if (kind("x-request-id", fmt::format("{:036}", i)) == Kind::with_indexing) ++entered;
    if (kind("user-agent", "curl/8.5.0") == Kind::with_indexing) ++driven_out;
  }
  EXPECT_GE(entered, 1000 / 16);
  EXPECT_LE(entered, 1000 / 10);
  EXPECT_LE(driven_out, 2);
}

TEST_F(HpackEncoderTest, AValueThatComesAgainAfterManyNewOnesEnters) {
  for (int i = 0; i < 100; ++i) add("x-mode", std::to_string(i));
  int literals = 0;
  while (kind("x-mode", "steady") != Kind::indexed) ASSERT_LE(++literals, 16);
  EXPECT_EQ(kind("x-mode", "other"), Kind::with_indexing);
}

TEST_F(HpackEncoderTest, EntriesOfManyNamesAreFoundUntilTheyGiveWay) {
  // Each counts 5 + 10 + 32 bytes, so 87 of them fit.
  const auto name = [](int i) { return fmt::format("x-{:03}", i); };
  for (int i = 0; i < 300; ++i) {
    EXPECT_EQ(kind(name(i), "0123456789"), Kind::with_indexing);
    if (i >= 86) EXPECT_EQ(kind(name(i - 86), "0123456789"), Kind::indexed);
  }
}

TEST_F(HpackEncoderTest, NumbersOfEntriesMayComeRoundAgain) {
  for (int i = 0; i < 70'000; ++i) {
    const std::string name = fmt::format("x-{}", i % 1000);
    ASSERT_EQ(kind(name, "value"), Kind::with_indexing) << i;
    ASSERT_EQ(kind(name, "value"), Kind::indexed) << i;
  }
}

TEST_F(HpackEncoderTest, NothingIsSaidOfATableAsLargeAsOurs) {
  EXPECT_EQ(begin_block(), "");
  encoder.set_table_max(65536);
  EXPECT_EQ(begin_block(), "");
  encoder.set_table_max(4096);
  EXPECT_EQ(begin_block(), "");
}

TEST_F(HpackEncoderTest, ASmallerTableIsSaidOnce) {
  add("x-own", "value");
  reference.set_table_max(100);
  encoder.set_table_max(100);
  EXPECT_EQ(begin_block(), "\x3f\x45");
  EXPECT_EQ(begin_block(), "");
  EXPECT_EQ(kind("x-own", "value"), Kind::indexed);
  add("x-two", "value");
  EXPECT_EQ(kind("x-own", "value"), Kind::indexed);
  add("x-three", "value");  // the third does not fit
  EXPECT_EQ(kind("x-two", "value"), Kind::indexed);
  EXPECT_EQ(kind("x-own", "value"), Kind::with_indexing);
}

TEST_F(HpackEncoderTest, ALargerTableIsSaid) {
  reference.set_table_max(100);
  encoder.set_table_max(100);
  begin_block();
  reference.set_table_max(1000);
  encoder.set_table_max(1000);
  EXPECT_EQ(begin_block(), "\x3f\xc9\x07");
  reference.set_table_max(65536);
  encoder.set_table_max(65536);
  EXPECT_EQ(begin_block(), "\x3f\xe1\x1f");
}

TEST_F(HpackEncoderTest, TheSmallestInBetweenIsSaidToo) {
  add("x-own", "value");
  for (const std::uint32_t bytes : {0U, 4096U}) {
    reference.set_table_max(bytes);
    encoder.set_table_max(bytes);
  }
  EXPECT_EQ(begin_block(), "\x20\x3f\xe1\x1f");
  EXPECT_EQ(kind("x-own", "value"), Kind::with_indexing);
  EXPECT_EQ(kind("x-own", "value"), Kind::indexed);
}

TEST_F(HpackEncoderTest, WithoutATableNothingIsIndexed) {
  reference.set_table_max(0);
  encoder.set_table_max(0);
  EXPECT_EQ(begin_block(), "\x20");
  for (int i = 0; i < 3; ++i) EXPECT_EQ(kind("x-own", "value"), Kind::without_indexing);
  EXPECT_EQ(encoder.memory(), 0U);
}

TEST_F(HpackEncoderTest, NothingIsHeldBeforeTheFirstEntry) {
  add(":method", "GET");
  add("content-length", "10");
  add("authorization", "Basic YTpi");
  EXPECT_EQ(encoder.memory(), 0U);
}

TEST_F(HpackEncoderTest, EmptyNamesAndValues) {
  EXPECT_EQ(kind("x-own", ""), Kind::with_indexing);
  EXPECT_EQ(kind("x-own", ""), Kind::indexed);
  EXPECT_EQ(kind("", ""), Kind::with_indexing);
  EXPECT_EQ(kind("", ""), Kind::indexed);
  EXPECT_EQ(kind("", "value"), Kind::with_indexing);
}

// Over thousands of blocks of one connection, whose peer changes its mind about its table.
TEST(HpackEncoder, TheReferenceReadsWhatItWrites) {
  std::mt19937 random(17);
  HpackEncoder encoder;
  HpackDecoder decoder(65536);
  ReferenceDecoder reference;
  for (int i = 0; i < 20'000; ++i) {
    if (random() % 50 == 0) {
      for (std::uint32_t changes = random() % 3; changes > 0; --changes) {
        const std::uint32_t bytes = random() % 3 == 0 ? 4096 : random() % 6000;
        encoder.set_table_max(bytes);
        reference.set_table_max(bytes);
      }
    }
    const TestFields fields = random_fields(random);
    const std::string block = encode_block(encoder, fields);
    ASSERT_EQ(reference.decode(block), fields) << i;
    ASSERT_EQ(decode_block(decoder, block), fields) << i;
  }
}

TEST(HpackEncoder, WritesNoMoreThanItSays) {
  std::mt19937 random(19);
  HpackEncoder encoder;
  for (int i = 0; i < 5000; ++i) {
    for (const auto& [name, value] : random_fields(random)) {
      constexpr char kUntouched = '#';
      const std::size_t most = HpackEncoder::most_bytes(name, value);
      std::string bytes(most + 1, kUntouched);
      encoder.add(name, value, bytes.data());
      ASSERT_EQ(bytes.back(), kUntouched);
    }
  }
}

}  // namespace
}  // namespace dao::http::h2

#include "dao/http/h2/hpack_decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <random>
#include <string>
#include <vector>

#include "dao/http/h2/hpack_test_fields.h"

namespace dao::http::h2 {
namespace {

using namespace std::string_literals;

// Blocks that one decoder reads one after the other.
struct Block {
  std::string_view hex;
  TestFields fields;
};
void expect_blocks(HpackDecoder& decoder, const std::vector<Block>& blocks) {
  for (const Block& block : blocks) EXPECT_EQ(decode_block(decoder, from_hex(block.hex)), block.fields) << block.hex;
}

std::optional<TestFields> decode_alone(std::string_view hex) {
  HpackDecoder decoder;
  return decode_block(decoder, from_hex(hex));
}

const TestFields kFirstRequest = {
    {":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "www.example.com"}};
const TestFields kSecondRequest = {{":method", "GET"},
                                   {":scheme", "http"},
                                   {":path", "/"},
                                   {":authority", "www.example.com"},
                                   {"cache-control", "no-cache"}};
const TestFields kThirdRequest = {{":method", "GET"},
                                  {":scheme", "https"},
                                  {":path", "/index.html"},
                                  {":authority", "www.example.com"},
                                  {"custom-key", "custom-value"}};
const TestFields kFirstResponse = {{":status", "302"},
                                   {"cache-control", "private"},
                                   {"date", "Mon, 21 Oct 2013 20:13:21 GMT"},
                                   {"location", "https://www.example.com"}};
const TestFields kSecondResponse = {{":status", "307"},
                                    {"cache-control", "private"},
                                    {"date", "Mon, 21 Oct 2013 20:13:21 GMT"},
                                    {"location", "https://www.example.com"}};
const TestFields kThirdResponse = {{":status", "200"},
                                   {"cache-control", "private"},
                                   {"date", "Mon, 21 Oct 2013 20:13:22 GMT"},
                                   {"location", "https://www.example.com"},
                                   {"content-encoding", "gzip"},
                                   {"set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"}};

TEST(HpackDecoder, Rfc7541AppendixC2) {
  EXPECT_EQ(decode_alone("400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572"),
            (TestFields{{"custom-key", "custom-header"}}));
  EXPECT_EQ(decode_alone("040c 2f73 616d 706c 652f 7061 7468"), (TestFields{{":path", "/sample/path"}}));
  EXPECT_EQ(decode_alone("1008 7061 7373 776f 7264 0673 6563 7265 74"), (TestFields{{"password", "secret"}}));
  EXPECT_EQ(decode_alone("82"), (TestFields{{":method", "GET"}}));
}

TEST(HpackDecoder, Rfc7541AppendixC3RequestsWithoutHuffman) {
  HpackDecoder decoder;
  expect_blocks(decoder, {{"8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", kFirstRequest},
                          {"8286 84be 5808 6e6f 2d63 6163 6865", kSecondRequest},
                          {"8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65", kThirdRequest}});
}

TEST(HpackDecoder, Rfc7541AppendixC4RequestsWithHuffman) {
  HpackDecoder decoder;
  expect_blocks(decoder, {{"8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", kFirstRequest},
                          {"8286 84be 5886 a8eb 1064 9cbf", kSecondRequest},
                          {"8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf", kThirdRequest}});
}

TEST(HpackDecoder, Rfc7541AppendixC5ResponsesWithoutHuffmanInASmallTable) {
  HpackDecoder decoder(256);
  expect_blocks(
      decoder,
      {{"4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d"
        "546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        kFirstResponse},
       {"4803 3330 37c1 c0bf", kSecondResponse},
       {"88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f"
        "6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b"
        "2076 6572 7369 6f6e 3d31",
        kThirdResponse}});
}

TEST(HpackDecoder, Rfc7541AppendixC6ResponsesWithHuffmanInASmallTable) {
  HpackDecoder decoder(256);
  expect_blocks(decoder,
                {{"4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad"
                  "1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
                  kFirstResponse},
                 {"4883 640e ffc1 c0bf", kSecondResponse},
                 {"88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2"
                  "e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
                  kThirdResponse}});
}

// A block that is an error, after the given ones that are not.
void expect_error(std::string_view hex, const std::vector<std::string>& before = {}) {
  HpackDecoder decoder;
  for (const std::string& block : before) ASSERT_TRUE(decode_block(decoder, from_hex(block))) << block;
  EXPECT_EQ(decode_block(decoder, from_hex(hex)), std::nullopt) << hex;
}

TEST(HpackDecoder, AnEmptyBlockHasNoFields) {
  EXPECT_EQ(decode_alone(""), TestFields{});
}

TEST(HpackDecoder, IndexesThatAreNothing) {
  const std::string entry = "40 01 61 01 62";  // a: b
  expect_error("80");                          // section 6.1
  expect_error("be");                          // 62
  expect_error("7e 01 62");
  expect_error("0f 2f 01 62");
  expect_error("bf", {entry});
  expect_error("ff ff ff ff ff 0f", {entry});
  EXPECT_EQ(decode_alone("40 01 61 01 62 be 7e 01 63 bf be"),
            (TestFields{{"a", "b"}, {"a", "b"}, {"a", "c"}, {"a", "b"}, {"a", "c"}}));
}

TEST(HpackDecoder, WhatIsCutOff) {
  const std::string whole = from_hex("0f 80 00 8c f1e3 c2e5 f23a 6ba0 ab90 f4ff");  // 15, in more bytes than needed
  ASSERT_TRUE(decode_alone("0f 80 00 8c f1e3 c2e5 f23a 6ba0 ab90 f4ff"));
  for (std::size_t size = 1; size < whole.size(); ++size) {
    HpackDecoder decoder;
    EXPECT_EQ(decode_block(decoder, whole.substr(0, size)), std::nullopt) << size;
  }
  expect_error("ff");
  expect_error("40");
  expect_error("40 01");
  expect_error("40 01 61");
  expect_error("40 01 61 02 62");
  expect_error("3f");
}

TEST(HpackDecoder, NumbersThatAreTooLarge) {
  expect_error("ff 80 80 80 80 80 00");     // more bytes than any number needs
  expect_error("ff 80 80 80 80 10");        // 2^32 + 127
  expect_error("00 7f ff ff ff ff 0f");     // 2^32 + 126
  expect_error("00 7f 80 ff ff ff 0f 61");  // 2^32 - 1, of which one byte is there
  expect_error("00 ff ff ff ff ff ff ff ff ff 7f 61");
}

TEST(HpackDecoder, HuffmanThatIsNotValid) {
  expect_error("00 01 61 81 ff");           // eight bits of padding
  expect_error("00 01 61 81 18");           // padding of zeros
  expect_error("00 81 ff 01 62");           // also in a name
  expect_error("00 01 61 84 ff ff ff ff");  // EOS
}

TEST(HpackDecoder, EmptyStrings) {
  EXPECT_EQ(decode_alone("00 00 00"), (TestFields{{"", ""}}));
  EXPECT_EQ(decode_alone("00 80 80"), (TestFields{{"", ""}}));
  EXPECT_EQ(decode_alone("40 80 80 be"), (TestFields{{"", ""}, {"", ""}}));
}

TEST(HpackDecoder, TheTableChangesItsSizeOnlyWhereABlockBegins) {
  EXPECT_EQ(decode_alone("20"), TestFields{});
  EXPECT_EQ(decode_alone("3f e1 1f"), TestFields{});  // 4096
  EXPECT_EQ(decode_alone("20 3f e1 1f 82"), (TestFields{{":method", "GET"}}));
  expect_error("82 20");
  expect_error("82 3f e1 1f");
  expect_error("40 01 61 01 62 20");
  expect_error("3f e2 1f");  // 4097
  expect_error("3f ff ff ff ff 0f");
}

TEST(HpackDecoder, ASmallerTableForgetsTheOldest) {
  const std::string entries = "40 01 61 01 31  40 01 62 01 32  40 01 63 01 33";  // of 34 bytes each
  expect_error("3f 24 bf", {entries});                                           // 67: only c
  HpackDecoder decoder;
  expect_blocks(decoder, {{entries, {{"a", "1"}, {"b", "2"}, {"c", "3"}}},
                          {"3f 25 be bf", {{"c", "3"}, {"b", "2"}}},  // 68
                          {"3f e1 1f be bf", {{"c", "3"}, {"b", "2"}}}});
  EXPECT_EQ(decode_block(decoder, from_hex("c0")), std::nullopt);
}

TEST(HpackDecoder, AnEntryLargerThanTheTableEmptiesIt) {
  HpackDecoder decoder;
  expect_blocks(decoder, {{"3f 03  40 01 61 01 62  be", {{"a", "b"}, {"a", "b"}}},  // 34: just that entry
                          {"7e 02 6363", {{"a", "cc"}}}});
  EXPECT_EQ(decode_block(decoder, from_hex("be")), std::nullopt);
}

TEST(HpackDecoder, ANameOfAnEntryThatGivesWayToItsOwn) {
  HpackDecoder decoder(64);
  expect_blocks(decoder, {{"40 0c 612d 6c6f 6e67 2d6e 616d 6521 02 7631", {{"a-long-name!", "v1"}}}});
  const TestFields plain = {{"a-long-name!", "v2v2v2v2"}, {"a-long-name!", "v2v2v2v2"}};
  const TestFields huffman = {{"a-long-name!", "v3v3v3v3"}, {"a-long-name!", "v3v3v3v3"}};
  for (int i = 0; i < 100; ++i) {
    expect_blocks(decoder, {{"7e 08 7632 7632 7632 7632 be", plain}, {"7e 87 eecf 767b b3dd 9f be", huffman}});
  }
  // Too large even alone: gone, but its name is known to the end of the field.
  const std::string large(40, 'v');
  EXPECT_EQ(decode_block(decoder, from_hex("7e 28") + large), (TestFields{{"a-long-name!", large}}));
  EXPECT_EQ(decode_block(decoder, from_hex("be")), std::nullopt);
}

// Its fields without their text, which does not last.
std::vector<HpackField> read_block(HpackDecoder& decoder, const std::string& block) {
  std::vector<HpackField> fields;
  HpackField field;
  decoder.begin(block);
  while (decoder.next(field) == HpackDecoder::Step::field) fields.push_back(field);
  return fields;
}

TEST(HpackDecoder, NamesOfTheStaticTableAreKnownByTheirFirstIndex) {
  HpackDecoder decoder;
  std::vector<int> known;
  for (const HpackField& field : read_block(decoder, from_hex("82"              // :method GET
                                                              "83"              // :method POST
                                                              "8e"              // :status 500
                                                              "4e 03 353033"    // :status 503, by the name of 500
                                                              "be"              // again
                                                              "0f 0d 01 31"     // content-length, not indexed
                                                              "1f 08 01 31"     // authorization, never indexed
                                                              "40 01 61 01 62"  // a: b
                                                              "be"              // again
                                                              "7f 00 01 63"     // :status c, by the name of 503
                                                              "be"              // again
                                                              "00 04 686f 7374 01 61"))) {  // host, spelt out
    known.push_back(field.static_name);
  }
  EXPECT_EQ(known, (std::vector<int>{2, 2, 8, 8, 8, 28, 23, 0, 0, 8, 8, 0}));
}

TEST(HpackDecoder, SaysWhatIsNeverIndexed) {
  HpackDecoder decoder;
  std::vector<bool> never;
  for (const HpackField& field : read_block(decoder, from_hex("82"
                                                              "10 01 61 01 62"
                                                              "40 01 61 01 62"
                                                              "be"
                                                              "1f 2f 01 63"
                                                              "00 01 61 01 62"
                                                              "82"))) {
    never.push_back(field.never_indexed);
  }
  EXPECT_EQ(never, (std::vector<bool>{false, true, false, false, true, false, false}));
}

TEST(HpackDecoder, HoldsLittleBetweenBlocks) {
  HpackDecoder decoder;
  EXPECT_EQ(decoder.memory(), 0U);
  ReferenceEncoder reference;
  const std::string large(20'000, 'a');
  for (int i = 0; i < 3; ++i) {
    const TestFields fields = {{":path", "/" + large}, {":method", "GET"}, {"cookie", large}};
    EXPECT_EQ(decode_block(decoder, reference.encode(fields)), fields);
    EXPECT_EQ(decoder.memory(), 0U);
  }
  const std::string path(1000, 'a');
  const TestFields usual = {{":path", "/" + path}, {":method", "GET"}};
  EXPECT_EQ(decode_block(decoder, reference.encode(usual)), usual);
  EXPECT_LE(decoder.memory(), HpackDecoder::kScratchKept);
}

// Bytes that often mean something.
std::string random_block(std::mt19937& random) {
  std::string bytes;
  const std::size_t fields = random() % 6;
  for (std::size_t i = 0; i < fields; ++i) {
    switch (random() % 8) {
      case 0:
        bytes += from_hex("3f");
        bytes += static_cast<char>(random() % 128);
        break;
      case 1:
        bytes += static_cast<char>(random());
        break;
      case 2:
        bytes += static_cast<char>(0x80 | random() % 66);
        break;
      default: {
        constexpr std::array<unsigned char, 6> kBegins = {0x40, 0x00, 0x10, 0x7e, 0x7f, 0x4f};
        bytes += static_cast<char>(kBegins[random() % kBegins.size()]);
        for (int text = 0; text < 2; ++text) {
          const std::size_t size = random() % 8;
          bytes += static_cast<char>(size | (random() % 2 == 0 ? 0x80U : 0U));
          for (std::size_t j = 0; j < size; ++j) bytes += static_cast<char>(random());
        }
      }
    }
  }
  return bytes;
}

// Whatever a peer with nghttp2 sends, over thousands of blocks of one connection with tables of all sizes.
TEST(HpackDecoder, ReadsWhatTheReferenceWrites) {
  std::mt19937 random(11);
  for (const std::uint32_t table_max : {0U, 100U, 4096U, 65536U}) {
    HpackDecoder decoder(table_max);
    ReferenceEncoder reference(65536);
    reference.set_table_max(table_max);
    for (int i = 0; i < 5000; ++i) {
      if (random() % 50 == 0) {
        reference.set_table_max(random() % (table_max + 1));
        reference.set_table_max(random() % (table_max + 1));
      }
      const TestFields fields = random_fields(random);
      ASSERT_EQ(decode_block(decoder, reference.encode(fields, random() % 10 == 0)), fields) << i;
    }
  }
}

// Blocks of random bytes that begin like a field: the same fields, or the same refusal, as by the reference.
TEST(HpackDecoder, JudgesAsTheReferenceDoes) {
  std::mt19937 random(13);
  int accepted = 0;
  for (int i = 0; i < 50'000; ++i) {
    HpackDecoder decoder;
    ReferenceDecoder reference;
    for (int block = 0; block < 4; ++block) {
      const std::string bytes = random_block(random);
      const std::optional<TestFields> fields = decode_block(decoder, bytes);
      ASSERT_EQ(fields, reference.decode(bytes)) << i;
      if (!fields) break;
      ++accepted;
    }
  }
  EXPECT_GT(accepted, 5000);
}

}  // namespace
}  // namespace dao::http::h2

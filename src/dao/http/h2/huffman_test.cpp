#include "dao/http/h2/huffman.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace dao::http::h2 {
namespace {

using namespace std::string_literals;

std::string encode(std::string_view text) {
  const std::size_t size = huffman_size(text);
  std::string coded(size + kHuffmanBeyond, '\0');
  EXPECT_EQ(huffman_encode(text, coded.data()), coded.data() + size);
  coded.resize(size);
  return coded;
}

std::optional<std::string> decode(std::string_view coded) {
  std::string text(huffman_decoded_most(coded.size()), '\0');
  const char* const end = huffman_decode(coded, text.data());
  if (end == nullptr) return std::nullopt;
  text.resize(static_cast<std::size_t>(end - text.data()));
  return text;
}

// The code as bits, as section 5.2 would have it read.
class Bits {
 public:
  Bits& add(std::string_view text) {
    for (const char c : text) {
      const std::string one(32, c);
      // 32 times the same symbol: a whole number of bytes that hold its code over and over.
      const std::size_t length = huffman_size(one) / 4;
      const std::string coded = encode(one);
      for (std::size_t i = 0; i < length; ++i) bits_.push_back((coded[i / 8] >> (7 - i % 8) & 1) != 0);
    }
    return *this;
  }
  Bits& ones(std::size_t count) {
    bits_.insert(bits_.end(), count, true);
    return *this;
  }
  Bits& zero() {
    bits_.push_back(false);
    return *this;
  }
  [[nodiscard]] std::size_t size() const { return bits_.size(); }
  // Only whole bytes can be sent.
  [[nodiscard]] std::string bytes() const {
    EXPECT_EQ(bits_.size() % 8, 0U);
    std::string bytes(bits_.size() / 8, '\0');
    for (std::size_t i = 0; i < bits_.size(); ++i) {
      if (bits_[i]) bytes[i / 8] = static_cast<char>(bytes[i / 8] | 0x80 >> i % 8);
    }
    return bytes;
  }

 private:
  std::vector<bool> bits_;
};

TEST(Huffman, Rfc7541AppendixC) {
  for (const auto& [text, coded] : std::vector<std::pair<std::string, std::string>>{
           {"www.example.com", "\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"s},
           {"no-cache", "\xa8\xeb\x10\x64\x9c\xbf"s},
           {"custom-key", "\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f"s},
           {"custom-value", "\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf"s},
           {"302", "\x64\x02"s},
           {"private", "\xae\xc3\x77\x1a\x4b"s},
           {"Mon, 21 Oct 2013 20:13:21 GMT",
            "\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff"s},
           {"https://www.example.com", "\x9d\x29\xad\x17\x18\x63\xc7\x8f\x0b\x97\xc8\xe9\xae\x82\xae\x43\xd3"s},
           {"307", "\x64\x0e\xff"s},
           {"gzip", "\x9b\xd9\xab"s},
           {"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            "\x94\xe7\x82\x1d\xd7\xf2\xe6\xc7\xb3\x35\xdf\xdf\xcd\x5b\x39\x60\xd5\xaf\x27\x08\x7f\x36\x72\xc1\xab\x27"
            "\x0f"
            "\xb5\x29\x1f\x95\x87\x31\x60\x65\xc0\x03\xed\x4e\xe5\xb1\x06\x3d\x50\x07"s}}) {
    EXPECT_EQ(encode(text), coded) << text;
    EXPECT_EQ(decode(coded), text);
  }
}

TEST(Huffman, EverySymbolBesideEveryOther) {
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      const std::string text{static_cast<char>(first), static_cast<char>(second)};
      ASSERT_EQ(decode(encode(text)), text) << first << ' ' << second;
    }
  }
}

TEST(Huffman, RandomTextOfEveryLength) {
  std::mt19937 random(7);
  for (std::size_t size = 0; size < 600; ++size) {
    std::string any(size, '\0');
    std::ranges::generate(any, [&] { return static_cast<char>(random()); });
    EXPECT_EQ(decode(encode(any)), any);
    std::string usual(size, '\0');
    std::ranges::generate(usual, [&] { return static_cast<char>(' ' + random() % 95); });
    EXPECT_EQ(decode(encode(usual)), usual);
  }
}

TEST(Huffman, ShortestAndLongestCodes) {
  const std::string shortest(100, 'a');
  EXPECT_EQ(huffman_size(shortest), 63U);
  EXPECT_EQ(decode(encode(shortest)), shortest);
  const std::string longest(100, '\n');
  EXPECT_EQ(huffman_size(longest), 375U);
  EXPECT_EQ(decode(encode(longest)), longest);
}

TEST(Huffman, NothingIsEmpty) {
  EXPECT_EQ(huffman_size(""), 0U);
  EXPECT_EQ(decode(""), "");
}

TEST(Huffman, OnlyWhenShorter) {
  for (const auto& [text, shorter] :
       std::vector<std::pair<std::string, bool>>{{"", false},
                                                 {"a", false},
                                                 {"aaa", true},       // 15 bits
                                                 {"zzzz", false},     // 28 bits
                                                 {"zzzzzzzz", true},  // 56 bits
                                                 {"{}{}{}", false},
                                                 {"\n\n\n\n\n\n\n\n\n\n", false},
                                                 {"the rest is short, at the end {}", true},
                                                 {"\r\n then it is a long text", true}}) {
    constexpr char kUntouched = '#';
    std::string room(text.size() + kHuffmanBeyond + 1, kUntouched);
    const char* const end = huffman_encode_shorter(text, room.data());
    EXPECT_EQ(end != nullptr, shorter) << text;
    EXPECT_EQ(shorter, huffman_size(text) < text.size()) << text;
    if (end != nullptr) {
      EXPECT_EQ(room.substr(0, static_cast<std::size_t>(end - room.data())), encode(text));
    }
    EXPECT_EQ(room.back(), kUntouched);
  }
}

TEST(Huffman, PaddingIsAtMostSevenOnes) {
  // Behind a text of so many bits: the padding fills the byte and is valid, however short; a byte more of it is not.
  for (const std::string_view text : {"a", "aa", "aaa", "aaaa", "aaaaa", "aaaaaa", "aaaaaaa", "aaaaaaaa"}) {
    const std::size_t padding = (8 - Bits{}.add(text).size() % 8) % 8;
    EXPECT_EQ(decode(Bits{}.add(text).ones(padding).bytes()), text);
    EXPECT_EQ(decode(Bits{}.add(text).ones(padding + 8).bytes()), std::nullopt) << text;
    EXPECT_EQ(decode(Bits{}.add(text).ones(padding + 16).bytes()), std::nullopt) << text;
  }
  EXPECT_EQ(decode("\xff"), std::nullopt);
}

TEST(Huffman, PaddingIsNothingButOnes) {
  // No code is as short as this padding.
  EXPECT_EQ(decode(Bits{}.add("aaa").zero().bytes()), std::nullopt);
  EXPECT_EQ(decode(Bits{}.add("aaaa").ones(3).zero().bytes()), std::nullopt);
  EXPECT_EQ(decode(Bits{}.add("aaaa").zero().ones(3).bytes()), std::nullopt);
  EXPECT_EQ(decode(Bits{}.add("aaaaaaaaaaaaaaaaaaaa").zero().ones(3).bytes()), std::nullopt);
}

TEST(Huffman, EndOfStringIsNotSent) {
  constexpr std::size_t kEosBits = 30;
  EXPECT_EQ(decode(Bits{}.ones(kEosBits + 2).bytes()), std::nullopt);
  EXPECT_EQ(decode(Bits{}.add("aa").ones(kEosBits).bytes()), std::nullopt);
  EXPECT_EQ(decode(Bits{}.add("aa").ones(kEosBits).add("aaaaaaaaaaaaaaaa").bytes()), std::nullopt);
  EXPECT_EQ(decode(Bits{}.add("aaaaaaaaaaaaaaaaaaaaaaaa").ones(kEosBits).add("aa").bytes()), std::nullopt);
}

TEST(Huffman, CodesThatDoNotEnd) {
  // A code of 28 bits, cut after each of its bytes.
  const std::string whole = Bits{}.add("\x02\x02").bytes();
  ASSERT_EQ(decode(whole), "\x02\x02");
  for (std::size_t size = 1; size < whole.size(); ++size) {
    const bool padded = size == 4;  // one whole code and the first four ones of the next
    EXPECT_EQ(decode(whole.substr(0, size)), padded ? std::optional{"\x02"s} : std::nullopt) << size;
  }
}

}  // namespace
}  // namespace dao::http::h2

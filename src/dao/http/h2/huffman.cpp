#include "dao/http/h2/huffman.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "dao/http/byte_words.h"

namespace dao::http::h2 {

namespace {

constexpr std::size_t kSymbols = 257;
constexpr std::size_t kEos = 256;
constexpr unsigned kLongestCode = 30;

// The code is canonical: codes of one length follow each other in the order of their symbols, and the first of a length
// is the one after the last of the lengths below, made longer with zeros. So the lengths say all of it.
constexpr std::array<std::uint8_t, kSymbols> kLengths = {
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 28, 6,  10, 10, 12, 13, 6,  8,  11, 10, 10, 8,  11, 8,  6,  6,  6,  5,  5,  5,  6,  6,  6,  6,  6,  6,  6,
    7,  8,  15, 6,  12, 10, 13, 6,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,
    7,  8,  7,  8,  13, 19, 13, 14, 6,  15, 5,  6,  5,  6,  5,  6,  6,  6,  5,  7,  7,  6,  6,  6,  5,  6,  7,  6,  5,
    5,  6,  7,  7,  7,  7,  7,  15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24,
    24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22,
    23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26,
    27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23,
    22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
};

struct Code {
  std::uint32_t bits;
  std::uint32_t length;
};

consteval std::array<Code, kSymbols> make_codes() {
  std::array<Code, kSymbols> codes{};
  std::uint32_t next = 0;
  for (std::uint32_t length = 1; length <= kLongestCode; ++length) {
    next <<= 1U;
    for (std::size_t symbol = 0; symbol < kSymbols; ++symbol) {
      if (kLengths[symbol] == length) codes[symbol] = {next++, length};
    }
  }
  if (next != 1U << kLongestCode) throw "the lengths do not make a complete code";
  return codes;
}

constexpr std::array<Code, kSymbols> kCodes = make_codes();

// Decoding looks at so many bits at once. Most text has two symbols in them, and touches little of the table's 16 KiB.
constexpr unsigned kWindow = 12;

struct Window {
  std::array<char, 2> symbols{};
  std::uint8_t bits = 0;   // of their codes together
  std::uint8_t count = 0;  // 0: the first code is longer than the window
};

consteval std::array<Window, std::size_t{1} << kWindow> make_windows() {
  std::array<Window, std::size_t{1} << kWindow> windows{};
  for (std::size_t symbol = 0; symbol < kEos; ++symbol) {
    const Code code = kCodes[symbol];
    if (code.length > kWindow) continue;
    const unsigned spare = kWindow - code.length;
    for (std::size_t rest = 0; rest < std::size_t{1} << spare; ++rest) {
      windows[(std::size_t{code.bits} << spare) + rest] = {
          .symbols = {static_cast<char>(symbol)}, .bits = static_cast<std::uint8_t>(code.length), .count = 1};
    }
  }
  const std::array<Window, std::size_t{1} << kWindow> singles = windows;
  for (std::size_t bits = 0; bits < windows.size(); ++bits) {
    Window& window = windows[bits];
    const Window& second = singles[bits << window.bits & (windows.size() - 1)];
    if (window.count == 0 || second.count == 0 || window.bits + second.bits > kWindow) continue;
    window.symbols[1] = second.symbols[0];
    window.bits = static_cast<std::uint8_t>(window.bits + second.bits);
    window.count = 2;
  }
  return windows;
}

constexpr std::array<Window, std::size_t{1} << kWindow> kWindows = make_windows();

// The codes that are longer than the window, one group for each length.
struct LongCodes {
  std::uint32_t end;           // the code after the last of them, in the upper bits of a word
  std::uint32_t first;         // the first code
  std::uint16_t first_symbol;  // where kLongSymbols has its symbol
  std::uint8_t length;
};

constexpr std::size_t kLongCount =
    static_cast<std::size_t>(std::ranges::count_if(kLengths, [](std::uint8_t length) { return length > kWindow; }));
constexpr std::size_t kLongLengths = [] {
  std::size_t count = 0;
  for (unsigned length = kWindow + 1; length <= kLongestCode; ++length)
    count += std::ranges::count(kLengths, length) > 0;
  return count;
}();

struct LongTable {
  std::array<LongCodes, kLongLengths> groups{};
  std::array<std::uint16_t, kLongCount> symbols{};
};

consteval LongTable make_long_table() {
  LongTable table{};
  std::size_t groups = 0;
  std::size_t count = 0;
  for (unsigned length = kWindow + 1; length <= kLongestCode; ++length) {
    const std::size_t before = count;
    for (std::size_t symbol = 0; symbol < kSymbols; ++symbol) {
      if (kLengths[symbol] == length) table.symbols[count++] = static_cast<std::uint16_t>(symbol);
    }
    if (count == before) continue;
    const std::uint32_t last = kCodes[table.symbols[count - 1]].bits;
    // All ones are the last code, EOS: there is no code after it, and the end is 2^32.
    const std::uint32_t end = length == kLongestCode ? ~std::uint32_t{0} : (last + 1) << (32 - length);
    table.groups[groups++] = {end, kCodes[table.symbols[before]].bits, static_cast<std::uint16_t>(before),
                              static_cast<std::uint8_t>(length)};
  }
  return table;
}

constexpr LongTable kLong = make_long_table();

struct Symbol {
  std::uint16_t symbol;
  std::uint8_t length;
};

Symbol one_symbol(char symbol) {
  const auto number = static_cast<unsigned char>(symbol);
  return {number, kLengths[number]};
}

// `bits`: what is next, in the upper bits.
Symbol long_symbol(std::uint64_t bits) {
  const auto upper = static_cast<std::uint32_t>(bits >> 32U);
  const LongCodes* group = kLong.groups.data();
  while (upper >= group->end && group != &kLong.groups.back()) ++group;
  const std::uint32_t nth = (upper >> (32U - group->length)) - group->first;
  return {kLong.symbols[group->first_symbol + nth], group->length};
}

// The last `left` bytes before `end`, at most seven, in the upper bits of a word. `size`: so many could be read.
std::uint64_t load_rest(const char* end, std::size_t left, std::size_t size) {
  if (left == 0) return 0;
  if (size >= 8) return load_big_64(end - 8) << (64 - 8 * left);
  const char* const at = end - left;
  const auto byte = [at](std::size_t i) { return std::uint64_t{static_cast<unsigned char>(at[i])} << (56 - 8 * i); };
  if (left < 4) return byte(0) | byte(left / 2) | byte(left - 1);
  return std::uint64_t{load_big_32(at)} << 32U | std::uint64_t{load_big_32(end - 4)} << (64 - 8 * left);
}

// Writes up to kHuffmanBeyond bytes too many. Null when it passes `limit`, if there is one.
char* encode(std::string_view text, char* at, const char* limit) {
  const char* in = text.data();
  const char* const end = in + text.size();
  std::uint64_t bits = 0;  // the lower `have` of them are not written yet
  unsigned have = 0;
  const auto put = [&](char c) {
    const Code code = kCodes[static_cast<unsigned char>(c)];
    bits = bits << code.length | code.bits;
    have += code.length;
  };
  const auto write = [&] {  // what makes whole bytes is done; the rest is written once more
    store_big_64(at, bits << (64 - have));
    at += have / 8;
    have %= 8;
  };
  while (end - in >= 4) {
    const std::uint64_t bits_before = bits;
    const unsigned have_before = have;
    for (unsigned i = 0; i < 4; ++i) put(in[i]);
    if (have <= 64) [[likely]] {
      write();
    } else {
      bits = bits_before;
      have = have_before;
      for (unsigned i = 0; i < 4; ++i) {
        put(in[i]);
        write();
      }
    }
    in += 4;
    if (limit != nullptr && at >= limit) return nullptr;
  }
  for (; in != end; ++in) {
    put(*in);
    write();
  }
  if (have > 0) *at++ = static_cast<char>(bits << (8 - have) | 0xffU >> have);  // the padding is ones
  return at;
}

}  // namespace

std::size_t huffman_size(std::string_view text) {
  std::size_t bits = 0;
  for (const char c : text) bits += kLengths[static_cast<unsigned char>(c)];
  return (bits + 7) / 8;
}

char* huffman_encode(std::string_view text, char* at) {
  return encode(text, at, nullptr);
}

char* huffman_encode_shorter(std::string_view text, char* at) {
  const char* const limit = at + text.size();
  char* const end = encode(text, at, limit);
  return end != nullptr && end < limit ? end : nullptr;
}

char* huffman_decode(std::string_view coded, char* at) {
  const char* in = coded.data();
  const char* const end = in + coded.size();
  std::uint64_t bits = 0;  // what is next, in the upper `have`; below may be more of it, which is put there again
  unsigned have = 0;
  for (;;) {
    const auto left = static_cast<std::size_t>(end - in);
    if (left >= 8) {
      bits |= load_big_64(in) >> have;
      in += (63 - have) / 8;
      have |= 56U;
    } else {
      bits |= load_rest(end, left, coded.size()) >> have;
      const std::size_t take = std::min<std::size_t>(left, (63 - have) / 8);
      in += take;
      have += static_cast<unsigned>(8 * take);
      if (have < 4 * kWindow) break;
    }
    Window window{};
    for (unsigned turn = 0; turn < 4; ++turn) {
      window = kWindows[bits >> (64 - kWindow)];
      std::memcpy(at, window.symbols.data(), 2);
      at += window.count;
      bits <<= window.bits;
      have -= window.bits;
    }
    if (window.count == 0 && have >= kLongestCode) [[unlikely]] {  // so were the windows after the first such
      const Symbol found = long_symbol(bits);
      if (found.symbol == kEos) return nullptr;
      *at++ = static_cast<char>(found.symbol);
      bits <<= found.length;
      have -= found.length;
    }
  }
  // Ones behind the end, so that padding looks the same wherever it begins: no code is that and as short.
  bits |= ~std::uint64_t{0} >> have;
  constexpr unsigned kPaddingMost = 7;
  while (have > kPaddingMost || bits >> (64 - kPaddingMost) != (1U << kPaddingMost) - 1) {
    const Window window = kWindows[bits >> (64 - kWindow)];
    if (window.count > 0 && window.bits <= have) {
      std::memcpy(at, window.symbols.data(), 2);
      at += window.count;
      bits <<= window.bits;
      have -= window.bits;
      continue;
    }
    const Symbol found = window.count > 0 ? one_symbol(window.symbols[0]) : long_symbol(bits);
    if (found.length > have || found.symbol == kEos) return nullptr;
    *at++ = static_cast<char>(found.symbol);
    bits <<= found.length;
    have -= found.length;
  }
  return at;
}

}  // namespace dao::http::h2

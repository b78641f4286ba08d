// The character classes of RFC 9110 and RFC 9112 and the scans over them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace dao::http::h1 {

enum CharClass : std::uint8_t {
  kToken = 1,       // RFC 9110 section 5.6.2
  kTarget = 2,      // VCHAR but '#': what a request-target may hold (RFC 9112 section 3.2; a fragment is never sent)
  kFieldValue = 4,  // HTAB, SP, VCHAR, obs-text (RFC 9110 section 5.5)
  kRegName = 8,     // a host's name or IPv4 address (RFC 3986 section 3.2.2)
  kQuoted = 16,     // in a chunk extension (RFC 9112 section 7.1.1): anything but CTL
};

consteval std::array<std::uint8_t, 256> make_char_classes() {
  std::array<std::uint8_t, 256> table{};
  const auto mark = [&table](std::string_view chars, std::uint8_t bits) {
    for (const char c : chars) table[static_cast<unsigned char>(c)] |= bits;
  };
  for (unsigned c = 0; c < 256; ++c) {
    if (c == '\t' || (c >= 0x20 && c != 0x7f)) table[c] |= kFieldValue | kQuoted;
    if (c > 0x20 && c < 0x7f && c != '#') table[c] |= kTarget;
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) table[c] |= kToken | kRegName;
  }
  mark("!#$%&'*+-.^_`|~", kToken);
  mark("-._~!$&'()*+,;=%", kRegName);
  return table;
}
inline constexpr std::array<std::uint8_t, 256> kCharClasses = make_char_classes();

constexpr bool is(char c, CharClass what) {
  return (kCharClasses[static_cast<unsigned char>(c)] & what) != 0;
}
constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

constexpr bool is_token(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text) {
    if (!is(c, kToken)) return false;
  }
  return true;
}

// The first character from `at` on that does not belong to the class; `end` if all do.
inline const char* skip(const char* at, const char* end, CharClass what) {
  const auto bits = [](char c) { return static_cast<unsigned>(kCharClasses[static_cast<unsigned char>(c)]); };
  while (end - at >= 4 && (bits(at[0]) & bits(at[1]) & bits(at[2]) & bits(at[3]) & what) != 0) at += 4;
  while (at != end && is(*at, what)) ++at;
  return at;
}

// As skip(at, end, kFieldValue), sixteen bytes at a time.
inline const char* skip_field_value(const char* at, const char* end) {
#if defined(__SSE2__)
  const __m128i space = _mm_set1_epi8(0x20);
  const __m128i tab = _mm_set1_epi8('\t');
  const __m128i del = _mm_set1_epi8(0x7f);
  while (end - at >= 16) {
    const __m128i chunk = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    const __m128i printable = _mm_cmpeq_epi8(_mm_max_epu8(chunk, space), chunk);
    const __m128i allowed =
        _mm_andnot_si128(_mm_cmpeq_epi8(chunk, del), _mm_or_si128(printable, _mm_cmpeq_epi8(chunk, tab)));
    const auto mask = static_cast<unsigned>(_mm_movemask_epi8(allowed));
    if (mask != 0xffffU) return at + __builtin_ctz(~mask);
    at += 16;
  }
#endif
  return skip(at, end, kFieldValue);
}

// As skip(at, end, kToken); names made of letters and '-', as nearly all are, in one step.
inline const char* skip_field_name(const char* at, const char* end) {
#if defined(__SSE2__)
  if (end - at >= 16) {
    const __m128i chunk = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    const __m128i lower = _mm_or_si128(chunk, _mm_set1_epi8(0x20));
    // Signed comparison: bytes from 0x80 are negative, so they are not above 'a' - 1.
    const __m128i letters =
        _mm_and_si128(_mm_cmpgt_epi8(lower, _mm_set1_epi8('a' - 1)), _mm_cmplt_epi8(lower, _mm_set1_epi8('z' + 1)));
    const __m128i allowed = _mm_or_si128(letters, _mm_cmpeq_epi8(chunk, _mm_set1_epi8('-')));
    const auto mask = static_cast<unsigned>(_mm_movemask_epi8(allowed));
    at += mask == 0xffffU ? 16 : __builtin_ctz(~mask);
    if (mask != 0xffffU && *at == ':') return at;
  }
#endif
  return skip(at, end, kToken);
}

// As skip(at, end, kTarget), sixteen bytes at a time.
inline const char* skip_target(const char* at, const char* end) {
#if defined(__SSE2__)
  const __m128i first = _mm_set1_epi8(0x21);
  const __m128i del = _mm_set1_epi8(0x7f);
  const __m128i hash = _mm_set1_epi8('#');
  while (end - at >= 16) {
    const __m128i chunk = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    // Signed comparison: bytes from 0x80 are negative, so they are "below 0x21" too.
    const __m128i low = _mm_cmplt_epi8(chunk, first);
    const __m128i bad = _mm_or_si128(low, _mm_or_si128(_mm_cmpeq_epi8(chunk, del), _mm_cmpeq_epi8(chunk, hash)));
    const auto mask = static_cast<unsigned>(_mm_movemask_epi8(bad));
    if (mask != 0) return at + __builtin_ctz(mask);
    at += 16;
  }
#endif
  return skip(at, end, kTarget);
}

// Removes optional white space (SP, HTAB) at both ends.
constexpr std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Calls `each(element)` for every non-empty element of a comma-separated list (RFC 9110 section 5.6.1).
template <class Each>
void for_each_element(std::string_view list, Each&& each) {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    const std::string_view element = trim(list.substr(0, comma));
    if (!element.empty()) each(element);
    if (comma == std::string_view::npos) break;
    list.remove_prefix(comma + 1);
  }
}

}  // namespace dao::http::h1

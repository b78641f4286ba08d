#include "dao/flow/url_text.h"

#include <algorithm>

namespace dao::flow {

namespace {

bool is_safe(char c) {
  constexpr std::string_view kNever = "\"#<>\\^`{|}";
  return c > ' ' && c <= '~' && kNever.find(c) == std::string_view::npos;
}

}  // namespace

std::string_view url_safe(std::string_view text, http::Arena& arena) {
  const auto unsafe = static_cast<std::size_t>(std::ranges::count_if(text, [](char c) { return !is_safe(c); }));
  if (unsafe == 0) return text;
  constexpr std::string_view kHex = "0123456789ABCDEF";
  char* const begin = arena.allocate(text.size() + 2 * unsafe);
  char* at = begin;
  for (const char c : text) {
    if (is_safe(c)) {
      *at++ = c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      *at++ = '%';
      *at++ = kHex[byte >> 4U];
      *at++ = kHex[byte & 15U];
    }
  }
  return {begin, static_cast<std::size_t>(at - begin)};
}

}  // namespace dao::flow

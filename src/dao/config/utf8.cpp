#include "dao/config/utf8.h"

#include <algorithm>

namespace dao::config {

std::size_t character_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(at);
  if (lead < 0x80) return 1;
  std::size_t length = 0;
  unsigned char low =
      0x80;  // bounds of the second byte, which exclude overlong forms, surrogates and all above U+10FFFF
  unsigned char high = 0xbf;
  if (lead >= 0xc2 && lead <= 0xdf) {
    length = 2;
  } else if (lead >= 0xe0 && lead <= 0xef) {
    length = 3;
    if (lead == 0xe0) low = 0xa0;
    if (lead == 0xed) high = 0x9f;
  } else if (lead >= 0xf0 && lead <= 0xf4) {
    length = 4;
    if (lead == 0xf0) low = 0x90;
    if (lead == 0xf4) high = 0x8f;
  }
  if (length == 0 || text.size() - at < length || byte(at + 1) < low || byte(at + 1) > high) return 0;
  for (std::size_t k = 2; k < length; ++k) {
    if ((byte(at + k) & 0xc0U) != 0x80U) return 0;
  }
  return length;
}

std::optional<std::size_t> find_invalid_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = character_length(text, i);
    if (length == 0) return i;
    i += length;
  }
  return std::nullopt;
}

Position position_at(std::string_view text, std::size_t offset) {
  Position where{1, 1};
  for (const char c : text.substr(0, offset)) {
    if (c == '\n') {
      ++where.line;
      where.column = 1;
    } else if ((static_cast<unsigned char>(c) & 0xc0U) != 0x80U) {
      ++where.column;
    }
  }
  return where;
}

std::string printable(std::string_view line) {
  std::string out;
  for (std::size_t i = 0; i < line.size();) {
    const std::size_t length = character_length(line, i);
    const std::string_view character = line.substr(i, std::max<std::size_t>(length, 1));
    const auto lead = static_cast<unsigned char>(character.front());
    const bool c1 = length == 2 && lead == 0xc2 && static_cast<unsigned char>(character[1]) < 0xa0;
    const bool control = c1 || (lead < 0x20 && lead != '\t') || lead == 0x7f;
    out += length == 0 || control ? std::string_view("?") : character;
    i += character.size();
  }
  return out;
}

}  // namespace dao::config

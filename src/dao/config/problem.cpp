#include "dao/config/problem.h"

#include <cstddef>

#include <fmt/format.h>

namespace dao::config {

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kShown = 80;
  std::string out = "\"";
  std::size_t shown = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    // Never cut inside a UTF-8 sequence: continuation bytes are 10xxxxxx.
    if (++shown > kShown && (byte & 0xc0U) != 0x80U) return out + "...\"";
    if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\u{:04x}", byte);
    } else if (c == '"' || c == '\\') {
      out += {'\\', c};
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace dao::config

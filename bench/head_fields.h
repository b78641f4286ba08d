// The three header fields that decide where an HTTP/1.1 message ends, found with one pass over the head. Enough for the
// bench programs, which talk only to proxies and backends they started themselves; not a parser for hostile input.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace dao::bench {

struct Framing {
  std::optional<std::uint64_t> content_length;
  bool chunked = false;
  bool close = false;
  bool keep_alive = false;
};

namespace detail {

inline bool equals_ignoring_case(std::string_view text, std::string_view lower) {
  if (text.size() != lower.size()) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c) != lower[i]) return false;
  }
  return true;
}

inline std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

}  // namespace detail

// `head` runs from the start line to the empty line, both included.
inline Framing framing_of(std::string_view head) {
  Framing framing;
  for (auto line_end = head.find('\n'); line_end != std::string_view::npos;) {
    const auto start = line_end + 1;
    line_end = head.find('\n', start);
    if (line_end == std::string_view::npos) break;
    const char first = static_cast<char>(head[start] | 0x20);
    if (first != 'c' && first != 't') continue;
    const auto line = head.substr(start, line_end - start - (head[line_end - 1] == '\r' ? 1 : 0));
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const auto name = line.substr(0, colon);
    const auto value = detail::trimmed(line.substr(colon + 1));
    if (detail::equals_ignoring_case(name, "content-length")) {
      std::uint64_t length = 0;
      if (std::from_chars(value.data(), value.data() + value.size(), length).ec == std::errc{}) {
        framing.content_length = length;
      }
    } else if (detail::equals_ignoring_case(name, "transfer-encoding")) {
      framing.chunked = detail::equals_ignoring_case(value, "chunked");
    } else if (detail::equals_ignoring_case(name, "connection")) {
      framing.close = detail::equals_ignoring_case(value, "close");
      framing.keep_alive = detail::equals_ignoring_case(value, "keep-alive");
    }
  }
  return framing;
}

}  // namespace dao::bench

// TOML text as a tree of values that know where they stand. The only door to the TOML library.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace dao::config {

// Line and column from 1; columns count characters (code points), not bytes. {0, 0} = the text as a whole.
struct Position {
  std::uint32_t line = 0;
  std::uint32_t column = 0;
  std::uint16_t file = 0;  // which of several texts: 0 = the one that includes the others

  friend bool operator==(const Position&, const Position&) = default;
  friend auto operator<=>(const Position& a, const Position& b) {
    return std::tie(a.file, a.line, a.column) <=> std::tie(b.file, b.line, b.column);
  }
};

struct Member;

struct Node {
  enum class Kind : std::uint8_t { boolean, integer, floating, text, date_time, list, table };

  Kind kind = Kind::table;
  Position where;  // of the value; of the header for a [table]; of "[[" for an element of an array of tables
  bool boolean = false;
  std::int64_t integer = 0;
  double floating = 0;
  std::string text;             // Kind::text only
  std::vector<Node> items;      // Kind::list
  std::vector<Member> members;  // Kind::table; names all different, in order of name

  [[nodiscard]] const Member* find(std::string_view name) const;
};

struct Member {
  std::string name;
  Position where;  // of the key
  Node value;
};

struct SyntaxError {
  Position where;
  std::string message;
};

// The root is a table. TOML 1.0. Text nested deeper than `max_depth` arrays, inline tables or dotted key parts is
// refused before it is parsed, so neither parsing nor destroying the result can exhaust the stack. `file` goes into all
// positions.
[[nodiscard]] std::expected<Node, SyntaxError> parse_document(std::string_view text, std::size_t max_depth,
                                                              std::uint16_t file = 0);

}  // namespace dao::config

// The schema: one table of every key that a config file may have. Checking and loading, docs/config-reference.md and
// configs/dao.schema.json all come from it; a new key is a field in config.h and a row in schema.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "dao/config/problem.h"

namespace dao::config {

enum class Kind : std::uint8_t {
  boolean,
  integer,
  number,  // real; integers are numbers too
  text,
  text_list,
  text_or_list,  // one string, or an array of strings
  text_table,    // a table of strings with names of the operator's choice
};

struct Choice {
  std::string_view name;
  std::string_view doc;
};

// A value that has the right type, range and choice. `texts` has one element for Kind::text and all of them for the
// lists and tables, where `name` is the key inside a text_table.
struct Value {
  struct Text {
    std::string name;
    std::string text;
  };
  bool boolean = false;
  std::int64_t integer = 0;
  double number = 0;
  std::vector<Text> texts;
};

// Receives what is wrong with texts[index] of a value, which has the right type but not the right form.
class Objections {
 public:
  virtual void object(std::size_t index, Problem problem) = 0;

 protected:
  ~Objections() = default;
};

// Which values are not shown to whoever reads a difference or a snapshot (redact.h).
enum class Secrecy : std::uint8_t {
  by_name,  // of a text_table, those whose names say so ("Authorization"); of all others, none
  none,
  all,
};

// std::monostate: no default.
using Default =
    std::variant<std::monostate, bool, std::int64_t, double, std::string_view, std::vector<std::string_view>>;

struct Key {
  std::string_view name;
  Kind kind = Kind::text;
  std::string_view doc;
  Default fallback = {};
  bool required = false;
  std::string_view absent = {};  // what it means when a key without default is absent
  std::int64_t min = 0;          // integers and numbers
  std::int64_t max = 0;
  std::string_view unit = {};        // integers: "ms", "bytes", ...
  std::vector<Choice> choices = {};  // texts: the only values, if any are listed
  bool open = false;                 // texts: others than the choices are possible, and checked elsewhere
  std::string_view form = {};        // texts: what they look like
  std::string_view pattern = {};     // texts: a regular expression for editors, never stricter than the check
  std::size_t min_items = 0;         // lists
  std::size_t max_items = 0;         // lists and tables of strings; 0 = no limit
  bool unique_items = false;         // lists
  std::string_view example = {};     // TOML text of a value
  Secrecy secrecy = Secrecy::by_name;
  // Puts the value into the object of the table that the key stands in.
  void (*store)(void* object, const Value& value, Objections& objections) = nullptr;
};

struct Table {
  std::string_view name;
  std::string_view doc;
  bool repeated = false;          // an array of tables: [[name]]
  std::string_view missing = {};  // the error when a repeated table occurs not once; empty = may be absent
  std::vector<Key> keys = {};
  std::vector<Table> tables = {};   // visited in this order, whatever the order in the file
  std::string_view exclusive = {};  // two keys, "a b", of which only one may be present
  bool order_matters = false;       // of the elements of a repeated table
  // The object of this table inside the object of the table around it; for a repeated table, a new one for each
  // element.
  void* (*enter)(void* parent) = nullptr;
  // Instead of that, for tables of this kind with names of the operator's choice, [table.NAME], any number of them.
  Parsed<void*> (*enter_named)(void* parent, std::string_view name) = nullptr;
};

// The table without name that holds all others. Its object is a Draft (draft.h). Built once; any thread.
[[nodiscard]] const Table& schema();

// "an integer from 0 to 2", "one of "json", "combined"": what a value of this key has to be.
[[nodiscard]] std::string describe_value(const Key& key);
// The default as TOML text; empty if there is none.
[[nodiscard]] std::string default_as_toml(const Key& key);
// The path of a table in the table with the path `around`, with NAME for a name of the operator's choice.
[[nodiscard]] std::string path_inside(std::string_view around, const Table& table);
// "[server]", "[[routes.rule]]", from the path "server", "routes.rule[]" of a table.
[[nodiscard]] std::string header_of(std::string_view path, const Table& table);

}  // namespace dao::config

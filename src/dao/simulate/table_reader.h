// Reads the keys of one TOML table into values and reports what does not belong there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dao/base/clock.h"
#include "dao/config/apply_schema.h"
#include "dao/config/document.h"

namespace dao::simulate {

template <class E>
struct Choice {
  std::string_view name;
  E value;
};

struct Bounds {
  double least = 0;
  double most = 1e12;
  bool above_least = false;  // `least` itself is not allowed
};

class TableReader {
 public:
  // `node` is a table or anything else, which is reported. All outlive it. `path`: "", "arrivals", "backends[0]".
  TableReader(const config::Node& node, std::string path, config::Findings& findings);

  // Each reads the key if it is there, and says whether it was there and right. What is wrong is reported.
  bool number(std::string_view key, double& into, Bounds bounds);
  bool number(std::string_view key, std::optional<double>& into, Bounds bounds);
  template <class Integer>
  bool integer(std::string_view key, Integer& into, std::int64_t least, std::int64_t most) {
    const std::optional<std::int64_t> value = read_integer(key, least, most);
    if (value) into = static_cast<Integer>(*value);
    return value.has_value();
  }
  bool seconds(std::string_view key, Nanoseconds& into, Bounds bounds = {});
  bool milliseconds(std::string_view key, Nanoseconds& into, Bounds bounds = {});
  bool boolean(std::string_view key, bool& into);
  bool text(std::string_view key, std::string& into);
  bool texts(std::string_view key, std::vector<std::string>& into);
  template <class E, std::size_t N>
  bool choice(std::string_view key, E& into, const Choice<E> (&choices)[N]) {
    std::vector<std::string_view> names;
    for (const auto& one : choices) names.push_back(one.name);
    const std::optional<std::size_t> index = read_choice(key, names);
    if (index) into = choices[*index].value;
    return index.has_value();
  }
  // The readers of a table, or of every table of an array.
  std::optional<TableReader> table(std::string_view key);
  std::vector<TableReader> tables(std::string_view key);

  [[nodiscard]] bool has(std::string_view key) const { return node_.find(key) != nullptr; }
  // About the value of a key, or about the table if the key is not there.
  void report(std::string_view key, std::string message, std::string expected = {}, std::string suggestion = {});
  [[nodiscard]] std::uint32_t line() const { return node_.where.line; }
  // Reports the keys that nobody asked for. To be called last.
  void finish();

 private:
  const config::Node* find(std::string_view key);
  std::optional<std::int64_t> read_integer(std::string_view key, std::int64_t least, std::int64_t most);
  std::optional<std::size_t> read_choice(std::string_view key, const std::vector<std::string_view>& names);
  [[nodiscard]] std::string path_of(std::string_view key) const;

  const config::Node& node_;
  std::string path_;
  config::Findings* findings_;
  std::vector<std::string_view> known_;
};

}  // namespace dao::simulate

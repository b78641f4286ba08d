#include "dao/simulate/table_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "dao/config/nearest.h"
#include "dao/config/problem.h"

namespace dao::simulate {

namespace {

std::string describe(const Bounds& bounds) {
  const std::string_view least = bounds.above_least ? "above" : "of at least";
  if (bounds.most >= Bounds{}.most) return fmt::format("a number {} {}", least, bounds.least);
  return fmt::format("a number {} {}, at most {}", least, bounds.least, bounds.most);
}

}  // namespace

TableReader::TableReader(const config::Node& node, std::string path, config::Findings& findings)
    : node_(node), path_(std::move(path)), findings_(&findings) {
  if (node.kind != config::Node::Kind::table)
    findings.error(node.where, path_, {.message = "wrong type", .expected = "a table"});
}

std::string TableReader::path_of(std::string_view key) const {
  if (key.empty()) return path_;
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

const config::Node* TableReader::find(std::string_view key) {
  known_.push_back(key);
  const config::Member* member = node_.find(key);
  return member == nullptr ? nullptr : &member->value;
}

void TableReader::report(std::string_view key, std::string message, std::string expected, std::string suggestion) {
  const config::Member* member = node_.find(key);
  findings_->error(
      member == nullptr ? node_.where : member->value.where, path_of(key),
      {.message = std::move(message), .expected = std::move(expected), .suggestion = std::move(suggestion)});
}

bool TableReader::number(std::string_view key, double& into, Bounds bounds) {
  const config::Node* node = find(key);
  if (node == nullptr) return false;
  if (node->kind != config::Node::Kind::integer && node->kind != config::Node::Kind::floating) {
    report(key, "wrong type", describe(bounds));
    return false;
  }
  const double value = node->kind == config::Node::Kind::integer ? static_cast<double>(node->integer) : node->floating;
  const bool in_bounds = std::isfinite(value) && value <= bounds.most &&
                         (bounds.above_least ? value > bounds.least : value >= bounds.least);
  if (!in_bounds) {
    report(key, fmt::format("{} is out of range", value), describe(bounds));
    return false;
  }
  into = value;
  return true;
}

bool TableReader::number(std::string_view key, std::optional<double>& into, Bounds bounds) {
  double value = 0;
  if (!number(key, value, bounds)) return false;
  into = value;
  return true;
}

bool TableReader::seconds(std::string_view key, Nanoseconds& into, Bounds bounds) {
  constexpr double kMost = 1e8;  // three years
  bounds.most = std::min(bounds.most, kMost);
  double value = 0;
  if (!number(key, value, bounds)) return false;
  into = Nanoseconds(std::llround(value * 1e9));
  return true;
}

bool TableReader::milliseconds(std::string_view key, Nanoseconds& into, Bounds bounds) {
  constexpr double kMost = 1e8;  // a day
  bounds.most = std::min(bounds.most, kMost);
  double value = 0;
  if (!number(key, value, bounds)) return false;
  into = Nanoseconds(std::llround(value * 1e6));
  return true;
}

std::optional<std::int64_t> TableReader::read_integer(std::string_view key, std::int64_t least, std::int64_t most) {
  const config::Node* node = find(key);
  if (node == nullptr) return std::nullopt;
  const std::string expected = fmt::format("an integer from {} to {}", least, most);
  if (node->kind != config::Node::Kind::integer) {
    report(key, "wrong type", expected);
    return std::nullopt;
  }
  if (node->integer < least || node->integer > most) {
    report(key, fmt::format("{} is out of range", node->integer), expected);
    return std::nullopt;
  }
  return node->integer;
}

bool TableReader::boolean(std::string_view key, bool& into) {
  const config::Node* node = find(key);
  if (node == nullptr) return false;
  if (node->kind != config::Node::Kind::boolean) {
    report(key, "wrong type", "true or false");
    return false;
  }
  into = node->boolean;
  return true;
}

bool TableReader::text(std::string_view key, std::string& into) {
  const config::Node* node = find(key);
  if (node == nullptr) return false;
  if (node->kind != config::Node::Kind::text || node->text.empty()) {
    report(key, node->kind != config::Node::Kind::text ? "wrong type" : "the text is empty", "a text");
    return false;
  }
  into = node->text;
  return true;
}

bool TableReader::texts(std::string_view key, std::vector<std::string>& into) {
  const config::Node* node = find(key);
  if (node == nullptr) return false;
  const bool right =
      node->kind == config::Node::Kind::list && !node->items.empty() &&
      std::ranges::all_of(node->items, [](const config::Node& item) { return item.kind == config::Node::Kind::text; });
  if (!right) {
    report(key, "wrong type", "an array of texts, not empty");
    return false;
  }
  into.clear();
  for (const config::Node& item : node->items) into.push_back(item.text);
  return true;
}

std::optional<std::size_t> TableReader::read_choice(std::string_view key, const std::vector<std::string_view>& names) {
  const config::Node* node = find(key);
  if (node == nullptr) return std::nullopt;
  if (node->kind == config::Node::Kind::text) {
    const auto found = std::ranges::find(names, node->text);
    if (found != names.end()) return static_cast<std::size_t>(found - names.begin());
  }
  const std::string_view given =
      node->kind == config::Node::Kind::text ? std::string_view(node->text) : std::string_view{};
  report(key, node->kind == config::Node::Kind::text ? "unknown value " + config::in_quotes(given) : "wrong type",
         fmt::format("one of \"{}\"", fmt::join(names, "\", \"")),
         std::string(config::nearest(given, names).value_or(std::string_view{})));
  return std::nullopt;
}

std::optional<TableReader> TableReader::table(std::string_view key) {
  const config::Node* node = find(key);
  if (node == nullptr) return std::nullopt;
  return TableReader(*node, path_of(key), *findings_);
}

std::vector<TableReader> TableReader::tables(std::string_view key) {
  std::vector<TableReader> readers;
  const config::Node* node = find(key);
  if (node == nullptr) return readers;
  if (node->kind != config::Node::Kind::list) {
    report(key, "wrong type", fmt::format("an array of tables: [[{}]]", key));
    return readers;
  }
  for (std::size_t i = 0; i < node->items.size(); ++i) {
    readers.emplace_back(node->items[i], fmt::format("{}[{}]", path_of(key), i), *findings_);
  }
  return readers;
}

void TableReader::finish() {
  for (const config::Member& member : node_.members) {
    if (std::ranges::find(known_, member.name) != known_.end()) continue;
    config::Problem problem{.message = "unknown key " + config::in_quotes(member.name)};
    if (const auto close = config::nearest(member.name, known_)) {
      problem.suggestion = *close;
    } else {
      problem.expected = fmt::format("one of {}", fmt::join(known_, ", "));
    }
    findings_->error(member.where, path_of(member.name), std::move(problem));
  }
}

}  // namespace dao::simulate

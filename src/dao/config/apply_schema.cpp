#include "dao/config/apply_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <tuple>
#include <unordered_set>

#include "dao/config/names.h"
#include "dao/config/nearest.h"
#include "dao/config/redact.h"
#include "dao/config/schema.h"

namespace dao::config {
namespace {

std::string describe_found(const Node& node) {
  switch (node.kind) {
    case Node::Kind::boolean:
      return node.boolean ? "the boolean true" : "the boolean false";
    case Node::Kind::integer:
      return fmt::format("the integer {}", node.integer);
    case Node::Kind::floating:
      return fmt::format("the float {}", node.floating);
    case Node::Kind::text:
      return "the string " + in_quotes(node.text);
    case Node::Kind::date_time:
      return "a date or time";
    case Node::Kind::list:
      return "an array";
    case Node::Kind::table:
      return "a table";
  }
  return {};
}

// The integer that was probably meant by a string or float: "5000", 5.0, "5s" for a key in ms, "64k" for one in bytes.
std::optional<std::int64_t> meant_integer(const Node& node, const Key& key) {
  if (node.kind == Node::Kind::floating) {
    const bool whole = node.floating > -1e15 && node.floating < 1e15 &&
                       static_cast<double>(static_cast<std::int64_t>(node.floating)) == node.floating;
    return whole ? std::optional(static_cast<std::int64_t>(node.floating)) : std::nullopt;
  }
  if (node.kind != Node::Kind::text) return std::nullopt;
  std::int64_t number = 0;
  const char* end = node.text.data() + node.text.size();
  const auto [rest, error] = std::from_chars(node.text.data(), end, number);
  if (error != std::errc() || number < 0 || number > 1'000'000'000) return std::nullopt;
  std::string suffix = lower_case(std::string_view(rest, end));
  suffix.erase(0, suffix.find_first_not_of(' ') == std::string::npos ? 0 : suffix.find_first_not_of(' '));
  if (suffix.empty()) return number;

  struct Scale {
    std::string_view unit;
    std::string_view suffix;
    std::int64_t factor;
  };
  static constexpr Scale kScales[] = {
      {"ms", "ms", 1},         {"ms", "s", 1000},        {"ms", "m", 60'000},       {"ms", "min", 60'000},
      {"ms", "h", 3'600'000},  {"bytes", "b", 1},        {"bytes", "k", 1024},      {"bytes", "kb", 1024},
      {"bytes", "kib", 1024},  {"bytes", "m", 1 << 20},  {"bytes", "mb", 1 << 20},  {"bytes", "mib", 1 << 20},
      {"bytes", "g", 1 << 30}, {"bytes", "gb", 1 << 30}, {"bytes", "gib", 1 << 30}, {"percent", "%", 1},
  };
  for (const Scale& scale : kScales) {
    if (scale.unit == key.unit && scale.suffix == suffix) return number * scale.factor;
  }
  return std::nullopt;
}

// The number that a string spells.
std::optional<double> meant_number(const Node& node) {
  if (node.kind != Node::Kind::text) return std::nullopt;
  double number = 0;
  const char* end = node.text.data() + node.text.size();
  const auto [rest, error] = std::from_chars(node.text.data(), end, number);
  return error == std::errc() && rest == end ? std::optional(number) : std::nullopt;
}

// A known key or table in all of the schema, with the header it belongs under.
struct KnownName {
  std::string_view name;
  std::string header;
};

void collect_names(const Table& table, const std::string& path, std::vector<KnownName>& names) {
  const std::string header = path.empty() ? "" : header_of(path, table);
  for (const Key& key : table.keys) names.push_back({key.name, header});
  for (const Table& inner : table.tables) {
    names.push_back({inner.name, header});
    collect_names(inner, path_inside(path, inner), names);
  }
}

const std::vector<KnownName>& known_names() {
  static const std::vector<KnownName> names = [] {
    std::vector<KnownName> all;
    collect_names(schema(), "", all);
    return all;
  }();
  return names;
}

Problem unknown_key(std::string_view given, const Table& table, const std::string& header) {
  Problem problem{
      fmt::format("unknown key {} {}", in_quotes(given), header.empty() ? "at the top level" : "in " + header)};
  std::vector<std::string_view> here;
  for (const Key& key : table.keys) here.push_back(key.name);
  for (const Table& inner : table.tables) here.push_back(inner.name);

  const auto close = nearest(given, here);
  if (!close || likeness(given, *close) != 0U) {
    if (const auto other = by_another_name(given, here)) {
      problem.suggestion = *other;
      return problem;
    }
  }
  const auto elsewhere = std::ranges::find_if(known_names(), [&](const KnownName& known) {
    return known.header != header && likeness(given, known.name) == 0U;
  });
  if (elsewhere != known_names().end() && (!close || likeness(given, *close) != 0U)) {
    problem.suggestion = elsewhere->name;
    const bool top_key = std::ranges::find(schema().keys, elsewhere->name, &Key::name) != schema().keys.end();
    if (!elsewhere->header.empty()) {
      problem.message += "; it belongs in " + elsewhere->header;
    } else if (top_key) {
      problem.message += "; it belongs before all tables";
    } else {
      problem.message += "; it belongs at the top level: " + header_of(elsewhere->name, {});
    }
    return problem;
  }
  if (close) {
    problem.suggestion = *close;
    return problem;
  }
  const auto similar = std::ranges::find_if(known_names(), [&](const KnownName& known) {
    return !known.header.empty() && likeness(given, known.name) == 1U;
  });
  if (similar != known_names().end()) {
    problem.suggestion = similar->name;
    problem.message += fmt::format("; {} has \"{}\"", similar->header, similar->name);
    return problem;
  }
  std::string list;
  for (const auto name : here) list += fmt::format("{}{}", list.empty() ? "" : ", ", name);
  problem.expected = "one of " + list;
  return problem;
}

struct Spot {
  Position where;
  std::string path;
};

class Walk {
 public:
  Walk(Findings& findings, Places& places) : findings_(findings), places_(places) {}

  // `path` has the indexes of repeated tables: "routes.rule[0]".
  void table(const Table& spec, const Node& node, void* object, const std::string& path) {
    const auto header = [&] { return path.empty() ? std::string{} : header_of(path, spec); };
    for (const Member& member : node.members) {
      const bool known = std::ranges::find(spec.keys, member.name, &Key::name) != spec.keys.end() ||
                         std::ranges::find(spec.tables, member.name, &Table::name) != spec.tables.end();
      if (known) continue;
      // Looking for similar names costs; a file full of unknown keys shall not take minutes.
      findings_.error(member.where, join_key(path, member.name),
                      findings_.full() ? Problem{.message = {}} : unknown_key(member.name, spec, header()));
    }
    check_exclusive(spec, node, path);
    for (const Key& key : spec.keys) {
      if (const Member* member = node.find(key.name)) {
        const std::string key_path = join_key(path, key.name);
        places_[key_path] = member->value.where;
        given(key, member->value, object, key_path);
      } else if (key.required) {
        findings_.error(
            node.where, join_key(path, key.name),
            {.message = fmt::format("\"{}\" is missing in {}", key.name, header()), .expected = describe_value(key)});
      } else {
        fall_back(key, object);
      }
    }
    for (const Table& inner : spec.tables) {
      const Member* member = node.find(inner.name);
      const std::string inner_path = join_key(path, inner.name);
      if (inner.enter_named != nullptr) {
        named(inner, member, object, inner_path);
      } else if (inner.repeated) {
        repeated(inner, node, member, object, inner_path);
      } else {
        single(inner, node, member, object, inner_path);
      }
    }
  }

 private:
  void check_exclusive(const Table& spec, const Node& node, const std::string& path) {
    if (spec.exclusive.empty()) return;
    const std::size_t space = spec.exclusive.find(' ');
    const std::string_view one = spec.exclusive.substr(0, space);
    const std::string_view other = spec.exclusive.substr(space + 1);
    const Member* a = node.find(one);
    const Member* b = node.find(other);
    if (a == nullptr || b == nullptr) return;
    const Member* later = a->where < b->where ? b : a;
    findings_.error(
        later->where, join_key(path, later->name),
        {.message = fmt::format("\"{}\" and \"{}\" exclude each other", one, other), .expected = "only one of them"});
  }

  void single(const Table& spec, const Node& around, const Member* member, void* parent, const std::string& path) {
    if (member == nullptr) {
      Node absent;
      absent.where = around.where;
      table(spec, absent, spec.enter(parent), path);
      return;
    }
    places_[path] = member->value.where;
    if (member->value.kind == Node::Kind::table) {
      table(spec, member->value, spec.enter(parent), path);
      return;
    }
    const bool as_list = member->value.kind == Node::Kind::list && !member->value.items.empty() &&
                         member->value.items.front().kind == Node::Kind::table;
    findings_.error(member->value.where, path,
                    {.message = as_list ? fmt::format("{} is one table, not an array of tables", header_of(path, spec))
                                        : fmt::format("wrong type: {}", describe_found(member->value)),
                     .expected = "a table, " + header_of(path, spec)});
  }

  void named(const Table& spec, const Member* member, void* parent, const std::string& path) {
    if (member == nullptr) return;
    const Node& all = member->value;
    places_[path] = all.where;
    const auto wrong = [&](const Node& node, const std::string& at) {
      findings_.error(node.where, at,
                      {.message = "wrong type: " + describe_found(node),
                       .expected = fmt::format("a table with a name of your choice, [{}.NAME]", spec.name)});
    };
    if (all.kind != Node::Kind::table) return wrong(all, path);
    for (const Member& one : all.members) {
      const std::string one_path = join_key(path, one.name);
      places_[one_path] = one.where;
      if (one.value.kind != Node::Kind::table) {
        wrong(one.value, one_path);
      } else if (Parsed<void*> object = spec.enter_named(parent, one.name)) {
        table(spec, one.value, *object, one_path);
      } else {
        findings_.error(one.where, one_path, std::move(object.error()));
      }
    }
  }

  void repeated(const Table& spec, const Node& around, const Member* member, void* parent, const std::string& path) {
    const std::string header = header_of(path, spec);
    if (member == nullptr) {
      if (!spec.missing.empty()) missing(spec, around.where, path, header);
      return;
    }
    const Node& list = member->value;
    places_[path] = list.where;
    if (list.kind == Node::Kind::table) {
      findings_.error(list.where, path,
                      {.message = fmt::format("\"{}\" is an array of tables, not one table", spec.name),
                       .expected = fmt::format("double brackets: {}", header)});
      return;
    }
    if (list.kind != Node::Kind::list) {
      findings_.error(list.where, path,
                      {.message = "wrong type: " + describe_found(list), .expected = "an array of tables, " + header});
      return;
    }
    if (list.items.empty() && !spec.missing.empty()) missing(spec, list.where, path, header);
    for (std::size_t i = 0; i < list.items.size(); ++i) {
      const Node& item = list.items[i];
      const std::string item_path = fmt::format("{}[{}]", path, i);
      places_[item_path] = item.where;
      if (item.kind == Node::Kind::table) {
        table(spec, item, spec.enter(parent), item_path);
      } else {
        findings_.error(item.where, item_path,
                        {.message = "wrong type: " + describe_found(item), .expected = "a table, " + header});
      }
    }
  }

  void missing(const Table& spec, Position where, const std::string& path, const std::string& header) {
    findings_.error(where, path, {.message = std::string(spec.missing), .expected = "at least one " + header});
  }

  void wrong_type(const Key& key, const Node& node, const std::string& path) {
    findings_.error(node.where, path,
                    {.message = "wrong type: " + describe_found(node), .expected = describe_value(key)});
  }

  void given(const Key& key, const Node& node, void* object, const std::string& path) {
    switch (key.kind) {
      case Kind::boolean:
        return given_boolean(key, node, object, path);
      case Kind::integer:
        return given_integer(key, node, object, path);
      case Kind::number:
        return given_number(key, node, object, path);
      case Kind::text:
      case Kind::text_list:
      case Kind::text_or_list:
        return given_texts(key, node, object, path);
      case Kind::text_table:
        return given_text_table(key, node, object, path);
    }
  }

  void given_boolean(const Key& key, const Node& node, void* object, const std::string& path) {
    if (node.kind == Node::Kind::boolean) {
      store(key, {.boolean = node.boolean, .texts = {}}, {}, object);
      return;
    }
    Problem problem{"wrong type: " + describe_found(node), describe_value(key)};
    if (node.kind == Node::Kind::text) {
      const std::string text = lower_case(node.text);
      if (text == "true" || text == "yes" || text == "on") problem.suggestion = "true";
      if (text == "false" || text == "no" || text == "off") problem.suggestion = "false";
    }
    findings_.error(node.where, path, std::move(problem));
  }

  void given_integer(const Key& key, const Node& node, void* object, const std::string& path) {
    if (node.kind != Node::Kind::integer) {
      Problem problem{"wrong type: " + describe_found(node), describe_value(key)};
      if (const auto meant = meant_integer(node, key)) problem.suggestion = fmt::format("{}", *meant);
      findings_.error(node.where, path, std::move(problem));
    } else if (node.integer < key.min || node.integer > key.max) {
      findings_.error(node.where, path,
                      {.message = fmt::format("{} is out of range", node.integer), .expected = describe_value(key)});
    } else {
      store(key, {.integer = node.integer, .texts = {}}, {}, object);
    }
  }

  void given_number(const Key& key, const Node& node, void* object, const std::string& path) {
    if (node.kind != Node::Kind::integer && node.kind != Node::Kind::floating) {
      Problem problem{"wrong type: " + describe_found(node), describe_value(key)};
      if (const auto meant = meant_number(node)) problem.suggestion = fmt::format("{}", *meant);
      findings_.error(node.where, path, std::move(problem));
      return;
    }
    const double given = node.kind == Node::Kind::integer ? static_cast<double>(node.integer) : node.floating;
    const bool in_range = given >= static_cast<double>(key.min) && given <= static_cast<double>(key.max);  // not NaN
    if (in_range) {
      store(key, {.number = given, .texts = {}}, {}, object);
    } else {
      findings_.error(node.where, path,
                      {.message = fmt::format("{} is out of range", given), .expected = describe_value(key)});
    }
  }

  void given_texts(const Key& key, const Node& node, void* object, const std::string& path) {
    const bool takes_one = key.kind != Kind::text_list;
    const bool takes_many = key.kind != Kind::text;
    if (node.kind == Node::Kind::text && takes_one) {
      if (check_shown(node, path) && check_choice(key, node, path))
        store(key, {.texts = {{{}, node.text}}}, {{node.where, path}}, object);
      return;
    }
    if (node.kind != Node::Kind::list || !takes_many) {
      Problem problem{"wrong type: " + describe_found(node), describe_value(key)};
      if (node.kind == Node::Kind::text) problem.suggestion = "[" + in_quotes(node.text) + "]";
      findings_.error(node.where, path, std::move(problem));
      return;
    }
    if (node.items.size() < key.min_items) {
      findings_.error(node.where, path, {.message = "the array is empty", .expected = describe_value(key)});
      return;
    }
    if (too_many(key, node, node.items.size(), path)) return;
    Value value;
    std::vector<Spot> spots;
    std::unordered_set<std::string_view> seen;
    for (std::size_t i = 0; i < node.items.size(); ++i) {
      const Node& item = node.items[i];
      const std::string item_path = fmt::format("{}[{}]", path, i);
      places_[item_path] = item.where;
      if (item.kind != Node::Kind::text) {
        findings_.error(item.where, item_path,
                        {.message = "wrong type: " + describe_found(item), .expected = describe_value(key)});
      } else if (key.unique_items && !seen.insert(item.text).second) {
        findings_.error(item.where, item_path,
                        {.message = in_quotes(item.text) + " is listed twice", .expected = "each value once"});
      } else if (check_shown(item, item_path) && check_choice(key, item, item_path)) {
        value.texts.push_back({{}, item.text});
        spots.push_back({item.where, item_path});
      }
    }
    store(key, value, spots, object);
  }

  void given_text_table(const Key& key, const Node& node, void* object, const std::string& path) {
    if (node.kind != Node::Kind::table) return wrong_type(key, node, path);
    if (too_many(key, node, node.members.size(), path)) return;
    Value value;
    std::vector<Spot> spots;
    for (const Member& member : node.members) {
      if (member.value.kind == Node::Kind::text) {
        if (!check_shown(member.value, join_key(path, member.name))) continue;
        value.texts.push_back({member.name, member.value.text});
        spots.push_back({member.where, join_key(path, member.name)});
      } else {
        wrong_type(key, member.value, join_key(path, member.name));
      }
    }
    store(key, value, spots, object);
  }

  bool too_many(const Key& key, const Node& node, std::size_t count, const std::string& path) {
    if (key.max_items == 0 || count <= key.max_items) return false;
    findings_.error(
        node.where, path,
        {.message = fmt::format("{} items are too many", count), .expected = fmt::format("at most {}", key.max_items)});
    return true;
  }

  // A text that was made for reading must not become a configuration whose secrets everybody knows.
  bool check_shown(const Node& node, const std::string& path) {
    if (node.text != kRedacted) return true;
    findings_.error(node.where, path,
                    {.message = fmt::format("{} stands for a secret that was left out", in_quotes(kRedacted)),
                     .expected = "the secret itself"});
    return false;
  }

  bool check_choice(const Key& key, const Node& node, const std::string& path) {
    if (key.choices.empty() || key.open) return true;
    std::vector<std::string_view> names;
    for (const Choice& choice : key.choices) names.push_back(choice.name);
    if (std::ranges::find(names, node.text) != names.end()) return true;
    Problem problem{in_quotes(node.text) + " is not a known value", describe_value(key)};
    if (const auto close = nearest(node.text, names)) problem.suggestion = *close;
    findings_.error(node.where, path, std::move(problem));
    return false;
  }

  // `spots`: where each of value.texts stands.
  void store(const Key& key, const Value& value, const std::vector<Spot>& spots, void* object) {
    class Report final : public Objections {
     public:
      Report(const std::vector<Spot>& where, Findings& to) : spots_(where), findings_(to) {}
      void object(std::size_t index, Problem problem) override {
        const Spot& spot = spots_.at(index);
        findings_.error(spot.where, spot.path, std::move(problem));
      }

     private:
      const std::vector<Spot>& spots_;
      Findings& findings_;
    };
    Report report(spots, findings_);
    key.store(object, value, report);
  }

  void fall_back(const Key& key, void* object) {
    Value value;
    if (const auto* flag = std::get_if<bool>(&key.fallback)) {
      value.boolean = *flag;
    } else if (const auto* number = std::get_if<std::int64_t>(&key.fallback)) {
      value.integer = *number;
    } else if (const auto* real = std::get_if<double>(&key.fallback)) {
      value.number = *real;
    } else if (const auto* text = std::get_if<std::string_view>(&key.fallback)) {
      value.texts.push_back({{}, std::string(*text)});
    } else if (const auto* texts = std::get_if<std::vector<std::string_view>>(&key.fallback)) {
      for (const auto item : *texts) value.texts.push_back({{}, std::string(item)});
    } else {
      return;
    }
    const bool may_object = !value.texts.empty();
    store(key, value, may_object ? std::vector<Spot>(value.texts.size(), Spot{{}, std::string(key.name)}) : kNowhere,
          object);
  }

  inline static const std::vector<Spot> kNowhere;

  Findings& findings_;
  Places& places_;
};

std::size_t count_nodes(const Node& node) {
  std::size_t count = 1;
  for (const Node& item : node.items) count += count_nodes(item);
  for (const Member& member : node.members) count += count_nodes(member.value);
  return count;
}

}  // namespace

std::string join_key(const std::string& path, std::string_view name) {
  const bool bare =
      !name.empty() && std::ranges::all_of(name, [](char c) { return is_alnum(c) || c == '_' || c == '-'; });
  const std::string text = bare ? std::string(name) : in_quotes(name);
  return path.empty() ? text : fmt::format("{}.{}", path, text);
}

void Findings::add(Severity severity, Position where, std::string key, Problem problem) {
  failed_ = failed_ || severity == Severity::error;
  if (full()) {
    ++dropped_;
    return;
  }
  found_.push_back({.file = where.file,
                    .diagnostic = {.severity = severity,
                                   .file = {},
                                   .line = where.line,
                                   .column = where.column,
                                   .key = std::move(key),
                                   .message = std::move(problem.message),
                                   .expected = std::move(problem.expected),
                                   .suggestion = std::move(problem.suggestion),
                                   .source_line = {}}});
}

Diagnostics Findings::take(std::span<const std::string> files) {
  std::ranges::sort(found_, {}, [](const Found& found) {
    const Diagnostic& d = found.diagnostic;
    return std::tie(found.file, d.line, d.column, d.key, d.message);
  });
  Diagnostics taken;
  for (Found& found : found_) {
    if (found.file < files.size()) found.diagnostic.file = files[found.file];
    taken.push_back(std::move(found.diagnostic));
  }
  if (dropped_ > 0) {
    taken.push_back({.severity = failed_ ? Severity::error : Severity::warning,
                     .file = files.empty() ? std::string{} : files.front(),
                     .key = {},
                     .message = fmt::format("{} more are not listed", dropped_),
                     .expected = {},
                     .suggestion = {},
                     .source_line = {}});
  }
  return taken;
}

Applied apply_schema(const Node& root, Findings& findings) {
  Applied applied;
  applied.places.reserve(count_nodes(root));
  Walk(findings, applied.places).table(schema(), root, &applied.draft, "");
  return applied;
}

}  // namespace dao::config

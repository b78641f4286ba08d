#include "dao/config/diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>
#include <variant>

#include "dao/base/json_text.h"
#include "dao/config/apply_schema.h"
#include "dao/config/document.h"
#include "dao/config/names.h"
#include "dao/config/read_documents.h"
#include "dao/config/redact.h"
#include "dao/config/schema.h"
#include "dao/config/utf8.h"

namespace dao::config {
namespace {

using Json = nlohmann::ordered_json;

// Values are compared by what they say, and shown without secrets.
struct Shown {
  Secrecy secrecy = Secrecy::by_name;
  bool secret = false;
};

bool same(const Node& a, const Node& b) {
  const auto number = [](const Node& node) {
    return node.kind == Node::Kind::integer ? static_cast<double>(node.integer) : node.floating;
  };
  const auto is_number = [](const Node& node) {
    return node.kind == Node::Kind::integer || node.kind == Node::Kind::floating;
  };
  if (a.kind != b.kind) return is_number(a) && is_number(b) && number(a) == number(b);
  switch (a.kind) {
    case Node::Kind::boolean:
      return a.boolean == b.boolean;
    case Node::Kind::integer:
      return a.integer == b.integer;
    case Node::Kind::floating:
      return a.floating == b.floating;
    case Node::Kind::text:
    case Node::Kind::date_time:
      return a.text == b.text;
    case Node::Kind::list:
      return std::ranges::equal(a.items, b.items, same);
    case Node::Kind::table:
      return std::ranges::equal(a.members, b.members, [](const Member& x, const Member& y) {
        return x.name == y.name && same(x.value, y.value);
      });
  }
  return false;
}

// One string and an array of that string mean the same to some keys.
const Node& alone(const Node& node) {
  return node.kind == Node::Kind::list && node.items.size() == 1 ? node.items.front() : node;
}

bool same_value(const Key* key, const Node& a, const Node& b) {
  const bool either = key != nullptr && key->kind == Kind::text_or_list;
  return either ? same(alone(a), alone(b)) : same(a, b);
}

const Key* key_of(const Table* spec, std::string_view name) {
  if (spec == nullptr) return nullptr;
  const auto found = std::ranges::find(spec->keys, name, &Key::name);
  return found == spec->keys.end() ? nullptr : &*found;
}

const Table* table_of(const Table* spec, std::string_view name) {
  if (spec == nullptr) return nullptr;
  const auto found = std::ranges::find(spec->tables, name, &Table::name);
  return found == spec->tables.end() ? nullptr : &*found;
}

Shown shown_as(const Table* spec, const Key* key, std::string_view name) {
  if (key != nullptr) return {.secrecy = key->secrecy, .secret = key->secrecy == Secrecy::all};
  return {.secrecy = Secrecy::by_name, .secret = table_of(spec, name) == nullptr && is_secret_name(name)};
}

Shown inside(const Shown& around, std::string_view name) {
  return {.secrecy = around.secrecy,
          .secret = around.secret || (around.secrecy == Secrecy::by_name && is_secret_name(name))};
}

Json to_json(const Node& node, const Table* spec, const Shown& shown) {
  switch (node.kind) {
    case Node::Kind::boolean:
      return node.boolean;
    case Node::Kind::integer:
      return node.integer;
    case Node::Kind::floating:
      return node.floating;
    case Node::Kind::text:
      return shown.secret ? std::string(kRedacted) : redact_user_information(node.text);
    case Node::Kind::date_time:
      return "a date or time";
    case Node::Kind::list: {
      Json list = Json::array();
      for (const Node& item : node.items) list.push_back(to_json(item, spec, shown));
      return list;
    }
    case Node::Kind::table: {
      Json table = Json::object();
      for (const Member& member : node.members) {
        const Table* inner = table_of(spec, member.name);
        const Key* key = key_of(spec, member.name);
        table[member.name] = to_json(member.value, inner,
                                     spec == nullptr ? inside(shown, member.name) : shown_as(spec, key, member.name));
      }
      return table;
    }
  }
  return nullptr;
}

std::string dump(const Json& json) {
  return json_text(json);
}

std::string fallback_of(const Key* key) {
  struct AsJson {
    Json operator()(std::monostate) const { return nullptr; }
    Json operator()(bool flag) const { return flag; }
    Json operator()(std::int64_t number) const { return number; }
    Json operator()(double number) const { return number; }
    Json operator()(std::string_view text) const { return text; }
    Json operator()(const std::vector<std::string_view>& texts) const { return texts; }
  };
  if (key == nullptr || std::holds_alternative<std::monostate>(key->fallback)) return {};
  return dump(std::visit(AsJson{}, key->fallback));
}

// The name of an element as it stands in a path: quoted where it could be taken for something else.
std::string label(std::string_view name) {
  const bool plain = !name.empty() && name.find_first_of("[]\"\\") == std::string_view::npos;
  return plain ? std::string(name) : dump(std::string(name));
}

bool has_names(const Table& table) {
  const Key* name = key_of(&table, "name");
  return name != nullptr && name->required;
}

// Which elements of a sequence of different numbers stay where they are when the fewest are moved: a longest increasing
// subsequence.
std::vector<bool> staying(const std::vector<std::size_t>& order) {
  constexpr auto kNone = static_cast<std::size_t>(-1);
  std::vector<std::size_t> tails;  // the element that ends the best subsequence of each length
  std::vector<std::size_t> before(order.size(), kNone);
  for (std::size_t i = 0; i < order.size(); ++i) {
    const auto at = std::ranges::lower_bound(tails, order[i], {}, [&](std::size_t tail) { return order[tail]; });
    if (at != tails.begin()) before[i] = *(at - 1);
    if (at == tails.end()) {
      tails.push_back(i);
    } else {
      *at = i;
    }
  }
  std::vector<bool> stays(order.size());
  for (std::size_t i = tails.empty() ? kNone : tails.back(); i != kNone; i = before[i]) stays[i] = true;
  return stays;
}

class Comparison {
 public:
  Changes changes;

  void tables(const Table* spec, const Node& before, const Node& after, const std::string& path, const Shown& shown) {
    auto old = before.members.begin();
    auto now = after.members.begin();
    while (old != before.members.end() || now != after.members.end()) {
      const bool gone = now == after.members.end() || (old != before.members.end() && old->name < now->name);
      const bool added = old == before.members.end() || (now != after.members.end() && now->name < old->name);
      const std::string& name = gone ? old->name : now->name;
      member(spec, name, added ? nullptr : &old->value, gone ? nullptr : &now->value, path, shown);
      if (!added) ++old;
      if (!gone) ++now;
    }
  }

 private:
  void member(const Table* spec, const std::string& name, const Node* before, const Node* after,
              const std::string& around, const Shown& around_shown) {
    const std::string path = join_key(around, name);
    const Key* key = key_of(spec, name);
    const Shown shown = spec == nullptr ? inside(around_shown, name) : shown_as(spec, key, name);
    const Table* inner = table_of(spec, name);
    const auto are = [&](Node::Kind kind) {
      return (before == nullptr || before->kind == kind) && (after == nullptr || after->kind == kind);
    };
    static const Node kEmpty;
    static const Node kEmptyList{.kind = Node::Kind::list, .where = {}, .text = {}, .items = {}, .members = {}};
    if (inner != nullptr && inner->repeated && are(Node::Kind::list) && has_names(*inner)) {
      return elements(*inner, before == nullptr ? kEmptyList : *before, after == nullptr ? kEmptyList : *after, path);
    }
    if (inner != nullptr && inner->enter_named != nullptr && are(Node::Kind::table)) {
      return named_tables(*inner, before == nullptr ? kEmpty : *before, after == nullptr ? kEmpty : *after, path);
    }
    const bool table_of_texts = key != nullptr && key->kind == Kind::text_table;
    if ((inner != nullptr || table_of_texts) && are(Node::Kind::table)) {
      return tables(inner, before == nullptr ? kEmpty : *before, after == nullptr ? kEmpty : *after, path, shown);
    }
    if (before != nullptr && after != nullptr && same_value(key, *before, *after)) return;
    add(path, before, after, inner, shown, key);
  }

  // Tables with names of the operator's choice: each is one thing.
  void named_tables(const Table& spec, const Node& before, const Node& after, const std::string& path) {
    for (const Member& old : before.members) {
      if (after.find(old.name) == nullptr) add(join_key(path, old.name), &old.value, nullptr, &spec, {}, nullptr);
    }
    for (const Member& now : after.members) {
      const Member* old = before.find(now.name);
      if (old == nullptr) {
        add(join_key(path, now.name), nullptr, &now.value, &spec, {}, nullptr);
      } else {
        tables(&spec, old->value, now.value, join_key(path, now.name), {});
      }
    }
  }

  // What an element goes by. Names are unique in what was loaded; other elements get numbers.
  static std::vector<std::string> labels(const Node& list) {
    std::unordered_map<std::string, std::size_t> seen;
    std::vector<std::string> labels;
    for (const Node& item : list.items) {
      const Member* name = item.find("name");
      const bool named = name != nullptr && name->value.kind == Node::Kind::text;
      std::string text = label(named ? name->value.text : "");
      if (const std::size_t before = seen[text]++; before > 0) text += fmt::format("#{}", before + 1);
      labels.push_back(std::move(text));
    }
    return labels;
  }

  void elements(const Table& spec, const Node& before, const Node& after, const std::string& path) {
    const std::vector<std::string> old_labels = labels(before);
    const std::vector<std::string> new_labels = labels(after);
    std::unordered_map<std::string_view, std::size_t> old_places;
    std::unordered_map<std::string_view, std::size_t> new_places;
    for (std::size_t i = 0; i < old_labels.size(); ++i) old_places.emplace(old_labels[i], i);
    for (std::size_t i = 0; i < new_labels.size(); ++i) new_places.emplace(new_labels[i], i);
    const auto path_of = [&](const std::string& name) { return fmt::format("{}[{}]", path, name); };
    for (std::size_t i = 0; i < old_labels.size(); ++i) {
      if (new_places.contains(old_labels[i])) continue;
      add(path_of(old_labels[i]), &before.items[i], nullptr, &spec, {}, nullptr);
      if (spec.order_matters) changes.back().place_before = i + 1;
    }
    std::vector<std::size_t> kept;  // their old places, in the new order
    for (const std::string& name : new_labels) {
      if (const auto old = old_places.find(name); old != old_places.end()) kept.push_back(old->second);
    }
    const std::vector<bool> stays = staying(kept);
    std::size_t number = 0;  // of the kept ones
    for (std::size_t i = 0; i < new_labels.size(); ++i) {
      const auto old = old_places.find(new_labels[i]);
      if (old == old_places.end()) {
        add(path_of(new_labels[i]), nullptr, &after.items[i], &spec, {}, nullptr);
        if (spec.order_matters) changes.back().place_after = i + 1;
        continue;
      }
      if (!stays[number++] && spec.order_matters) {
        changes.push_back({.kind = Change::Kind::moved,
                           .path = path_of(new_labels[i]),
                           .before = {},
                           .after = {},
                           .fallback = {},
                           .place_before = old->second + 1,
                           .place_after = i + 1});
      }
      const Node& was = before.items[old->second];
      const Node& is = after.items[i];
      if (was.kind == Node::Kind::table && is.kind == Node::Kind::table) {
        tables(&spec, was, is, path_of(new_labels[i]), {});
      } else if (!same(was, is)) {
        add(path_of(new_labels[i]), &was, &is, &spec, {}, nullptr);
      }
    }
  }

  void add(std::string path, const Node* before, const Node* after, const Table* spec, const Shown& shown,
           const Key* key) {
    Change& change = changes.emplace_back();
    change.kind = before == nullptr  ? Change::Kind::added
                  : after == nullptr ? Change::Kind::removed
                                     : Change::Kind::changed;
    change.path = std::move(path);
    if (before != nullptr) change.before = dump(to_json(*before, spec, shown));
    if (after != nullptr) change.after = dump(to_json(*after, spec, shown));
    change.fallback = fallback_of(key);
  }
};

std::expected<Node, Diagnostics> document_of(std::string_view text, std::string_view name) {
  Findings findings;
  Parsed<std::optional<Sources>> parts = unbundle(text);
  if (!parts) {
    findings.error({}, {}, std::move(parts.error()));
    return std::unexpected(findings.take(std::vector{std::string(name)}));
  }
  Sources sources;
  if (*parts) {
    sources = **std::move(parts);
  } else {
    sources.files.push_back({std::string(name), std::string(text)});
  }
  Node root = read_documents(sources, std::nullopt, true, findings);
  if (!findings.failed()) return root;
  Diagnostics wrong = findings.take(names_of(sources));
  add_source_lines(wrong, sources);
  return std::unexpected(std::move(wrong));
}

// The values of an object, each on a line with its path below that of the object.
void flatten(const Json& value, const std::string& path, std::vector<std::string>& lines) {
  if (value.is_object()) {
    for (const auto& [name, inner] : value.items()) flatten(inner, join_key(path, name), lines);
    return;
  }
  const bool named = value.is_array() && !value.empty() && std::ranges::all_of(value, [](const Json& item) {
                       return item.is_object() && item.contains("name");
                     });
  if (named) {
    for (const Json& item : value) {
      Json rest = item;
      rest.erase("name");
      const std::string inner =
          fmt::format("{}[{}]", path, label(item["name"].is_string() ? item["name"].get<std::string>() : ""));
      if (rest.empty()) lines.push_back(inner);
      flatten(rest, inner, lines);
    }
    return;
  }
  lines.push_back(fmt::format("{} = {}", path, dump(value)));
}

void put_line(const std::string& line, std::string& out) {
  out += printable(line) + '\n';
}

void render_one(char sign, const Change& change, const std::string& text, std::string_view note, std::string& out) {
  const Json value = parse_ordered_json(text);
  if (!value.is_object()) {
    return put_line(fmt::format("{} {} = {}{}", sign, change.path, text, note), out);
  }
  put_line(fmt::format("{} {}{}", sign, change.path, note), out);
  Json rest = value;
  rest.erase("name");  // it is in the path
  std::vector<std::string> lines;
  flatten(rest, {}, lines);
  for (const std::string& line : lines) put_line(fmt::format("{}     {}", sign, line), out);
}

std::string note_of(const Change& change) {
  const std::size_t place = change.kind == Change::Kind::added ? change.place_after : change.place_before;
  if (place > 0) return fmt::format("  (place {})", place);
  if (change.fallback.empty()) return {};
  switch (change.kind) {
    case Change::Kind::added:
      return change.after == change.fallback ? "  (the default)"
                                             : fmt::format("  (the default was {})", change.fallback);
    case Change::Kind::removed:
      return change.before == change.fallback ? "  (it was the default)"
                                              : fmt::format("  (now the default, {})", change.fallback);
    default:
      return {};
  }
}

}  // namespace

std::expected<Changes, Diagnostics> diff(std::string_view before, std::string_view after) {
  const auto old = document_of(before, "before");
  if (!old) return std::unexpected(old.error());
  const auto now = document_of(after, "after");
  if (!now) return std::unexpected(now.error());
  return diff(*old, *now);
}

Changes diff(const Node& before, const Node& after) {
  Comparison comparison;
  comparison.tables(&schema(), before, after, "", {});
  return std::move(comparison.changes);
}

std::string render_text(const Changes& changes) {
  std::string out;
  for (const Change& change : changes) {
    switch (change.kind) {
      case Change::Kind::added:
        render_one('+', change, change.after, note_of(change), out);
        break;
      case Change::Kind::removed:
        render_one('-', change, change.before, note_of(change), out);
        break;
      case Change::Kind::changed:
        put_line(fmt::format("~ {}: {} -> {}", change.path, change.before, change.after), out);
        break;
      case Change::Kind::moved:
        put_line(
            fmt::format("~ {}: moved from place {} to place {}", change.path, change.place_before, change.place_after),
            out);
        break;
    }
  }
  return out;
}

std::string render_json(const Changes& changes) {
  constexpr std::array<std::string_view, 4> kKinds = {"added", "removed", "changed", "moved"};
  Json list = Json::array();
  for (const Change& change : changes) {
    Json one = {{"kind", kKinds[static_cast<std::size_t>(change.kind)]}, {"path", change.path}};
    if (!change.before.empty()) one["before"] = parse_ordered_json(change.before);
    if (!change.after.empty()) one["after"] = parse_ordered_json(change.after);
    if (!change.fallback.empty()) one["default"] = parse_ordered_json(change.fallback);
    if (change.place_before > 0) one["place_before"] = change.place_before;
    if (change.place_after > 0) one["place_after"] = change.place_after;
    list.push_back(std::move(one));
  }
  return json_text(list, 2) + '\n';
}

}  // namespace dao::config

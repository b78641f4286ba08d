#include "dao/config/document.h"

#include <algorithm>

#include "dao/config/prescan.h"

#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

namespace dao::config {
namespace {

Position position(const toml::source_position& where, std::uint16_t file) {
  return {where.line, where.column, file};
}

Node convert(const toml::node& from, std::uint16_t file) {
  Node node;
  node.where = position(from.source().begin, file);
  switch (from.type()) {
    case toml::node_type::boolean:
      node.kind = Node::Kind::boolean;
      node.boolean = from.as_boolean()->get();
      break;
    case toml::node_type::integer:
      node.kind = Node::Kind::integer;
      node.integer = from.as_integer()->get();
      break;
    case toml::node_type::floating_point:
      node.kind = Node::Kind::floating;
      node.floating = from.as_floating_point()->get();
      break;
    case toml::node_type::string:
      node.kind = Node::Kind::text;
      node.text = from.as_string()->get();
      break;
    case toml::node_type::array:
      node.kind = Node::Kind::list;
      node.items.reserve(from.as_array()->size());
      for (const toml::node& item : *from.as_array()) node.items.push_back(convert(item, file));
      break;
    case toml::node_type::table:
      node.kind = Node::Kind::table;
      node.members.reserve(from.as_table()->size());
      for (const auto& [key, value] : *from.as_table()) {
        node.members.push_back({std::string(key.str()), position(key.source().begin, file), convert(value, file)});
      }
      break;
    default:
      node.kind = Node::Kind::date_time;
      break;
  }
  return node;
}

// The library's "Error while parsing key: ..." without capital and full stop, as the other messages are.
std::string as_message(std::string_view description) {
  std::string message = "syntax: ";
  constexpr std::string_view kPrefix = "Error while ";
  if (description.starts_with(kPrefix)) description.remove_prefix(kPrefix.size());
  message += description;
  return message;
}

}  // namespace

const Member* Node::find(std::string_view name) const {
  const auto found = std::ranges::lower_bound(members, name, {}, &Member::name);
  return found != members.end() && found->name == name ? &*found : nullptr;
}

std::expected<Node, SyntaxError> parse_document(std::string_view text, std::size_t max_depth, std::uint16_t file) {
  if (auto refused = prescan(text, max_depth)) {
    refused->where.file = file;
    return std::unexpected(*std::move(refused));
  }
  const toml::parse_result result = toml::parse(text);
  if (!result) {
    return std::unexpected(
        SyntaxError{position(result.error().source().begin, file), as_message(result.error().description())});
  }
  Node root = convert(result.table(), file);
  root.where = {.line = 0, .column = 0, .file = file};
  return root;
}

}  // namespace dao::config

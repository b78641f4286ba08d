#include <nlohmann/json.hpp>

#include <cstddef>
#include <utility>

#include "dao/base/json_text.h"
#include "dao/config/reference.h"
#include "dao/config/schema.h"

namespace dao::config {
namespace {

using Json = nlohmann::ordered_json;

Json as_json(const Default& value) {
  struct AsJson {
    Json operator()(std::monostate) const { return nullptr; }
    Json operator()(bool flag) const { return flag; }
    Json operator()(std::int64_t number) const { return number; }
    Json operator()(double number) const { return number; }
    Json operator()(std::string_view text) const { return text; }
    Json operator()(const std::vector<std::string_view>& texts) const { return texts; }
  };
  return std::visit(AsJson{}, value);
}

Json text_schema(const Key& key) {
  Json text = {{"type", "string"}};
  if (!key.pattern.empty()) text["pattern"] = key.pattern;
  if (key.open && !key.choices.empty()) {  // for completion only
    Json names = {{"enum", Json::array()}};
    for (const Choice& choice : key.choices) names["enum"].push_back(choice.name);
    return {{"anyOf", Json::array({std::move(names), std::move(text)})}};
  }
  for (const Choice& choice : key.choices) text["enum"].push_back(choice.name);
  return text;
}

Json list_schema(const Key& key) {
  Json list = {{"type", "array"}, {"items", text_schema(key)}};
  if (key.min_items > 0) list["minItems"] = key.min_items;
  if (key.max_items > 0) list["maxItems"] = key.max_items;
  if (key.unique_items) list["uniqueItems"] = true;
  return list;
}

Json value_schema(const Key& key) {
  switch (key.kind) {
    case Kind::boolean:
      return {{"type", "boolean"}};
    case Kind::integer:
      return {{"type", "integer"}, {"minimum", key.min}, {"maximum", key.max}};
    case Kind::number:
      return {{"type", "number"}, {"minimum", key.min}, {"maximum", key.max}};
    case Kind::text:
      return text_schema(key);
    case Kind::text_list:
      return list_schema(key);
    case Kind::text_or_list:
      return {{"anyOf", Json::array({text_schema(key), list_schema(key)})}};
    case Kind::text_table:
      return {{"type", "object"}, {"additionalProperties", text_schema(key)}};
  }
  return nullptr;
}

Json key_schema(const Key& key) {
  std::string doc(key.doc);
  doc += " Value: " + describe_value(key) + '.';
  if (!key.absent.empty()) doc.append(" Absent: ").append(key.absent).append(".");
  Json schema = {{"description", doc}};
  schema.update(value_schema(key));
  if (!std::holds_alternative<std::monostate>(key.fallback)) schema["default"] = as_json(key.fallback);
  return schema;
}

Json table_schema(const Table& table) {
  Json schema = {{"type", "object"}, {"description", table.doc}, {"additionalProperties", false}};
  Json required = Json::array();
  Json& properties = schema["properties"] = Json::object();
  for (const Key& key : table.keys) {
    properties[std::string(key.name)] = key_schema(key);
    if (key.required) required.push_back(key.name);
  }
  for (const Table& inner : table.tables) {
    Json inner_schema = table_schema(inner);
    const bool needed = inner_schema.contains("required") && !inner.repeated && inner.enter_named == nullptr;
    if (inner.repeated) {
      inner_schema = {{"type", "array"}, {"description", inner.doc}, {"items", std::move(inner_schema)}};
      if (!inner.missing.empty()) inner_schema["minItems"] = 1;
    }
    if (inner.enter_named != nullptr) {
      inner_schema = {
          {"type", "object"}, {"description", inner.doc}, {"additionalProperties", std::move(inner_schema)}};
    }
    properties[std::string(inner.name)] = std::move(inner_schema);
    if (needed || !inner.missing.empty()) required.push_back(inner.name);
  }
  if (!required.empty()) schema["required"] = required;
  if (!table.exclusive.empty()) {
    const std::size_t space = table.exclusive.find(' ');
    schema["not"]["required"] = {table.exclusive.substr(0, space), table.exclusive.substr(space + 1)};
  }
  return schema;
}

}  // namespace

std::string render_json_schema() {
  Json root = {{"$schema", "http://json-schema.org/draft-07/schema#"}, {"title", "DAO"}};
  root.update(table_schema(schema()));
  return json_text(root, 2) + '\n';
}

}  // namespace dao::config

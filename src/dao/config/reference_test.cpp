#include "dao/config/reference.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "dao/config/load.h"
#include "dao/config/schema.h"

namespace dao::config {
namespace {

std::string read(const std::string& path) {
  const char* dir = std::getenv("DAO_SOURCE_DIR");
  std::ifstream file(std::string(dir == nullptr ? "." : dir) + "/" + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Visits every key with the schema of its table in the JSON Schema.
void check_table(const Table& table, const nlohmann::json& json, const std::string& path) {
  EXPECT_FALSE(json.at("additionalProperties").get<bool>()) << path;
  for (const Key& key : table.keys) {
    const std::string name = path + "." + std::string(key.name);
    EXPECT_FALSE(key.doc.empty()) << name;
    EXPECT_TRUE(key.required || !key.absent.empty() || !default_as_toml(key).empty())
        << name << " does not say what absence means";
    EXPECT_TRUE(json.at("properties").contains(key.name)) << name;
  }
  for (const Table& inner : table.tables) {
    EXPECT_FALSE(inner.doc.empty()) << inner.name;
    const auto& schema = json.at("properties").at(std::string(inner.name));
    const bool named = inner.enter_named != nullptr;
    const auto& one = named ? schema.at("additionalProperties") : inner.repeated ? schema.at("items") : schema;
    check_table(inner, one, path + "." + std::string(inner.name));
  }
}

// Excluded by other keys of the same table.
constexpr std::string_view kExcluded[] = {"path_exact", "regex", "replacement", "secret_file"};

bool is_left_out(const Table& table, bool examples) {
  if (examples) return table.name == "respond";  // excludes upstreams
  // Each of these needs a key that has no default.
  constexpr std::string_view kMoreThanDefaults[] = {"rate_limit", "redirect", "respond", "sticky", "split"};
  return std::ranges::find(kMoreThanDefaults, table.name) != std::end(kMoreThanDefaults);
}

// The defaults and examples of a table as a TOML text that sets every key.
void spell_out(const Table& table, const std::string& path, bool examples, std::string& out) {
  if (!path.empty()) out += header_of(path, table) + "\n";
  for (const Key& key : table.keys) {
    if (examples && std::ranges::find(kExcluded, key.name) != std::end(kExcluded)) continue;
    const std::string value = examples && !key.example.empty() ? std::string(key.example) : default_as_toml(key);
    if (!value.empty()) {
      out += std::string(key.name) + " = " + value + "\n";
    } else if (key.required) {
      out += std::string(key.name) + " = " + std::string(key.example) + "\n";
    }
  }
  for (const Table& inner : table.tables) {
    if (is_left_out(inner, examples)) continue;
    spell_out(inner, path_inside(path, inner), examples, out);
  }
}

TEST(Schema, EveryKeyIsDocumentedAndInTheJsonSchema) {
  check_table(schema(), nlohmann::json::parse(render_json_schema()), "");
}

TEST(Schema, DefaultsAndExamplesAreValid) {
  for (const bool examples : {false, true}) {
    std::string text;
    spell_out(schema(), "", examples, text);
    const auto loaded = load_text(text, "x", "/nonexistent");
    EXPECT_TRUE(loaded.has_value()) << text
                                    << (loaded ? "" : loaded.error().front().key + loaded.error().front().message);
  }
}

TEST(Reference, IsWhatTheRepositoryHolds) {
  EXPECT_EQ(read("docs/config-reference.md"), render_reference()) << "run: dao docs config > docs/config-reference.md";
}

TEST(JsonSchema, IsWhatTheRepositoryHolds) {
  EXPECT_EQ(read("configs/dao.schema.json"), render_json_schema()) << "run: dao docs schema > configs/dao.schema.json";
}

}  // namespace
}  // namespace dao::config

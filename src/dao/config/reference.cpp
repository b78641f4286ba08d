#include "dao/config/reference.h"

#include <fmt/format.h>

#include "dao/config/load.h"
#include "dao/config/schema.h"

namespace dao::config {
namespace {

// '|' would end a cell of a Markdown table.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c;
  }
  return out;
}

std::string default_cell(const Key& key) {
  if (key.required) return "required";
  const std::string text = default_as_toml(key);
  return text.empty() ? fmt::format("absent: {}", key.absent) : fmt::format("`{}`", text);
}

void render_key(const Key& key, std::string& out) {
  std::string doc(key.doc);
  for (const Choice& choice : key.choices) doc += fmt::format("<br>`{}`: {}", choice.name, choice.doc);
  if (!key.example.empty()) doc += fmt::format("<br>Example: `{} = {}`", key.name, key.example);
  out +=
      fmt::format("| `{}` | {} | {} | {} |\n", key.name, cell(describe_value(key)), cell(default_cell(key)), cell(doc));
}

void render_table(const Table& table, const std::string& path, std::string& out) {
  if (path.empty()) {
    out += "## Before all tables\n\n";
  } else {
    out += fmt::format("## `{}`\n\n{}\n\n", header_of(path, table), table.doc);
  }
  if (!table.exclusive.empty()) {
    const std::size_t space = table.exclusive.find(' ');
    out += fmt::format("`{}` and `{}` exclude each other.\n\n", table.exclusive.substr(0, space),
                       table.exclusive.substr(space + 1));
  }
  if (!table.keys.empty()) {
    out += "| Key | Value | Default | Meaning |\n|---|---|---|---|\n";
    for (const Key& key : table.keys) render_key(key, out);
    out += '\n';
  }
  for (const Table& inner : table.tables) {
    render_table(inner, path_inside(path, inner), out);
  }
}

}  // namespace

std::string render_reference() {
  std::string out = fmt::format(
      R"(# Config reference

<!-- Made by `dao docs config` from src/dao/config/schema.cpp; do not edit. -->

A config is a TOML 1.0 file of at most {} MiB, and the files that it includes. `dao check --config FILE` checks it without
starting anything: unknown keys, wrong types, impossible values and contradictions are errors with file, line and column, all
of them in one run (a syntax error is reported alone, since what follows it cannot be read); what is there for nothing is a
warning. [checking.md](checking.md) tells what it looks for, and what its exit status is.

Editors with a TOML language server (Taplo, Even Better TOML) complete and check keys with `configs/dao.schema.json`; put
`#:schema path/to/dao.schema.json` in the first line of the file.

Sizes are in bytes and times in milliseconds, both plain integers. Where a
number is asked for, integers and floats are both good. Tables and keys that are left out have their defaults.

)",
      kMaxFileBytes >> 20U);
  render_table(schema(), "", out);
  while (out.ends_with("\n\n")) out.pop_back();
  return out;
}

}  // namespace dao::config

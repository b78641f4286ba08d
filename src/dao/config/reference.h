// The pages made from the schema table. The repository keeps their output: docs/config-reference.md and
// configs/dao.schema.json; a unit test fails when they differ from what these functions return.
#pragma once

#include <string>

namespace dao::config {

[[nodiscard]] std::string render_reference();    // Markdown
[[nodiscard]] std::string render_json_schema();  // JSON Schema draft-07, as Taplo and Even Better TOML read it

}  // namespace dao::config

// What `dao check` prints: diagnostics for people (compiler style, with the source line and a caret) and for programs.
#pragma once

#include <cstdint>
#include <string>

#include "dao/config/load.h"

namespace dao::config {

enum class ReportFormat : std::uint8_t { text, json };

// "file:line:column: error: key: message", the source line, a caret, and what was expected; one block per diagnostic.
[[nodiscard]] std::string render_text(const Diagnostics& diagnostics);
// One line for a log: "file:line:column: key: message" of the first error (or warning, if there is no error), and how
// many more there are.
[[nodiscard]] std::string render_line(const Diagnostics& diagnostics);
// A JSON array of objects {file, line, column, severity, key, message, expected, suggestion}; "[]" when there are none.
[[nodiscard]] std::string render_json(const Diagnostics& diagnostics);

}  // namespace dao::config

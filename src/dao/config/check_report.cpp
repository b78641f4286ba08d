#include "dao/config/check_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "dao/base/json_text.h"
#include "dao/config/utf8.h"

namespace dao::config {
namespace {

std::string_view name_of(Severity severity) {
  return severity == Severity::error ? "error" : "warning";
}

// As wide as the first `columns` characters of the line, with its tabs kept, so that a caret behind it points right.
std::string indent(std::string_view line, std::uint32_t columns) {
  std::string out;
  for (const char c : line) {
    if (out.size() == columns) break;
    if ((static_cast<unsigned char>(c) & 0xc0U) != 0x80U) out += c == '\t' ? '\t' : ' ';
  }
  out.resize(columns, ' ');
  return out;
}

void append_excerpt(std::string& out, const Diagnostic& diagnostic) {
  if (diagnostic.source_line.empty()) return;
  const std::string line = printable(diagnostic.source_line);
  out += fmt::format("{:>5} | {}\n      | {}^\n", diagnostic.line, line, indent(line, diagnostic.column - 1));
}

}  // namespace

std::string render_text(const Diagnostics& diagnostics) {
  std::string out;
  for (const Diagnostic& diagnostic : diagnostics) {
    out += printable(diagnostic.file);
    if (diagnostic.line > 0) out += fmt::format(":{}:{}", diagnostic.line, diagnostic.column);
    out += fmt::format(": {}: ", name_of(diagnostic.severity));
    if (!diagnostic.key.empty()) out += fmt::format("{}: ", diagnostic.key);
    out += printable(diagnostic.message) + '\n';
    append_excerpt(out, diagnostic);
    if (!diagnostic.expected.empty()) out += fmt::format("      expected: {}\n", diagnostic.expected);
    if (!diagnostic.suggestion.empty())
      out += fmt::format("      did you mean: {}\n", printable(diagnostic.suggestion));
  }
  return out;
}

std::string render_line(const Diagnostics& diagnostics) {
  const bool any_error = std::ranges::count(diagnostics, Severity::error, &Diagnostic::severity) > 0;
  const Severity severity = any_error ? Severity::error : Severity::warning;
  const Diagnostic& first = *std::ranges::find(diagnostics, severity, &Diagnostic::severity);
  std::string out = printable(first.file);
  if (first.line > 0) out += fmt::format(":{}:{}", first.line, first.column);
  out += ": ";
  if (!first.key.empty()) out += first.key + ": ";
  out += printable(first.message);
  if (!first.expected.empty()) out += ", expected: " + printable(first.expected);
  if (!first.suggestion.empty()) out += ", did you mean: " + printable(first.suggestion);
  const auto all = std::ranges::count(diagnostics, severity, &Diagnostic::severity);
  if (all > 1) out += fmt::format(" (and {} more)", all - 1);
  return out;
}

std::string render_json(const Diagnostics& diagnostics) {
  auto list = nlohmann::ordered_json::array();
  for (const Diagnostic& diagnostic : diagnostics) {
    list.push_back({{"file", diagnostic.file},
                    {"line", diagnostic.line},
                    {"column", diagnostic.column},
                    {"severity", name_of(diagnostic.severity)},
                    {"key", diagnostic.key},
                    {"message", diagnostic.message},
                    {"expected", diagnostic.expected},
                    {"suggestion", diagnostic.suggestion}});
  }
  return json_text(list, 2) + '\n';
}

}  // namespace dao::config

#include "dao/check/check_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <iterator>
#include <ostream>
#include <string>
#include <string_view>
#include <utility>

#include "dao/check/certificates.h"
#include "dao/check/connections.h"
#include "dao/check/files.h"
#include "dao/check/findings.h"
#include "dao/config/apply_schema.h"
#include "dao/config/load.h"
#include "dao/config/locate.h"
#include "dao/config/utf8.h"

namespace dao::check {

namespace {

// No more of them than of those about the text; errors rather than warnings.
config::Diagnostics look_around(const config::Config& config, const Options& options) {
  config::Diagnostics found;
  const auto take = [&found](config::Diagnostics more) { std::ranges::move(more, std::back_inserter(found)); };
  if (!options.text_only) {
    take(check_certificates(config, std::time(nullptr)));
    take(check_files(config));
  }
  if (options.deep) take(check_connections(config));
  if (found.size() <= config::Findings::kMaxDiagnostics) return found;

  std::ranges::partition(found, [](const config::Diagnostic& one) { return one.severity == config::Severity::error; });
  const std::size_t more = found.size() - config::Findings::kMaxDiagnostics;
  found.resize(config::Findings::kMaxDiagnostics);
  add(found, config::Severity::warning, {}, fmt::format("{} more are not listed", more));
  found.back().file = config.files.front();
  return found;
}

std::string summary(const std::filesystem::path& path, const config::Config& config) {
  const auto count = [](std::size_t number, std::string_view noun) {
    return fmt::format("{} {}{}", number, noun, number == 1 ? "" : "s");
  };
  const std::string files = config.files.size() < 2 ? "" : fmt::format(" in {} files", config.files.size());
  return fmt::format("{}: valid ({}, {}, {}{})\n", config::printable(path.string()), count(config.rules.size(), "rule"),
                     count(config.upstreams.size(), "upstream"), count(config.server.listeners.size(), "listener"),
                     files);
}

}  // namespace

int check(const std::filesystem::path& path, const Options& options, std::ostream& out) {
  const config::LoadAttempt attempt = config::attempt_file(path);
  config::Diagnostics diagnostics = attempt.result ? attempt.result->warnings : attempt.result.error();
  if (attempt.result) {
    config::Diagnostics more = look_around(attempt.result->config, options);
    if (!more.empty()) {
      std::ranges::move(more, std::back_inserter(diagnostics));
      config::locate(diagnostics, attempt.sources);
    }
  }
  const bool failed = std::ranges::any_of(
      diagnostics, [](const config::Diagnostic& diagnostic) { return diagnostic.severity == config::Severity::error; });
  if (options.format == config::ReportFormat::json) {
    out << config::render_json(diagnostics);
  } else {
    out << config::render_text(diagnostics);
    if (!failed) out << summary(path, attempt.result->config);
  }
  return failed ? 1 : 0;
}

}  // namespace dao::check

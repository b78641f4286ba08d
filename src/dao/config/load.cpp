#include "dao/config/load.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <unordered_map>
#include <utility>

#include "dao/config/address.h"
#include "dao/config/apply_schema.h"
#include "dao/config/cross_checks.h"
#include "dao/config/document.h"
#include "dao/config/filter_keys.h"
#include "dao/config/policies.h"
#include "dao/config/reachability.h"
#include "dao/config/read_documents.h"
#include "dao/config/use_checks.h"

namespace dao::config {
namespace {

using Directory = std::optional<std::filesystem::path>;

Diagnostics whole_file(std::string_view file, Problem problem) {
  Diagnostics diagnostics(1);
  diagnostics.front().file = file;
  diagnostics.front().message = std::move(problem.message);
  diagnostics.front().expected = std::move(problem.expected);
  return diagnostics;
}

// The listeners of `bind` come first; without any listener there is the one of the reference page.
void number_listeners(Server& server) {
  if (server.bind.empty() && server.listeners.empty()) server.bind.push_back(parse_bind(kDefaultBind).value());
  std::vector<Listener> all;
  for (const Address& address : server.bind) {
    all.push_back(
        {.name = fmt::format("{}", all.size() + 1), .address = address, .protocols = {.h1 = true, .h2 = true}});
    if (!server.tls_cert.empty()) {
      all.back().tls.certificates.push_back({.cert = server.tls_cert, .key = server.tls_key, .ocsp = {}});
    }
  }
  std::ranges::move(server.listeners, std::back_inserter(all));
  server.listeners = std::move(all);
}

// The default address gives way to whatever the operator has put there.
void settle_admin(Config& config, bool given) {
  config.admin.bind_given = given;
  if (given || !config.admin.bind) return;
  const auto taken = [&](const Address& address) { return same_listener(address, *config.admin.bind); };
  const bool by_telemetry = config.telemetry.prometheus_bind && taken(*config.telemetry.prometheus_bind);
  if (by_telemetry || std::ranges::any_of(config.server.listeners, taken, &Listener::address)) {
    config.admin.bind.reset();
  }
}

// The bit of a traffic class; none for an empty name. The class gets the next one when it is new.
std::uint64_t bit_of(const std::string& intent, std::vector<std::string>& intents) {
  if (intent.empty()) return 0;
  auto found = std::ranges::find(intents, intent);
  if (found == intents.end()) found = intents.insert(found, intent);
  return std::uint64_t{1} << static_cast<std::size_t>(found - intents.begin());
}

Config assemble(Draft draft, const Places& places, std::string_view name) {
  Config config = std::move(draft.config);
  config.source = name;
  number_listeners(config.server);
  settle_admin(config, places.contains("admin.bind"));
  std::unordered_map<std::string, std::size_t> indexes;
  std::size_t most = 0;
  for (const RuleDraft& rule : draft.rules) most += rule.upstreams.size();
  config.rules.reserve(draft.rules.size());
  config.upstreams.reserve(most);
  for (RuleDraft& rule : draft.rules) {
    complete_filters(rule);
    for (UpstreamDraft& upstream : rule.upstreams) {
      const auto [entry, added] = indexes.emplace(upstream.name, config.upstreams.size());
      if (added) {
        config.upstreams.push_back({.name = std::move(upstream.name),
                                    .number = static_cast<std::uint32_t>(config.upstreams.size()),
                                    .url = std::move(upstream.url),
                                    .tls = std::move(upstream.tls),
                                    .proxy_protocol = upstream.proxy_protocol,
                                    .probe = std::move(upstream.probe),
                                    .zone = std::move(upstream.zone),
                                    .max_in_flight = upstream.max_in_flight});
      }
      RuleUpstream& added_to_rule = rule.rule.upstreams.emplace_back();
      added_to_rule.index = entry->second;
      added_to_rule.weight = upstream.weight;
      for (const std::string& intent : upstream.intents) added_to_rule.intents |= bit_of(intent, config.intents);
    }
    rule.rule.policy = find_policy(rule.policy, draft.policies).value();
    rule.rule.intent = bit_of(rule.intent, config.intents);
    rule.rule.number = static_cast<std::uint32_t>(config.rules.size());
    config.rules.push_back(std::move(rule.rule));
  }
  return config;
}

}  // namespace

void add_source_lines(Diagnostics& diagnostics, std::string_view text, std::string_view file) {
  constexpr std::size_t kMaxShown = 400;  // longer lines are not written by people
  std::size_t line = 1;
  std::size_t start = 0;
  for (Diagnostic& diagnostic : diagnostics) {  // they are in order of position, so one pass over the text is enough
    diagnostic.file = file;
    if (diagnostic.line < line) continue;
    while (line < diagnostic.line && start != std::string_view::npos) {
      const std::size_t end = text.find('\n', start);
      start = end == std::string_view::npos ? end : end + 1;
      ++line;
    }
    if (start == std::string_view::npos) return;
    std::string_view shown = text.substr(start, text.find('\n', start) - start);
    if (shown.ends_with('\r')) shown.remove_suffix(1);
    if (shown.size() <= kMaxShown) diagnostic.source_line = shown;
  }
}

void add_source_lines(Diagnostics& diagnostics, const Sources& sources) {
  std::unordered_map<std::string_view, std::string_view> texts;
  for (const SourceFile& file : sources.files) texts.emplace(file.name, file.text);
  for (std::size_t i = 0; i < diagnostics.size();) {
    const std::string file = diagnostics[i].file;
    std::size_t end = i;
    while (end < diagnostics.size() && diagnostics[end].file == file) ++end;
    const auto text = texts.find(file);
    if (text != texts.end()) {
      const auto from = diagnostics.begin() + static_cast<std::ptrdiff_t>(i);
      Diagnostics run(std::move_iterator(from),
                      std::move_iterator(diagnostics.begin() + static_cast<std::ptrdiff_t>(end)));
      add_source_lines(run, text->second, file);
      std::ranges::move(run, from);
    }
    i = end;
  }
}

namespace {

LoadAttempt load(Sources sources, std::string_view name, const Directory& directory, bool bundled) {
  LoadAttempt attempt{.result = std::unexpected(Diagnostics{}), .sources = std::move(sources)};
  const std::string& first = attempt.sources.files.front().text;
  const auto refuse = [&](std::string message, std::string expected) {
    attempt.result = std::unexpected(whole_file(attempt.sources.files.front().name,
                                                {.message = std::move(message), .expected = std::move(expected)}));
    return std::move(attempt);
  };
  if (first.size() > kMaxFileBytes) {
    return refuse("the file is too large", fmt::format("at most {} bytes", kMaxFileBytes));
  }
  if (is_blank(first)) return refuse("the file is empty", "at least one [[routes.rule]]");

  Findings findings;
  const auto document = std::make_shared<const Node>(read_documents(attempt.sources, directory, bundled, findings));
  Applied applied;
  if (!findings.failed()) {
    applied = apply_schema(*document, findings);
    applied.files = names_of(attempt.sources);
    check_consistency(applied, findings);
    if (!findings.failed()) {
      check_use(applied, findings);
      check_reachability(applied, findings);
    }
  }
  const bool failed = findings.failed();
  Diagnostics diagnostics = findings.take(names_of(attempt.sources));
  add_source_lines(diagnostics, attempt.sources);
  if (failed) {
    attempt.result = std::unexpected(std::move(diagnostics));
    return attempt;
  }
  std::vector<std::string> files = std::move(applied.files);
  Config config = assemble(std::move(applied.draft), applied.places, name);
  config.files = std::move(files);
  config.include_patterns = attempt.sources.patterns;
  attempt.result = Loaded{std::move(config), std::move(diagnostics)};
  attempt.document = document;
  return attempt;
}

}  // namespace

LoadAttempt attempt_text(std::string_view text, std::string_view name, const Directory& directory) {
  const auto refuse = [name](Problem problem) {
    return LoadAttempt{.result = std::unexpected(whole_file(name, std::move(problem))), .sources = {}};
  };
  if (text.size() > kMaxTotalBytes) {
    return refuse({.message = "the file is too large", .expected = fmt::format("at most {} bytes", kMaxTotalBytes)});
  }
  Parsed<std::optional<Sources>> parts = unbundle(text);
  if (!parts) return refuse(std::move(parts.error()));
  if (*parts) return load(*std::move(*parts), name, std::nullopt, true);
  Sources one;
  one.files.push_back({std::string(name), std::string(text)});
  one.paths.emplace_back(name);
  return load(std::move(one), name, directory, false);
}

LoadAttempt attempt_file(const std::filesystem::path& path) {
  auto text = read_text_file(path.string());
  if (text) return attempt_text(*text, path.string(), path.parent_path());
  LoadAttempt attempt{.result = std::unexpected(whole_file(path.string(), {.message = std::move(text.error())})),
                      .sources = {}};
  attempt.sources.paths.push_back(path.string());
  return attempt;
}

LoadResult load_text(std::string_view text, std::string_view name, const Directory& directory) {
  return std::move(attempt_text(text, name, directory).result);
}

LoadResult load_file(const std::filesystem::path& path) {
  return std::move(attempt_file(path).result);
}

}  // namespace dao::config

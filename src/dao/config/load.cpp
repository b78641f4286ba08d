#include "dao/config/load.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <unordered_map>

#include "dao/config/address.h"
#include "dao/config/apply_schema.h"
#include "dao/config/cross_checks.h"
#include "dao/config/document.h"
#include "dao/config/filter_keys.h"
#include "dao/config/policies.h"

namespace dao::config {
namespace {

Diagnostics whole_file(std::string_view file, std::string message, std::string expected = {}) {
  Diagnostics diagnostics(1);
  diagnostics.front().file = file;
  diagnostics.front().message = std::move(message);
  diagnostics.front().expected = std::move(expected);
  return diagnostics;
}

std::expected<std::string, std::string> read_file(const std::filesystem::path& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::unexpected(fmt::format("cannot open: {}", std::strerror(errno)));
  std::string text;
  std::expected<std::string, std::string> result;
  struct stat status{};
  if (fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) {
    result = std::unexpected("is a directory");
  } else {
    std::array<char, 65536> chunk{};
    while (true) {
      const ssize_t count = read(fd, chunk.data(), chunk.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) {
        result = std::unexpected(fmt::format("cannot read: {}", std::strerror(errno)));
        break;
      }
      text.append(chunk.data(), static_cast<std::size_t>(count));
      if (count == 0 || text.size() > kMaxFileBytes) {
        result = std::move(text);
        break;
      }
    }
  }
  close(fd);
  return result;
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
                                    .url = std::move(upstream.url),
                                    .tls = std::move(upstream.tls),
                                    .proxy_protocol = upstream.proxy_protocol,
                                    .probe = std::move(upstream.probe),
                                    .zone = std::move(upstream.zone)});
      }
      RuleUpstream& added_to_rule = rule.rule.upstreams.emplace_back();
      added_to_rule.index = entry->second;
      added_to_rule.weight = upstream.weight;
      for (const std::string& intent : upstream.intents) added_to_rule.intents |= bit_of(intent, config.intents);
    }
    rule.rule.policy = find_policy(rule.policy, draft.policies).value();
    rule.rule.intent = bit_of(rule.intent, config.intents);
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

std::expected<Loaded, Diagnostics> load_text(std::string_view text, std::string_view name) {
  if (text.size() > kMaxFileBytes) {
    return std::unexpected(whole_file(name, "the file is too large", fmt::format("at most {} bytes", kMaxFileBytes)));
  }
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    return std::unexpected(whole_file(name, "the file is empty", "at least one [[routes.rule]]"));
  }
  Findings findings;
  const auto root = parse_document(text, kMaxDepth);
  Applied applied;
  if (root) {
    applied = apply_schema(*root, findings);
    check_consistency(applied, findings);
    if (!findings.failed()) {
      check_use(applied, findings);
      check_reachability(applied, findings);
    }
  } else {
    findings.error(root.error().where, {}, {.message = root.error().message});
  }
  const bool failed = findings.failed();
  Diagnostics diagnostics = findings.take();
  add_source_lines(diagnostics, text, name);
  if (failed) return std::unexpected(std::move(diagnostics));
  return Loaded{assemble(std::move(applied.draft), applied.places, name), std::move(diagnostics)};
}

std::expected<Loaded, Diagnostics> load_file(const std::filesystem::path& path) {
  auto text = read_file(path);
  if (!text) return std::unexpected(whole_file(path.string(), std::move(text.error())));
  return load_text(*text, path.string());
}

}  // namespace dao::config

// Any bytes as a config file, or a bundle of several: load_text never crashes, its diagnostics can always be rendered,
// and what it accepts keeps the promises that config.h makes, differs in nothing from itself, and can still be read
// when its secrets are taken out.
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>

#include "dao/config/check_report.h"
#include "dao/config/diff.h"
#include "dao/config/load.h"
#include "dao/config/redact.h"

namespace {

using namespace dao::config;

void require(bool holds) {
  if (!holds) std::abort();
}

void check_diagnostics(const Diagnostics& diagnostics) {
  for (const Diagnostic& diagnostic : diagnostics) {
    require(!diagnostic.message.empty());
    require((diagnostic.line == 0) == (diagnostic.column == 0));
  }
  require(render_text(diagnostics).empty() == diagnostics.empty());
  require(render_json(diagnostics).starts_with('['));
}

bool is_known(std::uint64_t intents, const Config& config) {
  return config.intents.size() == kMaxIntents || intents >> config.intents.size() == 0;
}

void check_config(const Config& config) {
  require(!config.server.listeners.empty() && !config.rules.empty() && !config.files.empty());
  require(config.dns.min_ttl <= config.dns.max_ttl && config.proxy.defaults.retries <= 2);
  std::set<std::string_view> names;
  for (const Upstream& upstream : config.upstreams) {
    require(names.insert(upstream.name).second);
    const Url& url = upstream.url;
    if (url.scheme == Scheme::unix_socket) {
      require(url.socket_path.starts_with('/'));
    } else {
      require(!url.host.empty() && url.port != 0);
    }
    require(url.base_path.empty() || (url.base_path.starts_with('/') && !url.base_path.ends_with('/')));
  }
  names.clear();
  for (const Rule& rule : config.rules) {
    require(names.insert(rule.name).second);
    require(!rule.upstreams.empty() || rule.redirect.on() || rule.respond.on());
    require(rule.proxy.retries <= 2);
    require(!(rule.match.path_prefix && rule.match.path_exact));
    const ResonantWeights& weights = rule.policy.weights;
    for (const double weight : {weights.load, weights.intent, weights.tempo}) require(weight >= 0 && weight <= 100);
    require(weights.load + weights.intent + weights.tempo > 0 && !rule.policy.name.empty());
    require((rule.intent & (rule.intent - 1)) == 0 && is_known(rule.intent, config));
    std::set<std::size_t> indexes;
    for (const RuleUpstream& upstream : rule.upstreams) {
      require(upstream.index < config.upstreams.size() && upstream.weight >= 1 && upstream.weight <= 1000);
      require(indexes.insert(upstream.index).second && is_known(upstream.intents, config));
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto loaded = load_text(text, "fuzz");
  require(loaded || !loaded.error().empty());
  check_diagnostics(loaded ? loaded->warnings : loaded.error());
  if (loaded) check_config(loaded->config);
  const auto changes = diff(text, text);
  require(changes ? changes->empty() : !changes.error().empty());
  require(changes.has_value() || !loaded.has_value());
  const std::string shown = redact_text(text);
  require(!loaded.has_value() || diff(text, shown).has_value());
  return 0;
}

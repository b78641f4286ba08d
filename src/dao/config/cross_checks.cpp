#include "dao/config/cross_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "dao/config/address.h"
#include "dao/config/filter_keys.h"
#include "dao/config/nearest.h"
#include "dao/config/places.h"
#include "dao/config/policies.h"

namespace dao::config {
namespace {

// Which upstream of which rule. Its path is a text only where somebody has to be told.
struct UpstreamPlace {
  std::size_t rule = 0;
  std::size_t upstream = 0;

  [[nodiscard]] std::string path() const { return fmt::format("routes.rule[{}].upstreams[{}]", rule, upstream); }
};

struct Place {
  const Address* address;
  std::string path;
};

// Every address that DAO would listen on, but for those that were refused.
std::vector<Place> listening_places(const Applied& applied, const std::optional<Address>& default_bind) {
  const Config& config = applied.draft.config;
  std::vector<Place> listeners;
  // A list that had a bad item has lost its numbering; its items are checked once they are all good.
  const bool one = !config.server.bind.empty() && !applied.places.contains("server.bind[0]");
  const bool numbered = !config.server.bind.empty() &&
                        applied.places.contains(fmt::format("server.bind[{}]", config.server.bind.size() - 1)) &&
                        !applied.places.contains(fmt::format("server.bind[{}]", config.server.bind.size()));
  if (one || numbered) {
    for (std::size_t i = 0; i < config.server.bind.size(); ++i) {
      listeners.push_back({&config.server.bind[i], one ? "server.bind" : fmt::format("server.bind[{}]", i)});
    }
  }
  for (std::size_t i = 0; i < config.server.listeners.size(); ++i) {
    listeners.push_back({&config.server.listeners[i].address, fmt::format("server.listener[{}].bind", i)});
  }
  if (listeners.empty() && default_bind) listeners.push_back({&*default_bind, "server.bind"});
  if (config.telemetry.prometheus_bind) {
    listeners.push_back({&*config.telemetry.prometheus_bind, "telemetry.prometheus_bind"});
  }
  if (config.admin.bind && applied.places.contains("admin.bind")) {
    listeners.push_back({&*config.admin.bind, "admin.bind"});
  }
  std::erase_if(listeners, [](const Place& listener) { return listener.address->text.empty(); });
  return listeners;
}

void check_listeners(const Applied& applied, Findings& findings) {
  constexpr std::size_t kMost = 256;  // they are compared each with each
  if (const std::size_t count = applied.draft.config.server.listeners.size(); count > kMost) {
    const std::string path = fmt::format("server.listener[{}]", kMost);
    findings.error(
        place(applied.places, path), path,
        {.message = fmt::format("{} listeners are too many", count), .expected = fmt::format("at most {}", kMost)});
    return;
  }
  const auto parsed = parse_bind(kDefaultBind);
  const std::optional<Address> default_bind = parsed ? std::optional(*parsed) : std::nullopt;
  const std::vector<Place> listeners = listening_places(applied, default_bind);
  for (std::size_t i = 0; i < listeners.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (!same_listener(*listeners[j].address, *listeners[i].address)) continue;
      const Position where = place(applied.places, listeners[i].path);
      findings.error(where, listeners[i].path,
                     {.message = fmt::format("two listeners on one address: {} is also {}",
                                             in_quotes(listeners[i].address->text), listeners[j].path),
                      .expected = "a different address or port"});
      break;
    }
  }
}

void check_listener_names(const Applied& applied, Findings& findings) {
  const Server& server = applied.draft.config.server;
  std::unordered_map<std::string, std::string> names;  // where each was given
  for (std::size_t i = 0; i < server.bind.size(); ++i) {
    names.emplace(fmt::format("{}", i + 1), "that of an address in server.bind");
  }
  for (std::size_t i = 0; i < server.listeners.size(); ++i) {
    const std::string path = fmt::format("server.listener[{}].name", i);
    if (server.listeners[i].name.empty()) continue;
    const auto [first, added] =
        names.emplace(server.listeners[i].name, fmt::format("already taken on {}", line_of(applied, path)));
    if (added) continue;
    findings.error(place(applied.places, path), path,
                   {.message = fmt::format("the listener name {} is {}", in_quotes(first->first), first->second),
                    .expected = "a different name for each listener"});
  }
}

// Whoever reaches the admin API from elsewhere must show a token.
void check_admin(const Applied& applied, Findings& findings) {
  const Admin& admin = applied.draft.config.admin;
  if (!admin.bind || is_local(*admin.bind) || applied.places.contains("admin.token_file")) return;
  findings.error(place(applied.places, "admin.bind"), "admin.bind",
                 {.message = fmt::format("the admin API on {} needs a token: others than this machine may reach it",
                                         in_quotes(admin.bind->text)),
                  .expected = "\"token_file\", or an address of this machine alone (127.0.0.1, ::1, unix:/path)"});
}

void check_rule_names(const Applied& applied, Findings& findings) {
  std::unordered_map<std::string_view, std::size_t> names;
  for (std::size_t i = 0; i < applied.draft.rules.size(); ++i) {
    const std::string& name = applied.draft.rules[i].rule.name;
    if (name.empty()) continue;
    const auto [first, added] = names.emplace(name, i);
    if (added) continue;
    const std::string path = fmt::format("routes.rule[{}].name", i);
    findings.error(place(applied.places, path), path,
                   {.message = fmt::format("the rule name {} is already taken on {}", in_quotes(name),
                                           line_of(applied, fmt::format("routes.rule[{}].name", first->second))),
                    .expected = "a different name for each rule"});
  }
}

void check_upstreams(const Applied& applied, Findings& findings) {
  struct Known {
    const Url* url;
    UpstreamPlace place;
  };
  std::unordered_map<std::string_view, Known> known;
  std::unordered_map<std::string_view, std::size_t> in_rule;
  for (std::size_t i = 0; i < applied.draft.rules.size(); ++i) {
    in_rule.clear();
    const auto& upstreams = applied.draft.rules[i].upstreams;
    for (std::size_t j = 0; j < upstreams.size(); ++j) {
      const UpstreamDraft& upstream = upstreams[j];
      if (upstream.name.empty()) continue;
      const UpstreamPlace here{.rule = i, .upstream = j};
      if (const auto [first, added] = in_rule.emplace(upstream.name, j); !added) {
        const std::string before = fmt::format("routes.rule[{}].upstreams[{}].name", i, first->second);
        const std::string path = here.path() + ".name";
        findings.error(place(applied.places, path), path,
                       {.message = fmt::format("the upstream {} is in this rule already, on {}",
                                               in_quotes(upstream.name), line_of(applied, before)),
                        .expected = "each upstream once; its share is set by \"weight\""});
        continue;
      }
      if (upstream.url.text.empty()) continue;
      const auto [first, added] = known.emplace(upstream.name, Known{&upstream.url, here});
      if (added || first->second.url->same_place(upstream.url)) continue;
      const std::string path = here.path() + ".url";
      findings.error(place(applied.places, path), path,
                     {.message = fmt::format("the upstream {} has another URL on {}: {}", in_quotes(upstream.name),
                                             line_of(applied, first->second.place.path() + ".url"),
                                             in_quotes(first->second.url->text)),
                      .expected = "one URL for each name"});
    }
  }
}

void check_ttl(const Applied& applied, Findings& findings) {
  const Dns& dns = applied.draft.config.dns;
  if (dns.min_ttl <= dns.max_ttl) return;
  const bool min_given = applied.places.contains("dns.min_ttl_ms");
  const std::string path = min_given ? "dns.min_ttl_ms" : "dns.max_ttl_ms";
  findings.error(place(applied.places, path), path,
                 {.message = fmt::format("min_ttl_ms ({}) is larger than max_ttl_ms ({})", dns.min_ttl.count(),
                                         dns.max_ttl.count()),
                  .expected = "min_ttl_ms <= max_ttl_ms"});
}

// A certificate and its key come together. `path` leads to the table of both keys.
void check_pair(const Applied& applied, const std::string& path, std::string_view cert, std::string_view key,
                Findings& findings) {
  if (cert.empty() == key.empty()) return;
  const std::string cert_path = path + ".tls_cert";
  const std::string key_path = path + ".tls_key";
  const bool has_cert = applied.places.contains(cert_path);
  if (has_cert == applied.places.contains(key_path)) return;
  const std::string& alone = has_cert ? cert_path : key_path;
  findings.error(place(applied.places, alone), alone,
                 {.message = has_cert ? "a certificate without its key" : "a key without its certificate",
                  .expected = "both \"tls_cert\" and \"tls_key\""});
}

void check_listener_tls(const Applied& applied, Findings& findings) {
  const Server& server = applied.draft.config.server;
  check_pair(applied, "server", server.tls_cert, server.tls_key, findings);
  if (!server.tls_cert.empty() && server.bind.empty() && !server.listeners.empty()) {
    findings.error(place(applied.places, "server.tls_cert"), "server.tls_cert",
                   {.message = "tls_cert is for the addresses of \"bind\", and there is none",
                    .expected = "[[server.listener.tls.certificates]] for a [[server.listener]]"});
  }
  for (std::size_t i = 0; i < server.listeners.size(); ++i) {
    const ListenerTls& tls = server.listeners[i].tls;
    const std::string path = fmt::format("server.listener[{}].tls", i);
    if (!applied.places.contains(path)) continue;
    const auto error = [&](const std::string& at, std::string message, std::string expected) {
      findings.error(place(applied.places, at), at, {.message = std::move(message), .expected = std::move(expected)});
    };
    if (tls.certificates.empty()) {
      error(path, "TLS without a certificate", "at least one [[server.listener.tls.certificates]]");
    }
    if (tls.min_version > tls.max_version) {
      error(path + (applied.places.contains(path + ".min_version") ? ".min_version" : ".max_version"),
            "min_version is newer than max_version", "min_version <= max_version");
    }
    if (tls.client_auth != ClientAuth::off && !applied.places.contains(path + ".client_ca")) {
      error(path + ".client_auth", "nobody vouches for clients", "\"client_ca\" with the authorities");
    }
    if (tls.client_auth == ClientAuth::off && !tls.client_crl.empty()) {
      findings.warning(place(applied.places, path + ".client_crl"), path + ".client_crl",
                       {.message = "a list of revoked certificates, and none is asked for",
                        .expected = "\"client_auth\" = \"optional\" or \"required\""});
    }
  }
}

template <class Each>
void for_each_upstream(const Applied& applied, Each each) {
  for (std::size_t i = 0; i < applied.draft.rules.size(); ++i) {
    const auto& upstreams = applied.draft.rules[i].upstreams;
    for (std::size_t j = 0; j < upstreams.size(); ++j) each(upstreams[j], UpstreamPlace{.rule = i, .upstream = j});
  }
}

void check_upstream_tls(const Applied& applied, Findings& findings) {
  for_each_upstream(applied, [&](const UpstreamDraft& upstream, const UpstreamPlace& here) {
    const std::string path = here.path();
    check_pair(applied, path, upstream.tls.cert, upstream.tls.key, findings);
    if (upstream.url.text.empty() || upstream.name.empty() || upstream.url.scheme == Scheme::https) return;
    if (applied.places.contains(path + ".protocols")) {
      findings.error(place(applied.places, path + ".protocols"), path + ".protocols",
                     {.message = "the protocol is agreed on in TLS, which this upstream does not speak",
                      .expected = "\"https://...\", or \"h2c://...\" for HTTP/2 without TLS"});
    } else if (upstream.tls != UpstreamTls{}) {
      findings.error(place(applied.places, path + ".url"), path + ".url",
                     {.message = "keys of TLS for an upstream without TLS", .expected = "\"https://...\""});
    }
  });
}

void check_upstream_probes(const Applied& applied, Findings& findings) {
  for_each_upstream(applied, [&](const UpstreamDraft& upstream, const UpstreamPlace& here) {
    const bool only_h2 =
        upstream.url.scheme == Scheme::h2c || (upstream.url.scheme == Scheme::https && !upstream.tls.protocols.h1);
    if (upstream.name.empty() || upstream.url.text.empty()) return;
    if (upstream.probe.type != ProbeType::http || !only_h2) return;
    const std::string path = here.path() + ".probe.type";
    findings.error(
        place(applied.places, path), path,
        {.message = "the probe speaks HTTP/1.1, and this upstream only HTTP/2", .expected = "\"tcp\" or \"off\""});
  });
}

// What is said of an upstream is the same wherever it is named. `what`: how the message calls it; `refused`: what
// stands there counts for nothing.
template <class Said, class Refused>
void check_same_everywhere(const Applied& applied, Findings& findings, std::string_view what, Said said,
                           Refused refused) {
  struct Known {
    const UpstreamDraft* upstream;
    UpstreamPlace place;
  };
  std::unordered_map<std::string_view, Known> known;
  for_each_upstream(applied, [&](const UpstreamDraft& upstream, const UpstreamPlace& here) {
    if (upstream.name.empty() || refused(upstream, here)) return;
    const auto [first, added] = known.emplace(upstream.name, Known{&upstream, here});
    if (added || std::invoke(said, *first->second.upstream) == std::invoke(said, upstream)) return;
    const std::string path = here.path() + ".name";
    findings.error(place(applied.places, path), path,
                   {.message = fmt::format("the upstream {} has {} on {}", in_quotes(upstream.name), what,
                                           line_of(applied, first->second.place.path() + ".name")),
                    .expected = "the same wherever it is named"});
  });
}

void check_upstreams_agree(const Applied& applied, Findings& findings) {
  const auto never = [](const UpstreamDraft&, const UpstreamPlace&) { return false; };
  const auto without_url = [](const UpstreamDraft& upstream, const UpstreamPlace&) {
    return upstream.url.text.empty();
  };
  const auto zone_refused = [&](const UpstreamDraft& upstream, const UpstreamPlace& here) {
    return upstream.zone.empty() && applied.places.contains(here.path() + ".zone");
  };
  check_same_everywhere(applied, findings, "other keys of TLS", &UpstreamDraft::tls, without_url);
  check_same_everywhere(applied, findings, R"(another "proxy_protocol")", &UpstreamDraft::proxy_protocol, never);
  check_same_everywhere(applied, findings, R"(another "probe")", &UpstreamDraft::probe, never);
  check_same_everywhere(applied, findings, R"(another "zone")", &UpstreamDraft::zone, zone_refused);
  check_same_everywhere(applied, findings, R"(another "max_in_flight")", &UpstreamDraft::max_in_flight, never);
}

void check_policies(const Applied& applied, Findings& findings) {
  const std::vector<PolicyDraft>& own = applied.draft.policies;
  std::vector<std::string_view> names;
  for (const BuiltInPolicy& policy : built_in_policies()) names.push_back(policy.name);
  for (const PolicyDraft& policy : own) {
    names.push_back(policy.name);
    const ResonantWeights& weights = policy.weights;
    if (weights.load > 0 || weights.intent > 0 || weights.tempo > 0) continue;
    const std::string path = policy_path(policy);
    findings.error(
        place(applied.places, path), path,
        {.message = fmt::format("the policy {} weighs nothing: all upstreams would be equal", in_quotes(policy.name)),
         .expected = "at least one of w_load, w_intent and w_tempo above 0"});
  }
  for (std::size_t i = 0; i < applied.draft.rules.size(); ++i) {
    const std::string& name = applied.draft.rules[i].policy;
    if (name.empty() || std::ranges::find(names, name) != names.end()) continue;
    const std::string path = fmt::format("routes.rule[{}].policy", i);
    const bool refused_already =
        applied.places.contains("policies." + name) || applied.places.contains("policies." + in_quotes(name));
    if (refused_already) continue;
    std::string list;
    for (const auto known : names) list += fmt::format("{}\"{}\"", list.empty() ? "" : ", ", known);
    Problem problem{.message = fmt::format("{} is not a known policy", in_quotes(name)),
                    .expected = fmt::format("one of {}, or a table [policies.NAME] of that name", list)};
    if (const auto close = nearest(name, names)) problem.suggestion = *close;
    findings.error(place(applied.places, path), path, std::move(problem));
  }
}

void check_intents(const Applied& applied, Findings& findings) {
  std::unordered_set<std::string_view> known;
  const auto more = [&](const std::string& intent, const std::string& path) {
    if (intent.empty() || !known.insert(intent).second || known.size() != kMaxIntents + 1) return;
    findings.error(place(applied.places, path), path,
                   {.message = fmt::format("{} is one intent too many", in_quotes(intent)),
                    .expected = fmt::format("at most {} different ones", kMaxIntents)});
  };
  for (std::size_t i = 0; i < applied.draft.rules.size(); ++i) {
    const RuleDraft& rule = applied.draft.rules[i];
    more(rule.intent, fmt::format("routes.rule[{}].intent", i));
    for (std::size_t j = 0; j < rule.upstreams.size(); ++j) {
      for (const std::string& intent : rule.upstreams[j].intents) {
        more(intent, fmt::format("routes.rule[{}].upstreams[{}].intent", i, j));
      }
    }
  }
}

void check_presence(const Applied& applied, Findings& findings) {
  const Presence& presence = applied.draft.config.liminal.presence;
  const auto ordered = [&](std::string_view less, auto smaller, std::string_view more, auto larger) {
    if (smaller <= larger) return;
    const std::string less_path = fmt::format("liminal.presence.{}", less);
    const std::string more_path = fmt::format("liminal.presence.{}", more);
    const std::string& path = applied.places.contains(less_path) ? less_path : more_path;
    findings.error(place(applied.places, path), path,
                   {.message = fmt::format("{} ({}) is larger than {} ({})", less, smaller, more, larger),
                    .expected = fmt::format("{} <= {}", less, more)});
  };
  ordered("liminal_percent", presence.liminal_percent, "present_percent", presence.present_percent);
  ordered("trial_backoff_ms", presence.trial_backoff.count(), "trial_backoff_max_ms",
          presence.trial_backoff_max.count());
  ordered("probe_backoff_ms", presence.probe_backoff.count(), "probe_backoff_max_ms",
          presence.probe_backoff_max.count());
}

void check_metamorphic(const Applied& applied, Findings& findings) {
  const Metamorphic& metamorphic = applied.draft.config.liminal.metamorphic;
  if (metamorphic.false_alarm_percent > 0) return;
  const std::string path = "liminal.metamorphic.false_alarm_percent";
  findings.error(place(applied.places, path), path,
                 {.message = "nothing is certain enough for no false alarm at all",
                  .expected = "more than 0, such as 0.1; or \"rollback\" = false"});
}

}  // namespace

void check_consistency(const Applied& applied, Findings& findings) {
  check_listeners(applied, findings);
  check_listener_names(applied, findings);
  check_admin(applied, findings);
  check_rule_names(applied, findings);
  check_upstreams(applied, findings);
  check_listener_tls(applied, findings);
  check_upstream_tls(applied, findings);
  check_upstream_probes(applied, findings);
  check_presence(applied, findings);
  check_metamorphic(applied, findings);
  check_ttl(applied, findings);
  check_upstreams_agree(applied, findings);
  check_policies(applied, findings);
  check_intents(applied, findings);
  check_filters(applied, findings);
}

}  // namespace dao::config

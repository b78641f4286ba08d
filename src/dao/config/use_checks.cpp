#include "dao/config/use_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_set>

#include "dao/config/places.h"

namespace dao::config {
namespace {

void check_policies(const Applied& applied, Findings& findings) {
  std::unordered_set<std::string_view> used;
  for (const RuleDraft& rule : applied.draft.rules) used.insert(rule.policy);
  for (const PolicyDraft& policy : applied.draft.policies) {
    if (used.contains(policy.name)) continue;
    const std::string path = policy_path(policy);
    findings.warning(place(applied.places, path), path,
                     {.message = fmt::format("no rule uses the policy {}", in_quotes(policy.name)),
                      .expected = fmt::format("policy = {} in a rule", in_quotes(policy.name))});
  }
}

void check_hash_keys(const Applied& applied, Findings& findings) {
  for (std::size_t i = 0; i < applied.draft.rules.size(); ++i) {
    if (applied.draft.rules[i].policy == "consistent-hash") continue;
    const std::string path = fmt::format("routes.rule[{}].hash_key", i);
    if (!applied.places.contains(path)) continue;
    findings.warning(place(applied.places, path), path,
                     {.message = fmt::format("the policy {} hashes nothing", in_quotes(applied.draft.rules[i].policy)),
                      .expected = "policy = \"consistent-hash\""});
  }
}

void check_zone(const Applied& applied, Findings& findings) {
  const std::string& zone = applied.draft.config.server.zone;
  const auto is_near = [&](const UpstreamDraft& upstream) { return upstream.zone == zone; };
  const bool any_near = std::ranges::any_of(
      applied.draft.rules, [&](const RuleDraft& rule) { return std::ranges::any_of(rule.upstreams, is_near); });
  if (zone.empty() || any_near) return;
  findings.warning(
      place(applied.places, "server.zone"), "server.zone",
      {.message = fmt::format("no upstream is in the zone {}", in_quotes(zone)), .expected = "\"zone\" of upstreams"});
}

void check_intent_header(const Applied& applied, Findings& findings) {
  const Config& config = applied.draft.config;
  const TrustedProxies& trusted = config.server.trusted_proxies;
  if (config.intent_header.empty() || !trusted.blocks.empty() || trusted.unix_sockets) return;
  findings.warning(place(applied.places, "routes.intent_header"), "routes.intent_header",
                   {.message = "nobody is believed who sends this header: server.trusted_proxies is empty",
                    .expected = "\"trusted_proxies\" in [server]"});
}

// An upstream may well be for another intent than that of its rule: it is then the reserve. But some request must have
// it. Each intent once, where it is named first.
void check_intents(const Applied& applied, Findings& findings) {
  if (!applied.draft.config.intent_header.empty()) return;  // clients may name any
  std::unordered_set<std::string_view> known;
  for (const RuleDraft& rule : applied.draft.rules) known.insert(rule.intent);
  for (std::size_t i = 0; i < applied.draft.rules.size(); ++i) {
    const auto& upstreams = applied.draft.rules[i].upstreams;
    for (std::size_t j = 0; j < upstreams.size(); ++j) {
      for (std::size_t k = 0; k < upstreams[j].intents.size(); ++k) {
        const std::string& intent = upstreams[j].intents[k];
        if (!known.insert(intent).second) continue;
        std::string path = fmt::format("routes.rule[{}].upstreams[{}].intent", i, j);
        if (std::string item = fmt::format("{}[{}]", path, k); applied.places.contains(item)) path = std::move(item);
        findings.warning(place(applied.places, path), path,
                         {.message = fmt::format("no request has the intent {}", in_quotes(intent)),
                          .expected = "\"intent\" of a rule, or \"intent_header\" in [routes]"});
      }
    }
  }
}

void check_weights(const Applied& applied, Findings& findings) {
  for (std::size_t i = 0; i < applied.draft.rules.size(); ++i) {
    const RuleDraft& rule = applied.draft.rules[i];
    // 1 is the default, and what tools write that always write one.
    if (rule.upstreams.size() != 1 || rule.upstreams.front().weight == 1) continue;
    const std::string path = fmt::format("routes.rule[{}].upstreams[0].weight", i);
    findings.warning(place(applied.places, path), path,
                     {.message = fmt::format("the weight changes nothing: {} is the only upstream of the rule {}",
                                             in_quotes(rule.upstreams.front().name), in_quotes(rule.rule.name)),
                      .expected = "several upstreams, or no \"weight\""});
  }
}

// What is allowed, and does not do what it looks like.
void check_metamorphic_use(const Applied& applied, Findings& findings) {
  constexpr Milliseconds kShortest{10'000};
  const Metamorphic& metamorphic = applied.draft.config.liminal.metamorphic;
  if (metamorphic.transition == Milliseconds::zero() || metamorphic.transition >= kShortest) return;
  const std::string path = "liminal.metamorphic.transition_ms";
  findings.warning(place(applied.places, path), path,
                   {.message = fmt::format("a transition of {} ms is over before much can be seen of the new side",
                                           metamorphic.transition.count()),
                    .expected = fmt::format("at least {} ms, or 0", kShortest.count())});
}

}  // namespace

void check_use(const Applied& applied, Findings& findings) {
  check_metamorphic_use(applied, findings);
  check_policies(applied, findings);
  check_hash_keys(applied, findings);
  check_zone(applied, findings);
  check_intent_header(applied, findings);
  check_intents(applied, findings);
  check_weights(applied, findings);
}

}  // namespace dao::config

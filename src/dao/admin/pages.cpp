#include "dao/admin/pages.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <unordered_set>

#include "dao/admin/config_pages.h"
#include "dao/admin/times.h"
#include "dao/config/address.h"
#include "dao/server/version.h"

namespace dao::admin {

namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 4> kLevelNames = {"dormant", "aware", "vigilant", "transcendent"};
constexpr std::array<std::string_view, 3> kGateNames = {"open", "trial", "closed"};

const sense::UpstreamView* upstream_in(const sense::ViewPtr& view, std::size_t index) {
  return view && index < view->upstreams.size() ? &view->upstreams[index] : nullptr;
}

sense::Presence presence_in(const sense::ViewPtr& view, std::size_t index) {
  const sense::UpstreamView* upstream = upstream_in(view, index);
  return upstream == nullptr ? sense::Presence::unknown : upstream->presence;
}

json view_of(const sense::ViewPtr& view, const Clock& clock) {
  if (!view) return nullptr;
  return {{"number", view->number},
          {"age_ms", std::chrono::duration<double, std::milli>(clock.now() - view->folded_at).count()}};
}

// Null: none.
json limit_json(std::uint32_t most) {
  return most == 0 ? json(nullptr) : json(most);
}

bool is_full(server::Operations& operations, std::uint32_t upstream, std::uint32_t most) {
  return most != 0 && operations.in_flight().count(upstream) >= std::int64_t{most};
}

using RoutesOfUpstreams = std::vector<std::vector<std::string_view>>;

// By the upstreams' indexes.
RoutesOfUpstreams routes_of_upstreams(const config::Config& config) {
  RoutesOfUpstreams routes(config.upstreams.size());
  for (const config::Rule& rule : config.rules) {
    for (const config::RuleUpstream& upstream : rule.upstreams) routes[upstream.index].push_back(rule.name);
  }
  return routes;
}

// `coming`: only the new side of a transition has it.
json upstream_json(server::Operations& operations, const config::Upstream& upstream,
                   const std::vector<std::string_view>& routes, const sense::ViewPtr& view, bool coming = false) {
  const std::size_t index = upstream.number;
  const sense::Admission& admission = operations.admission();
  const sense::UpstreamView nothing;
  const sense::UpstreamView* seen = upstream_in(view, index);
  const sense::UpstreamView& figures = seen == nullptr ? nothing : *seen;
  return {{"name", upstream.name},
          {"url", upstream.url.text},
          {"routes", routes},
          {"coming", coming},
          {"presence", name_of(figures.presence)},
          {"presence_reason", figures.presence_reason},
          {"gate", kGateNames[static_cast<std::size_t>(admission.gate(index))]},
          {"drained", admission.drained(index)},
          {"in_flight", operations.in_flight().count(index)},
          {"max_in_flight", limit_json(upstream.max_in_flight)},
          {"full", is_full(operations, upstream.number, upstream.max_in_flight)},
          {"requests", figures.requests},
          {"rps", figures.rps},
          {"error_rate", figures.error_rate},
          {"p50_ms", figures.p50_ms},
          {"p95_ms", figures.p95_ms},
          {"p99_ms", figures.p99_ms},
          {"mean_ms", figures.mean_ms},
          {"tempo_spikiness", figures.tempo_spikiness},
          {"load_resonance", figures.load_resonance}};
}

json match_json(const config::Match& match) {
  json result = json::object();
  if (!match.hosts.empty()) {
    json hosts = json::array();
    for (const config::HostPattern& host : match.hosts) hosts.push_back((host.wildcard ? "*" : "") + host.text);
    result["host"] = std::move(hosts);
  }
  if (match.path_prefix) result["path_prefix"] = *match.path_prefix;
  if (match.path_exact) result["path_exact"] = *match.path_exact;
  // Values of headers may be secrets (an API key that selects a route); their names are not.
  if (!match.headers.empty()) {
    json names = json::array();
    for (const config::HeaderMatch& header : match.headers) names.push_back(header.name);
    result["headers"] = std::move(names);
  }
  if (match.upgrade == config::Upgrade::websocket) result["upgrade"] = "websocket";
  return result;
}

// Of a candidate that the worker would not choose from, the first reason.
std::string_view why_unusable(server::Operations& operations, std::uint32_t upstream, std::uint32_t most) {
  const sense::Admission& admission = operations.admission();
  if (admission.drained(upstream)) return "drained";
  if (!admission.admits(upstream)) return admission.gate(upstream) == sense::Gate::trial ? "on trial" : "absent";
  if (is_full(operations, upstream, most)) return "full";
  return "in another zone";
}

json candidate_json(server::Operations& operations, const sense::ViewPtr& view, const server::ExplainAnswer& answer,
                    std::size_t place) {
  const align::Explained& one = answer.candidates[place];
  const std::uint32_t most = answer.limits[place];
  const sense::Admission& admission = operations.admission();
  return {{"upstream", answer.names[place]},
          {"weight", answer.weights[place]},
          {"usable", one.usable},
          {"drained", admission.drained(one.upstream)},
          {"gate", kGateNames[static_cast<std::size_t>(admission.gate(one.upstream))]},
          {"presence", name_of(presence_in(view, one.upstream))},
          {"in_flight", operations.in_flight().count(one.upstream)},
          {"max_in_flight", limit_json(most)},
          {"unusable", one.usable ? json(nullptr) : json(why_unusable(operations, one.upstream, most))},
          {"latency", one.latency},
          {"errors", one.errors},
          {"queue", one.queue},
          {"load_resonance", one.load_resonance},
          {"intent_gap", one.intent_gap},
          {"tempo_spikiness", one.tempo_spikiness},
          {"w_load", one.w_load},
          {"w_intent", one.w_intent},
          {"w_tempo", one.w_tempo},
          {"score", one.score},
          {"chosen", one.chosen},
          {"why", one.why}};
}

}  // namespace

json status_page(server::Operations& operations) {
  const SystemClock clock;
  const std::shared_ptr<const config::Config> in_use = operations.config();
  const config::Config& config = *in_use;
  std::int64_t active = 0;
  std::int64_t idle = 0;
  std::int64_t requests_active = 0;
  std::uint64_t accepted = 0;
  std::array<std::uint64_t, sense::kStatusClasses> classes{};
  for (const sense::Shard* shard : operations.shards()) {
    active += shard->worker().connections_active.value();
    idle += shard->worker().connections_idle.value();
    accepted += shard->worker().connections_accepted.value();
    requests_active += shard->worker().requests_active.value();
    const auto count = [&classes](const sense::RouteCounters& route) {
      for (std::size_t i = 0; i < classes.size(); ++i) classes[i] += route.requests[i].value();
    };
    for (const sense::RouteCounters& route : shard->routes()) count(route);
    count(shard->unrouted());
    count(shard->gone());
  }
  std::uint64_t total = 0;
  json by_class = json::object();
  for (std::size_t i = 0; i < classes.size(); ++i) {
    total += classes[i];
    by_class[i == 0 ? std::string("none") : fmt::format("{}xx", i)] = classes[i];
  }
  const sense::ViewPtr view = operations.view();
  json upstreams = {{"total", config.upstreams.size()}};
  std::size_t drained = 0;
  const sense::Admission& admission = operations.admission();
  std::array<std::size_t, sense::kPresenceStates> states{};
  for (const config::Upstream& upstream : config.upstreams) {
    ++states[static_cast<std::size_t>(presence_in(view, upstream.number))];
    drained += admission.drained(upstream.number) ? 1 : 0;
  }
  for (std::size_t i = 0; i < states.size(); ++i) upstreams[std::string(sense::kPresenceNames[i])] = states[i];
  upstreams["drained"] = drained;
  json listeners = json::array();
  for (const auto& listening : operations.listening()) {
    listeners.push_back({{"name", listening.name}, {"address", listening.address}});
  }
  return {{"version", server::kVersion},
          {"pid", getpid()},
          {"started_at", iso_time(operations.started_at())},
          {"uptime_seconds", std::chrono::duration<double>(operations.uptime()).count()},
          {"config", config_status_json(operations.config_status())},
          {"store", store_status_json(operations.store().status())},
          {"workers", operations.workers()},
          {"ready", operations.ready()},
          {"level", kLevelNames[static_cast<std::size_t>(view ? view->level : sense::View{}.level)]},
          {"view", view_of(view, clock)},
          {"listeners", std::move(listeners)},
          {"connections",
           {{"active", active}, {"idle", idle}, {"accepted", accepted}, {"max", operations.max_connections()}}},
          {"requests", {{"active", requests_active}, {"total", total}, {"by_class", std::move(by_class)}}},
          {"routes", config.rules.size()},
          {"upstreams", std::move(upstreams)}};
}

json upstreams_page(server::Operations& operations) {
  const SystemClock clock;
  const sense::ViewPtr view = operations.view();
  const std::shared_ptr<const config::Config> config = operations.config();
  const RoutesOfUpstreams routes = routes_of_upstreams(*config);
  json upstreams = json::array();
  for (std::size_t i = 0; i < config->upstreams.size(); ++i) {
    upstreams.push_back(upstream_json(operations, config->upstreams[i], routes[i], view));
  }
  if (const std::shared_ptr<const config::Config> coming = operations.coming()) {
    const RoutesOfUpstreams its_routes = routes_of_upstreams(*coming);
    std::unordered_set<std::uint32_t> known;
    for (const config::Upstream& upstream : config->upstreams) known.insert(upstream.number);
    for (std::size_t i = 0; i < coming->upstreams.size(); ++i) {
      if (known.contains(coming->upstreams[i].number)) continue;
      upstreams.push_back(upstream_json(operations, coming->upstreams[i], its_routes[i], view, true));
    }
  }
  return {{"view", view_of(view, clock)}, {"upstreams", std::move(upstreams)}};
}

json upstream_page(server::Operations& operations, const config::Config& config, std::size_t upstream) {
  const RoutesOfUpstreams routes = routes_of_upstreams(config);
  return upstream_json(operations, config.upstreams[upstream], routes[upstream], operations.view());
}

json routes_page(const server::Operations& operations) {
  const SystemClock clock;
  const std::shared_ptr<const config::Config> in_use = operations.config();
  const config::Config& config = *in_use;
  const sense::ViewPtr view = operations.view();
  json routes = json::array();
  for (const config::Rule& rule : config.rules) {
    json upstreams = json::array();
    for (const config::RuleUpstream& upstream : rule.upstreams) {
      upstreams.push_back({{"name", config.upstreams[upstream.index].name}, {"weight", upstream.weight}});
    }
    const sense::RouteView figures =
        view && rule.number < view->routes.size() ? view->routes[rule.number] : sense::RouteView{};
    routes.push_back({{"name", rule.name},
                      {"policy", rule.policy.name},
                      {"match", match_json(rule.match)},
                      {"upstreams", std::move(upstreams)},
                      {"requests", figures.requests},
                      {"rps", figures.rps},
                      {"error_rate", figures.error_rate},
                      {"p50_ms", figures.p50_ms},
                      {"p95_ms", figures.p95_ms},
                      {"p99_ms", figures.p99_ms},
                      {"typical_ms", figures.typical_ms}});
  }
  return {{"view", view_of(view, clock)}, {"routes", std::move(routes)}};
}

json explain_page(server::Operations& operations, const config::Rule& rule,
                  const std::vector<std::optional<server::ExplainAnswer>>& answers) {
  const SystemClock clock;
  const sense::ViewPtr view = operations.view();
  json workers = json::array();
  json unanswered = json::array();
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (!answers[i]) {
      unanswered.push_back(i);
      continue;
    }
    json candidates = json::array();
    json chosen = nullptr;
    for (std::size_t j = 0; j < answers[i]->candidates.size(); ++j) {
      const align::Explained& one = answers[i]->candidates[j];
      candidates.push_back(candidate_json(operations, view, *answers[i], j));
      if (one.chosen) chosen = answers[i]->names[j];
    }
    workers.push_back({{"worker", i},
                       {"chosen", std::move(chosen)},
                       {"fail_open", answers[i]->fail_open},
                       {"waits", answers[i]->waits},
                       {"candidates", std::move(candidates)}});
  }
  return {{"route", rule.name},
          {"policy", rule.policy.name},
          {"level", kLevelNames[static_cast<std::size_t>(view ? view->level : sense::View{}.level)]},
          {"view", view_of(view, clock)},
          {"workers", std::move(workers)},
          {"unanswered", std::move(unanswered)}};
}

std::vector<std::string> routes_left_without(server::Operations& operations, const config::Config& config) {
  const sense::Admission& admission = operations.admission();
  std::vector<std::string> names;
  for (const config::Rule& rule : config.rules) {
    const auto drained = [&](const auto& one) { return admission.drained(config.upstreams[one.index].number); };
    if (!rule.upstreams.empty() && std::ranges::all_of(rule.upstreams, drained)) {
      names.push_back(rule.name);
    }
  }
  return names;
}

}  // namespace dao::admin

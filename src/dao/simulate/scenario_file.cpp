#include "dao/simulate/scenario_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>
#include <ranges>
#include <system_error>

#include "dao/config/document.h"
#include "dao/config/match_values.h"
#include "dao/config/nearest.h"
#include "dao/config/problem.h"
#include "dao/simulate/figures.h"
#include "dao/simulate/table_reader.h"

namespace dao::simulate {

namespace {

using config::Diagnostic;
using config::Diagnostics;

constexpr Choice<ArrivalKind> kArrivalKinds[] = {{"poisson", ArrivalKind::poisson},
                                                 {"constant", ArrivalKind::constant},
                                                 {"bursts", ArrivalKind::bursts},
                                                 {"trace", ArrivalKind::trace}};
constexpr Choice<Distribution> kDistributions[] = {{"exponential", Distribution::exponential},
                                                   {"constant", Distribution::constant},
                                                   {"lognormal", Distribution::lognormal},
                                                   {"pareto", Distribution::pareto}};
constexpr Choice<Effect> kEffects[] = {{"slow", Effect::slow},
                                       {"fail", Effect::fail},
                                       {"refuse", Effect::refuse},
                                       {"hang", Effect::hang},
                                       {"cold", Effect::cold}};
constexpr Bounds kPositive = {.least = 0, .above_least = true};
constexpr std::size_t kMostBackends = 10'000;

void read_arrivals(TableReader& table, Arrivals& arrivals) {
  table.choice("kind", arrivals.kind, kArrivalKinds);
  table.number("rate", arrivals.rate, kPositive);
  constexpr double kMostLoad = 100;
  table.number("load", arrivals.load, {.least = 0, .most = kMostLoad, .above_least = true});
  if (table.has("rate") == table.has("load")) {
    table.report(table.has("rate") ? "load" : "", "the arrivals need a rate",
                 "either \"rate\" (requests per second) or \"load\" (share of what the backends can serve)");
  }
  const bool bursts = arrivals.kind == ArrivalKind::bursts;
  if (bursts) {
    table.number("burst_factor", arrivals.burst_factor, {.least = 1, .most = 1000});
    table.number("burst_seconds", arrivals.burst_seconds, kPositive);
    table.number("burst_every_seconds", arrivals.burst_every_seconds, kPositive);
    if (arrivals.burst_seconds >= arrivals.burst_every_seconds) {
      table.report("burst_seconds", "bursts are longer than the time from one to the next",
                   "less than burst_every_seconds");
    }
  }
  if (arrivals.kind == ArrivalKind::trace) {
    table.text("file", arrivals.trace_path);
    table.number("step_seconds", arrivals.trace_step_seconds, kPositive);
  }
  table.finish();
}

void read_backends(TableReader& table, std::vector<Backend>& backends) {
  Backend backend;
  std::size_t count = 1;
  backend.name = "backend";
  if (!table.text("name", backend.name)) {
    if (!table.has("name")) table.report("name", "\"name\" is missing", "a text");
  } else if (const auto name = config::parse_name(backend.name); !name) {
    table.report("name", name.error().message, name.error().expected);
  }
  backend.group = backend.name;
  table.integer("count", count, 1, kMostBackends);
  table.integer("weight", backend.weight, 1, 1000);
  table.integer("slots", backend.slots, 1, 65'535);
  std::size_t queue = 0;
  if (table.integer("queue", queue, 0, 1'000'000'000)) backend.queue = queue;
  ServiceTime& service = backend.service;
  table.choice("service", service.distribution, kDistributions);
  Nanoseconds mean{};
  if (table.milliseconds("mean_ms", mean, kPositive)) {
    service.mean_seconds = std::chrono::duration<double>(mean).count();
  } else if (!table.has("mean_ms")) {
    table.report("mean_ms", "\"mean_ms\" is missing", "the mean service time in milliseconds");
  }
  constexpr double kMostSigma = 5;
  if (service.distribution == Distribution::lognormal) table.number("sigma", service.sigma, {.most = kMostSigma});
  if (service.distribution == Distribution::pareto) {
    table.number("shape", service.shape, {.least = 1, .most = 100, .above_least = true});
  }
  table.finish();
  if (backends.size() + count > kMostBackends) {
    table.report("count", "too many backends", fmt::format("at most {} in all", kMostBackends));
    return;
  }
  for (const Backend& other : backends) {
    if (other.group == backend.group) {
      table.report("name", config::in_quotes(backend.group) + " is taken");
      return;
    }
  }
  for (std::size_t i = 1; i <= count; ++i) {
    backends.push_back(backend);
    if (count > 1) backends.back().name = fmt::format("{}-{}", backend.group, i);
  }
}

void read_fault(TableReader& table, const std::vector<Backend>& backends, std::vector<Fault>& faults) {
  Fault fault;
  if (!table.choice("effect", fault.effect, kEffects) && !table.has("effect")) {
    table.report("effect", "\"effect\" is missing", "what the fault does");
  }
  std::vector<std::string> names;
  if (!table.texts("backends", names) && !table.has("backends")) {
    table.report("backends", "\"backends\" is missing", "an array of names of backends or groups of them");
  }
  std::vector<bool> chosen(backends.size());
  for (const std::string& name : names) {
    bool found = false;
    for (std::size_t i = 0; i < backends.size(); ++i) {
      if (name != "*" && backends[i].name != name && backends[i].group != name) continue;
      chosen[i] = found = true;
    }
    if (found) continue;
    std::vector<std::string_view> known;
    for (const Backend& backend : backends) known.push_back(backend.name);
    table.report("backends", "no backend is called " + config::in_quotes(name), {},
                 std::string(config::nearest(name, known).value_or(std::string_view{})));
  }
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    if (chosen[i]) fault.backends.push_back(i);
  }
  table.seconds("from_seconds", fault.from);
  Nanoseconds to{};
  if (table.seconds("to_seconds", to)) {
    fault.to = to;
    if (to <= fault.from) table.report("to_seconds", "it ends before it begins", "more than from_seconds");
  }
  if (table.has("on_seconds") != table.has("off_seconds")) {
    table.report(table.has("on_seconds") ? "on_seconds" : "off_seconds", "episodes need both lengths",
                 "on_seconds and off_seconds");
  }
  table.seconds("on_seconds", fault.on, kPositive);
  table.seconds("off_seconds", fault.off, kPositive);
  table.boolean("random", fault.random);
  if (fault.random && !table.has("on_seconds")) {
    table.report("random", "random are the lengths of episodes", "on_seconds and off_seconds");
  }
  if (fault.effect == Effect::slow || fault.effect == Effect::cold) {
    constexpr double kMostFactor = 1e6;
    if (!table.number("factor", fault.factor, {.most = kMostFactor, .above_least = true}) && !table.has("factor")) {
      table.report("factor", "\"factor\" is missing", "how many times as long service takes");
    }
  }
  if (fault.effect == Effect::cold && !fault.to && !table.has("on_seconds")) {
    table.report("effect", "what is cold gets warm", "to_seconds, or on_seconds and off_seconds");
  }
  if (fault.effect == Effect::fail) {
    table.number("probability", fault.probability, {.least = 0, .most = 1, .above_least = true});
    table.milliseconds("after_ms", fault.after);
  }
  table.finish();
  faults.push_back(std::move(fault));
}

void read_expectation(TableReader& table, std::vector<Expectation>& expectations) {
  Expectation expectation;
  expectation.line = table.line();
  if (!table.text("policy", expectation.policy) && !table.has("policy")) {
    table.report("policy", "\"policy\" is missing", "the name of a policy, or \"*\"");
  }
  if (table.text("figure", expectation.figure)) {
    std::vector<std::string_view> names;
    for (const FigureName& figure : kFigureNames) names.push_back(figure.name);
    if (std::ranges::find(names, expectation.figure) == names.end()) {
      table.report("figure", "unknown figure " + config::in_quotes(expectation.figure), "a figure of docs/simulate.md",
                   std::string(config::nearest(expectation.figure, names).value_or(std::string_view{})));
    }
  } else if (!table.has("figure")) {
    table.report("figure", "\"figure\" is missing", "what is measured");
  }
  table.number("at_most", expectation.at_most, {});
  table.number("at_least", expectation.at_least, {});
  if (!table.has("at_most") && !table.has("at_least")) {
    table.report("", "nothing is expected", "\"at_most\" or \"at_least\"");
  }
  if (table.text("relative_to", expectation.relative_to)) {
    expectation.relative = expectation.relative_to == "best-of-others" ? Relative::best_of_others : Relative::policy;
  }
  table.finish();
  expectations.push_back(std::move(expectation));
}

Scenario read_scenario(const config::Node& root, config::Findings& findings) {
  Scenario scenario;
  TableReader table(root, "", findings);
  table.text("about", scenario.about);
  table.number("seconds", scenario.seconds, kPositive);
  std::uint64_t requests = 0;
  constexpr std::int64_t kMostRequests = 1'000'000'000'000;
  if (table.integer("requests", requests, 1, kMostRequests)) scenario.requests = requests;
  if (table.has("seconds") && table.has("requests")) {
    table.report("requests", "the length is given twice", "only one of \"seconds\" and \"requests\"");
  }
  table.seconds("warm_up_seconds", scenario.warm_up);
  table.integer("seed", scenario.seed, 0, INT64_MAX);
  constexpr std::int64_t kMost = 10'000;
  table.integer("nodes", scenario.nodes, 1, kMost);
  table.integer("workers", scenario.workers, 1, kMost);
  table.milliseconds("round_trip_ms", scenario.round_trip);
  table.milliseconds("first_byte_timeout_ms", scenario.first_byte_timeout, {.least = 1});
  Nanoseconds patience{};
  if (table.milliseconds("client_timeout_ms", patience, {.least = 1})) scenario.client_timeout = patience;
  std::uint32_t retries = 0;
  if (table.integer("retries", retries, 0, 2)) scenario.retries = retries;
  table.integer("keys", scenario.keys, 1, kMostRequests);
  table.milliseconds("mind_step_ms", scenario.mind_step, {.least = 1});
  table.texts("policies", scenario.policies);
  if (auto arrivals = table.table("arrivals")) {
    read_arrivals(*arrivals, scenario.arrivals);
    const bool trace = scenario.arrivals.kind == ArrivalKind::trace;
    if (!trace && !table.has("seconds") && !table.has("requests")) {
      table.report("seconds", "the length is missing", "\"seconds\" or \"requests\"");
    }
  } else {
    table.report("arrivals", "[arrivals] is missing", "when requests arrive");
  }
  for (TableReader& backend : table.tables("backends")) read_backends(backend, scenario.backends);
  if (scenario.backends.empty()) table.report("backends", "there are no backends", "at least one [[backends]]");
  for (TableReader& fault : table.tables("faults")) read_fault(fault, scenario.backends, scenario.faults);
  for (TableReader& expect : table.tables("expect")) read_expectation(expect, scenario.expectations);
  table.finish();
  if (scenario.seconds && std::chrono::duration<double>(scenario.warm_up).count() >= *scenario.seconds) {
    table.report("warm_up_seconds", "nothing comes after the warm-up", "less than \"seconds\"");
  }
  return scenario;
}

Diagnostics one_diagnostic(std::string_view file, std::string message) {
  return {Diagnostic{.file = std::string(file),
                     .key = {},
                     .message = std::move(message),
                     .expected = {},
                     .suggestion = {},
                     .source_line = {}}};
}

std::expected<std::string, std::string> read_file(const std::filesystem::path& path, std::size_t most) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return std::unexpected("is a directory");
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::unexpected(fmt::format("cannot open: {}", std::strerror(errno)));
  std::string text;
  char chunk[1U << 16U];
  while (file.read(chunk, sizeof chunk) || file.gcount() > 0) {
    text.append(chunk, static_cast<std::size_t>(file.gcount()));
    if (text.size() > most) return std::unexpected(fmt::format("is larger than {} bytes", most));
  }
  return text;
}

}  // namespace

std::expected<Scenario, Diagnostics> parse_scenario(std::string_view text, std::string_view name) {
  config::Findings findings;
  Scenario scenario;
  const auto root = config::parse_document(text, config::kMaxDepth);
  if (root) {
    scenario = read_scenario(*root, findings);
  } else {
    findings.error(root.error().where, {}, {.message = root.error().message});
  }
  scenario.name = std::filesystem::path(name).stem().string();
  if (!findings.failed()) return scenario;
  Diagnostics diagnostics = findings.take();
  config::add_source_lines(diagnostics, text, name);
  return std::unexpected(std::move(diagnostics));
}

std::expected<std::vector<std::uint32_t>, std::string> read_trace(const std::filesystem::path& path) {
  constexpr std::size_t kMostBytes = std::size_t{1} << 30U;
  const auto text = read_file(path, kMostBytes);
  if (!text) return std::unexpected(fmt::format("{}: {}", path.string(), text.error()));
  if (text->starts_with("BZh") || text->starts_with("\x1f\x8b")) {
    return std::unexpected(
        fmt::format("{}: is compressed; give the text itself, for example --trace <(bzcat FILE)", path.string()));
  }
  std::vector<std::uint32_t> counts;
  bool any = false;
  std::size_t line = 1;
  const char* at = text->data();
  const char* const end = at + text->size();
  while (at != end) {
    if (*at == ' ' || *at == '\t' || *at == '\r' || *at == '\n') {
      line += *at++ == '\n' ? 1 : 0;
      continue;
    }
    std::uint32_t count = 0;
    const auto [rest, error] = std::from_chars(at, end, count);
    const bool ended = rest == end || *rest == ' ' || *rest == '\t' || *rest == '\r' || *rest == '\n';
    if (error != std::errc{} || !ended) {
      const std::string_view word(at, std::find_if(at, end, [](char c) { return c == ' ' || c == '\n'; }));
      return std::unexpected(
          fmt::format("{}:{}: {} is not a number of requests", path.string(), line, config::in_quotes(word)));
    }
    any = any || count > 0;
    counts.push_back(count);
    at = rest;
  }
  if (!any) return std::unexpected(fmt::format("{}: has no requests", path.string()));
  return counts;
}

std::expected<Scenario, Diagnostics> load_scenario(const std::filesystem::path& path) {
  const auto text = read_file(path, config::kMaxFileBytes);
  if (!text) return std::unexpected(one_diagnostic(path.string(), text.error()));
  auto scenario = parse_scenario(*text, path.string());
  if (!scenario || scenario->arrivals.trace_path.empty()) return scenario;
  auto trace = read_trace(path.parent_path() / scenario->arrivals.trace_path);
  if (!trace) return std::unexpected(one_diagnostic(path.string(), std::move(trace.error())));
  scenario->arrivals.trace = std::move(*trace);
  return scenario;
}

}  // namespace dao::simulate

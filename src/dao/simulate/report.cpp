#include "dao/simulate/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "dao/base/json_text.h"
#include "dao/config/policies.h"

namespace dao::simulate {

namespace {

double value_of(const Run& run, std::string_view figure) {
  return run.figures.*std::ranges::find(kFigureNames, figure, &FigureName::name)->value;
}

const Run* find_run(std::span<const Run> runs, std::string_view policy) {
  const auto found = std::ranges::find(runs, policy, &Run::policy);
  return found == runs.end() ? nullptr : &*found;
}

// Presets of one policy do not compete with each other.
bool same_kind(std::string_view one, std::string_view other) {
  const auto first = config::find_policy(one, {});
  const auto second = config::find_policy(other, {});
  return one == other || (first && second && first->kind == second->kind);
}

void judge(Verdict& verdict, std::span<const Run> runs) {
  const Expectation& expected = *verdict.expectation;
  const Run* run = find_run(runs, verdict.policy);
  if (run == nullptr) return;
  verdict.value = value_of(*run, expected.figure);
  double unit = 1;
  if (expected.relative != Relative::no) {
    const Run* reference = nullptr;
    if (expected.relative == Relative::policy) {
      reference = find_run(runs, expected.relative_to);
    } else {
      for (const Run& other : runs) {
        if (same_kind(other.policy, verdict.policy)) continue;
        if (reference == nullptr || value_of(other, expected.figure) < value_of(*reference, expected.figure)) {
          reference = &other;
        }
      }
    }
    if (reference == nullptr) return;
    verdict.reference = reference->policy;
    verdict.reference_value = value_of(*reference, expected.figure);
    unit = verdict.reference_value;
  }
  const bool met = (!expected.at_most || verdict.value <= *expected.at_most * unit) &&
                   (!expected.at_least || verdict.value >= *expected.at_least * unit);
  verdict.outcome = met ? Verdict::Outcome::met : Verdict::Outcome::failed;
}

std::string number(double value) {
  if (value == 0) return "0";
  if (value >= 1000) return fmt::format("{:.0f}", value);
  if (value >= 100) return fmt::format("{:.1f}", value);
  return value >= 0.1 ? fmt::format("{:.2f}", value) : fmt::format("{:.4f}", value);
}

std::string percent(double share) {
  return fmt::format("{:.2f}%", share * 100);
}

struct Column {
  std::string title;
  std::string (*cell)(const Run& run, const Run* base);
};

std::string ratio(double value, double base) {
  return base > 0 ? fmt::format("{:.3f}", value / base) : "-";
}

const std::vector<Column>& columns() {
  static const std::vector<Column> all = {
      {"policy", [](const Run& run, const Run*) { return run.policy; }},
      {"p50 ms", [](const Run& run, const Run*) { return number(run.figures.p50_ms); }},
      {"p90", [](const Run& run, const Run*) { return number(run.figures.p90_ms); }},
      {"p99", [](const Run& run, const Run*) { return number(run.figures.p99_ms); }},
      {"p99.9", [](const Run& run, const Run*) { return number(run.figures.p999_ms); }},
      {"mean", [](const Run& run, const Run*) { return number(run.figures.mean_ms); }},
      {"max", [](const Run& run, const Run*) { return number(run.figures.max_ms); }},
      {"p99/rr",
       [](const Run& run, const Run* base) {
         return base == nullptr ? "-" : ratio(run.figures.p99_ms, base->figures.p99_ms);
       }},
      {"mean/rr",
       [](const Run& run, const Run* base) {
         return base == nullptr ? "-" : ratio(run.figures.mean_ms, base->figures.mean_ms);
       }},
      {"errors", [](const Run& run, const Run*) { return percent(run.figures.error_share); }},
      {"retries", [](const Run& run, const Run*) { return number(run.figures.retries); }},
      {"share min..max",
       [](const Run& run, const Run*) {
         return fmt::format("{}..{}", percent(run.figures.least_share), percent(run.figures.largest_share));
       }},
      {"off even", [](const Run& run, const Run*) { return percent(run.figures.deviation); }},
      {"sick before>after",
       [](const Run& run, const Run*) {
         return fmt::format("{}>{}", percent(run.figures.sick_share_before), percent(run.figures.sick_share_after));
       }},
      {"spread cv", [](const Run& run, const Run*) { return number(run.figures.spread_cv); }},
      {"max/mean", [](const Run& run, const Run*) { return number(run.figures.spread_max); }},
      {"swing", [](const Run& run, const Run*) { return number(run.figures.swing); }},
      {"deepest", [](const Run& run, const Run*) { return number(run.figures.deepest); }},
      {"wall s", [](const Run& run, const Run*) { return fmt::format("{:.2f}", run.wall_seconds); }},
      {"Mreq/s",
       [](const Run& run, const Run*) {
         return fmt::format("{:.2f}", static_cast<double>(run.simulated) / run.wall_seconds * 1e-6);
       }},
  };
  return all;
}

std::string describe(const Verdict& verdict) {
  const Expectation& expected = *verdict.expectation;
  std::string text = fmt::format("{} {}", verdict.policy, expected.figure);
  const auto bound = [&](std::string_view word, const std::optional<double>& limit) {
    if (!limit) return;
    text += fmt::format(" {} {}", word, *limit);
    if (expected.relative != Relative::no) {
      const bool best = expected.relative == Relative::best_of_others;
      text += fmt::format(" x {}", best ? "the best of the others" : expected.relative_to);
    }
  };
  bound("at most", expected.at_most);
  bound("at least", expected.at_least);
  if (verdict.outcome == Verdict::Outcome::not_run) return text;
  text += fmt::format(": {}", number(verdict.value));
  if (!verdict.reference.empty()) {
    text += fmt::format(", {} {}, ratio {}", verdict.reference, number(verdict.reference_value),
                        ratio(verdict.value, verdict.reference_value));
  }
  return text;
}

std::string_view word_for(Verdict::Outcome outcome) {
  switch (outcome) {
    case Verdict::Outcome::met:
      return "yes";
    case Verdict::Outcome::failed:
      return "NO";
    case Verdict::Outcome::not_run:
      break;
  }
  return "not run";
}

}  // namespace

std::vector<Verdict> check(const Scenario& scenario, std::span<const Run> runs) {
  std::vector<Verdict> verdicts;
  for (const Expectation& expectation : scenario.expectations) {
    if (expectation.policy != "*") {
      verdicts.push_back({.expectation = &expectation, .policy = expectation.policy});
      judge(verdicts.back(), runs);
      continue;
    }
    for (const Run& run : runs) {
      verdicts.push_back({.expectation = &expectation, .policy = run.policy});
      judge(verdicts.back(), runs);
    }
  }
  return verdicts;
}

std::string render_table(const Scenario& scenario, std::span<const Run> runs, std::span<const Verdict> verdicts) {
  double slots = 0;
  for (const Backend& backend : scenario.backends) slots += backend.slots;
  std::string out = fmt::format("{}: {}{}\n", scenario.name, scenario.about, scenario.about.empty() ? "" : "; ");
  out.insert(out.size() - 1,
             fmt::format("{} nodes, {} backends with {} slots, {:.0f} requests/s, seed {}", scenario.nodes,
                         scenario.backends.size(), slots, scenario.mean_rate(), scenario.seed));
  const Run* base = find_run(runs, "round-robin");
  std::vector<std::vector<std::string>> rows(runs.size() + 1);
  std::vector<std::size_t> widths;
  for (const Column& column : columns()) {
    rows.front().push_back(column.title);
    for (std::size_t i = 0; i < runs.size(); ++i) rows[i + 1].push_back(column.cell(runs[i], base));
    std::size_t width = 0;
    for (const auto& row : rows) width = std::max(width, row.back().size());
    widths.push_back(width);
  }
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += i == 0 ? fmt::format("{:<{}}", row[i], widths[i]) : fmt::format("  {:>{}}", row[i], widths[i]);
    }
    out += line + "\n";
  }
  for (const Verdict& verdict : verdicts) {
    out += fmt::format("  {:<7} {}\n", word_for(verdict.outcome), describe(verdict));
  }
  return out;
}

std::string render_json(const Scenario& scenario, std::span<const Run> runs, std::span<const Verdict> verdicts) {
  using nlohmann::ordered_json;
  ordered_json report;
  report["scenario"] = scenario.name;
  report["seed"] = scenario.seed;
  report["nodes"] = scenario.nodes;
  report["workers"] = scenario.workers;
  report["rate"] = scenario.mean_rate();
  report["policies"] = ordered_json::array();
  for (const Run& run : runs) {
    ordered_json one;
    one["policy"] = run.policy;
    one["simulated"] = run.simulated;
    one["virtual_seconds"] = run.virtual_seconds;
    for (const FigureName& figure : kFigureNames) one[std::string(figure.name)] = run.figures.*figure.value;
    ordered_json shares;
    for (std::size_t i = 0; i < run.figures.shares.size(); ++i) {
      shares[scenario.backends[i].name] = run.figures.shares[i];
    }
    one["shares"] = std::move(shares);
    report["policies"].push_back(std::move(one));
  }
  report["expectations"] = ordered_json::array();
  for (const Verdict& verdict : verdicts) {
    const Expectation& expected = *verdict.expectation;
    ordered_json one;
    one["policy"] = verdict.policy;
    one["figure"] = expected.figure;
    if (expected.at_most) one["at_most"] = *expected.at_most;
    if (expected.at_least) one["at_least"] = *expected.at_least;
    if (expected.relative != Relative::no) one["relative_to"] = expected.relative_to;
    one["line"] = expected.line;
    one["outcome"] = verdict.outcome == Verdict::Outcome::met      ? "met"
                     : verdict.outcome == Verdict::Outcome::failed ? "failed"
                                                                   : "not run";
    if (verdict.outcome != Verdict::Outcome::not_run) one["value"] = verdict.value;
    if (!verdict.reference.empty()) {
      one["reference"] = verdict.reference;
      one["reference_value"] = verdict.reference_value;
    }
    report["expectations"].push_back(std::move(one));
  }
  return json_text(report, 2) + "\n";
}

}  // namespace dao::simulate

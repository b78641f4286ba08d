#include "tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "config_text.h"

namespace dao {

namespace {

using nlohmann::json;

// Three significant digits for what is small, none behind the point for what is large.
std::string percent(const json& share) {
  return share.is_number() ? fmt::format("{:.1f}%", share.get<double>() * 100) : "-";
}

std::string joined(const json& list) {
  std::string text;
  for (const json& one : list) text += (text.empty() ? "" : ", ") + text_of(one);
  return text.empty() ? "-" : text;
}

std::string state_of(const json& upstream) {
  std::string state = upstream.at("presence").get<std::string>();
  if (upstream.value("coming", false)) state += ",coming";
  if (upstream.at("drained").get<bool>()) state += ",drained";
  if (upstream.at("gate") != "open") state += "," + upstream.at("gate").get<std::string>();
  return state;
}

// "3", or "3/8" of 8 at most.
std::string in_flight_of(const json& upstream) {
  const json& most = upstream.at("max_in_flight");
  return upstream.at("in_flight").dump() + (most.is_null() ? "" : "/" + most.dump());
}

}  // namespace

std::string text_of(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.is_null() ? "-" : value.dump();
}

std::string figure(const json& value) {
  if (!value.is_number()) return "-";
  const double number = value.get<double>();
  if (number == 0) return "0";
  constexpr double kLarge = 100;
  return std::abs(number) >= kLarge ? fmt::format("{:.0f}", number) : fmt::format("{:.3g}", number);
}

std::string duration(double seconds) {
  const auto whole = static_cast<long long>(seconds);
  constexpr long long kMinute = 60;
  constexpr long long kHour = 60 * kMinute;
  constexpr long long kDay = 24 * kHour;
  if (whole >= kDay) return fmt::format("{}d {}h", whole / kDay, whole % kDay / kHour);
  if (whole >= kHour) return fmt::format("{}h {}m", whole / kHour, whole % kHour / kMinute);
  if (whole >= kMinute) return fmt::format("{}m {}s", whole / kMinute, whole % kMinute);
  return fmt::format("{:.1f}s", seconds);
}

TextTable::TextTable(std::vector<std::string> head, std::size_t left_columns) : left_columns_(left_columns) {
  rows_.push_back(std::move(head));
}

std::string TextTable::text() const {
  std::vector<std::size_t> widths(rows_.front().size());
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string result;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i != 0) line += "  ";
      line += i < left_columns_ ? fmt::format("{:<{}}", row[i], widths[i]) : fmt::format("{:>{}}", row[i], widths[i]);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    result += line + "\n";
  }
  return result;
}

std::string status_text(const json& status) {
  const json& connections = status.at("connections");
  const json& requests = status.at("requests");
  const json& upstreams = status.at("upstreams");
  std::string states;
  for (const char* name : {"present", "liminal", "absent", "unknown", "drained"}) {
    if (upstreams.at(name) != 0) states += fmt::format(", {} {}", upstreams.at(name).dump(), name);
  }
  std::string classes;
  for (const auto& [name, count] : requests.at("by_class").items()) {
    if (count != 0) classes += fmt::format(", {} {}", count.dump(), name);
  }
  std::string listeners;
  for (const json& one : status.at("listeners")) {
    listeners += (listeners.empty() ? "" : ", ") + one.at("address").get<std::string>();
  }
  const json& config = status.at("config");
  std::string file = text_of(config.at("source"));
  if (!config.at("from_file").get<bool>()) file += ", which says something else than what is in use";
  const std::pair<const char*, std::string> rows[] = {
      {"version", text_of(status.at("version"))},
      {"state", status.at("ready").get<bool>() ? "ready" : "not ready"},
      {"level", text_of(status.at("level"))},
      {"up", duration(status.at("uptime_seconds").get<double>()) + " since " + text_of(status.at("started_at"))},
      {"config", file},
      {"applied", who_applied(config)},
      {"transition", transition_brief(config.at("transition"))},
      {"restart",
       config.at("pending_restart").empty() ? std::string() : "needed for " + joined(config.at("pending_restart"))},
      {"store", store_text(status.at("store"))},
      {"process", fmt::format("pid {}, {} workers", status.at("pid").dump(), status.at("workers").dump())},
      {"listeners", listeners},
      {"connections",
       fmt::format("{} active, {} idle, at most {}; {} accepted", connections.at("active").dump(),
                   connections.at("idle").dump(), connections.at("max").dump(), connections.at("accepted").dump())},
      {"requests",
       fmt::format("{} under way; {} ended{}", requests.at("active").dump(), requests.at("total").dump(), classes)},
      {"routes", status.at("routes").dump()},
      {"upstreams", upstreams.at("total").dump() + states},
  };
  std::string text;
  for (const auto& [name, value] : rows) {
    if (!value.empty()) text += fmt::format("{:<12} {}\n", name, value);
  }
  return text;
}

std::string upstreams_text(const json& page) {
  TextTable table(
      {"UPSTREAM", "STATE", "URL", "IN FLIGHT", "RPS", "ERRORS", "P50 MS", "P95 MS", "P99 MS", "LOAD", "TEMPO"}, 3);
  for (const json& one : page.at("upstreams")) {
    table.add({text_of(one.at("name")), state_of(one) + (one.at("full").get<bool>() ? ",full" : ""),
               text_of(one.at("url")), in_flight_of(one), figure(one.at("rps")), percent(one.at("error_rate")),
               figure(one.at("p50_ms")), figure(one.at("p95_ms")), figure(one.at("p99_ms")),
               figure(one.at("load_resonance")), figure(one.at("tempo_spikiness"))});
  }
  return table.text();
}

std::string routes_text(const json& page) {
  TextTable table({"ROUTE", "POLICY", "UPSTREAMS", "RPS", "ERRORS", "P50 MS", "P95 MS", "P99 MS", "TYPICAL MS"}, 3);
  for (const json& one : page.at("routes")) {
    json names = json::array();
    for (const json& upstream : one.at("upstreams")) {
      const bool weighted = upstream.at("weight") != 1;
      names.push_back(upstream.at("name").get<std::string>() + (weighted ? "*" + upstream.at("weight").dump() : ""));
    }
    table.add({text_of(one.at("name")), text_of(one.at("policy")), joined(names), figure(one.at("rps")),
               percent(one.at("error_rate")), figure(one.at("p50_ms")), figure(one.at("p95_ms")),
               figure(one.at("p99_ms")), figure(one.at("typical_ms"))});
  }
  return table.text();
}

std::string explain_text(const json& page) {
  std::string text = fmt::format("Route {}, policy {}, level {}.\n", text_of(page.at("route")),
                                 text_of(page.at("policy")), text_of(page.at("level")));
  for (const json& worker : page.at("workers")) {
    std::string_view remark;
    if (worker.at("fail_open").get<bool>()) remark = " (nobody is admitted: the least bad one)";
    if (worker.at("waits").get<bool>()) remark = " (all are full: the request waits)";
    text += fmt::format("\nWorker {} would choose {}{}:\n", worker.at("worker").dump(), text_of(worker.at("chosen")),
                        remark);
    TextTable table({"", "UPSTREAM", "STATE", "SCORE", "LATENCY", "ERRORS", "QUEUE", "LOAD", "INTENT", "TEMPO",
                     "IN FLIGHT", "WEIGHT"},
                    3);
    std::string sum;
    std::vector<std::string> reasons;
    for (const json& one : worker.at("candidates")) {
      const bool usable = one.at("usable").get<bool>();
      table.add({one.at("chosen").get<bool>() ? ">" : "", text_of(one.at("upstream")),
                 state_of(one) + (usable ? "" : " (not usable: " + text_of(one.at("unusable")) + ")"),
                 fmt::format("{:.4g}", one.at("score").get<double>()), figure(one.at("latency")),
                 figure(one.at("errors")), figure(one.at("queue")), figure(one.at("load_resonance")),
                 figure(one.at("intent_gap")), figure(one.at("tempo_spikiness")), in_flight_of(one),
                 one.at("weight").dump()});
      if (one.at("w_load") != 0 || one.at("w_intent") != 0 || one.at("w_tempo") != 0) {
        sum = fmt::format("  score = {} * load + {} * intent + {} * tempo; the smallest wins\n",
                          figure(one.at("w_load")), figure(one.at("w_intent")), figure(one.at("w_tempo")));
      }
      const std::string why = text_of(one.at("why"));
      if (!why.empty() && std::ranges::find(reasons, why) == reasons.end()) reasons.push_back(why);
    }
    text += table.text() + sum;
    for (const std::string& why : reasons) text += "  " + why + "\n";
  }
  if (!page.at("unanswered").empty())
    text += "\nNo answer in time from workers " + joined(page.at("unanswered")) + ".\n";
  return text;
}

std::string drained_text(const json& answer) {
  const bool drained = answer.at("drained").get<bool>();
  std::string text = fmt::format("{} {}{}; {} in flight{}.\n", text_of(answer.at("upstream")),
                                 drained ? "gets no new requests" : "gets requests",
                                 answer.at("changed").get<bool>() ? "" : ", as before", answer.at("in_flight").dump(),
                                 drained && answer.at("in_flight") != 0 ? ", which go on to their end" : "");
  if (!answer.at("routes_left_without").empty()) {
    text +=
        "Every upstream is drained of: " + joined(answer.at("routes_left_without")) + ". Requests there get a 503.\n";
  }
  return text;
}

}  // namespace dao

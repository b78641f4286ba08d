#include "config_text.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <utility>
#include <vector>

#include "dao/config/diff.h"
#include "tables.h"

namespace dao {

namespace {

using nlohmann::json;

constexpr std::string_view kPlain = "\x1b[0m";
constexpr std::string_view kAlarm = "\x1b[1;31m";

std::string coloured(std::string_view line, std::string_view colour, Colours colours) {
  return colours == Colours::on ? fmt::format("{}{}{}\n", colour, line, kPlain) : fmt::format("{}\n", line);
}

std::string_view colour_of(char sign) {
  switch (sign) {
    case '+':
      return "\x1b[32m";
    case '-':
      return "\x1b[31m";
    default:
      return "\x1b[33m";
  }
}

// "snapshot 4", or that there is none.
std::string snapshot_name(const json& number) {
  return number.is_null() ? "without a snapshot" : "snapshot " + number.dump();
}

std::string listed(const json& list) {
  std::string text;
  for (const json& one : list) text += (text.empty() ? "" : ", ") + text_of(one);
  return text;
}

// Without why; that is in the snapshot's own answer.
std::string short_outcome(const json& snapshot) {
  const std::string whole = text_of(snapshot.at("outcome"));
  return whole.substr(0, whole.find(':'));
}

std::string counts_text(const json& counts) {
  if (counts.is_null()) return "-";
  std::string text;
  for (const auto& [kind, sign] : {std::pair{"added", "+"}, {"removed", "-"}, {"changed", "~"}, {"moved", "moved "}}) {
    if (counts.at(kind) != 0) text += fmt::format("{}{}{}", text.empty() ? "" : " ", sign, counts.at(kind).dump());
  }
  return text.empty() ? "none" : text;
}

std::string percent(double part) {
  return fmt::format("{:.3g} %", part * 100);
}

}  // namespace

Colours colours_of_output() {
  const char* none = std::getenv("NO_COLOR");
  const bool on = isatty(STDOUT_FILENO) != 0 && (none == nullptr || *none == '\0');
  return on ? Colours::on : Colours::off;
}

std::string who_applied(const json& config) {
  const std::string reason = text_of(config.at("reason"));
  return fmt::format("generation {} ({}), by {} at {}{}", config.at("generation").dump(),
                     snapshot_name(config.at("snapshot")), text_of(config.at("author")),
                     text_of(config.at("applied_at")), reason.empty() ? "" : ": " + reason);
}

std::string store_text(const json& store) {
  if (store.at("kind") == "memory") {
    const std::string why = text_of(store.at("why_in_memory"));
    return "in memory, nothing is kept over a restart" + (why.empty() ? "" : ": " + why);
  }
  const bool healthy = store.at("healthy").get<bool>();
  std::string text = fmt::format("{} {}, {}", text_of(store.at("kind")), text_of(store.at("path")),
                                 healthy ? "healthy" : "CANNOT BE WRITTEN");
  if (store.at("lost") != 0) text += fmt::format(", {} changes lost", store.at("lost").dump());
  return text;
}

std::string alarms_text(const json& status, Colours colours) {
  std::string text;
  const json& config = status.contains("config") ? status.at("config") : status;
  if (!config.at("last_reload_successful").get<bool>()) {
    text += coloured(fmt::format("THE LAST RELOAD FAILED at {}; generation {} is still in use. Why:",
                                 text_of(config.at("last_reload_at")), config.at("generation").dump()),
                     kAlarm, colours);
    text += coloured("  " + text_of(config.at("last_error")), kAlarm, colours);
  }
  if (const json& transition = config.at("transition"); !transition.is_null()) {
    const json& state = transition.at("state");
    const bool stopped = state == "paused" && transition.at("worse").get<bool>();
    if (state == "rolled_back" || stopped) {
      text += coloured(
          fmt::format("THE {} at {}; generation {} is in use. Why:",
                      stopped ? "TRANSITION WAITS FOR YOU since it was found worse" : "LAST TRANSITION WAS ROLLED BACK",
                      text_of(transition.at("state_since")), config.at("generation").dump()),
          kAlarm, colours);
      text += coloured("  " + text_of(transition.at("state_reason")), kAlarm, colours);
    }
  }
  if (!status.contains("store")) return text;
  const json& store = status.at("store");
  if (!store.at("healthy").get<bool>()) {
    text += coloured(
        fmt::format("THE STORE CANNOT BE WRITTEN since {}: {} ({} changes wait)", text_of(store.at("last_error_at")),
                    text_of(store.at("last_error")), store.at("pending").dump()),
        kAlarm, colours);
  }
  return text;
}

std::string config_status_text(const json& status) {
  const bool from_file = status.at("from_file").get<bool>();
  const std::vector<std::pair<const char*, std::string>> rows = {
      {"file", text_of(status.at("source")) + (from_file ? "" : ", which says something else than what is in use")},
      {"generation", status.at("generation").dump()},
      {"snapshot", text_of(status.at("snapshot"))},
      {"etag", text_of(status.at("etag"))},
      {"applied", fmt::format("{} by {}", text_of(status.at("applied_at")), text_of(status.at("author")))},
      {"reason", text_of(status.at("reason"))},
      {"reloads", fmt::format("{} applied, {} failed; the last {}", status.at("reloads_applied").dump(),
                              status.at("reloads_failed").dump(), text_of(status.at("last_reload_at")))},
      {"restart", status.at("pending_restart").empty() ? "" : "needed for " + listed(status.at("pending_restart"))},
  };
  std::string text;
  for (const auto& [name, value] : rows) {
    if (!value.empty()) text += fmt::format("{:<12} {}\n", name, value);
  }
  if (!status.at("transition").is_null()) text += transition_text(status.at("transition"));
  return text;
}

std::string transition_brief(const json& transition) {
  if (transition.is_null() || transition.at("over").get<bool>()) return {};
  return fmt::format("{}: {} of the clients see generation {} ({}); see `daoctl config status`",
                     text_of(transition.at("state")), percent(transition.at("progress").get<double>()),
                     transition.at("generation").dump(), snapshot_name(transition.at("snapshot")));
}

std::string transition_text(const json& transition) {
  const auto seconds = [&](const char* key) { return duration(transition.at(key).get<double>() / 1000); };
  const bool over = transition.at("over").get<bool>();
  std::string text = fmt::format(
      "{:<12} {}{}, to generation {} ({}), by {}\n", "transition", text_of(transition.at("state")),
      over ? "" : ": " + percent(transition.at("progress").get<double>()) + " of the clients see the new configuration",
      transition.at("generation").dump(), snapshot_name(transition.at("snapshot")), text_of(transition.at("author")));
  const auto row = [&text](const std::string& line) { text += fmt::format("{:<12} {}\n", "", line); };
  row(fmt::format(
      "began at {}, {} {}, planned for {}{}{}", text_of(transition.at("began_at")), over ? "took" : "for",
      seconds("elapsed_ms"), seconds("transition_ms"),
      transition.at("waited_ms") == 0 ? "" : "; waited " + seconds("waited_ms") + " for evidence",
      transition.at("waits_for").is_null() ? "" : " (waits now: " + text_of(transition.at("waits_for")) + ")"));
  row(fmt::format("since {}: {}", text_of(transition.at("state_since")), text_of(transition.at("state_reason"))));
  for (const char* name : {"old", "new"}) {
    const json& side = transition.at(name);
    row(fmt::format("{}: {} requests, {} failed, p50 {} ms, p95 {} ms, p99 {} ms", name, side.at("requests").dump(),
                    percent(side.at("error_rate").get<double>()), figure(side.at("p50_ms")), figure(side.at("p95_ms")),
                    figure(side.at("p99_ms"))));
  }
  row(text_of(transition.at("verdict")));
  return text;
}

std::string history_text(const json& page) {
  TextTable table({"", "NUMBER", "APPLIED AT", "CHANGES", "OUTCOME", "AUTHOR", "REASON"}, 7);
  for (const json& one : page.at("snapshots")) {
    table.add({one.at("in_use").get<bool>() ? ">" : "", one.at("number").dump(), text_of(one.at("applied_at")),
               counts_text(one.at("changes")), short_outcome(one), text_of(one.at("author")),
               text_of(one.at("reason"))});
  }
  return table.text();
}

std::string changes_text(const json& changes, Colours colours) {
  constexpr std::pair<std::string_view, config::Change::Kind> kKinds[] = {{"added", config::Change::Kind::added},
                                                                          {"removed", config::Change::Kind::removed},
                                                                          {"changed", config::Change::Kind::changed},
                                                                          {"moved", config::Change::Kind::moved}};
  config::Changes list;
  for (const json& one : changes) {
    config::Change change;
    change.path = one.at("path").get<std::string>();
    for (const auto& [name, kind] : kKinds) {
      if (one.at("kind") == name) change.kind = kind;
    }
    if (one.contains("before")) change.before = one.at("before").dump();
    if (one.contains("after")) change.after = one.at("after").dump();
    if (one.contains("default")) change.fallback = one.at("default").dump();
    change.place_before = one.value("place_before", std::size_t{0});
    change.place_after = one.value("place_after", std::size_t{0});
    list.push_back(std::move(change));
  }
  const std::string plain = config::render_text(list);
  if (colours == Colours::off) return plain;
  std::string text;
  for (std::string_view rest = plain; !rest.empty();) {
    const std::size_t end = rest.find('\n');
    text += coloured(rest.substr(0, end), colour_of(rest.front()), colours);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  return text;
}

std::string diff_text(const json& page, Colours colours) {
  const json& changes = page.at("changes");
  const std::string what = fmt::format("From snapshot {} to {}", page.at("from").dump(),
                                       page.at("to").is_null() ? "the one in use" : snapshot_name(page.at("to")));
  if (changes.empty()) return what + ": no differences.\n";
  return what + ":\n" + changes_text(changes, colours);
}

std::string ordered_text(const json& answer, Colours colours) {
  const json& changes = answer.at("changes");
  const json& result = answer.at("result");
  std::string text;
  if (result == "unchanged" && answer.contains("transition")) {
    text = "A transition to it is under way, and goes on as it is:\n" + transition_text(answer.at("transition"));
  } else if (result == "unchanged") {
    text = fmt::format("It is what is in use: generation {}, {}.\n", answer.at("generation").dump(),
                       snapshot_name(answer.at("snapshot")));
  } else if (result == "valid") {
    text = changes.empty() ? "It is valid, and would change nothing.\n"
                           : "It is valid. Nothing was changed; it would change:\n";
  } else if (result == "transition_begun") {
    const json& transition = answer.at("transition");
    text = fmt::format("Begun: generation {} ({}) takes over in {}. `daoctl config status` tells how it stands.\n",
                       transition.at("generation").dump(), snapshot_name(transition.at("snapshot")),
                       duration(transition.at("transition_ms").get<double>() / 1000));
  } else {
    text = fmt::format("Applied: generation {}, {}.\n", answer.at("generation").dump(),
                       snapshot_name(answer.at("snapshot")));
  }
  if (!changes.is_null()) text += changes_text(changes, colours);
  if (!answer.at("pending_restart").empty()) {
    text += "A restart is needed for " + listed(answer.at("pending_restart")) + ".\n";
  }
  return text;
}

config::Diagnostics diagnostics_from(const json& list) {
  config::Diagnostics diagnostics;
  for (const json& one : list) {
    diagnostics.push_back(
        {.severity = one.at("severity") == "error" ? config::Severity::error : config::Severity::warning,
         .file = one.at("file").get<std::string>(),
         .line = one.at("line").get<std::uint32_t>(),
         .column = one.at("column").get<std::uint32_t>(),
         .key = one.at("key").get<std::string>(),
         .message = one.at("message").get<std::string>(),
         .expected = one.at("expected").get<std::string>(),
         .suggestion = one.at("suggestion").get<std::string>(),
         .source_line = {}});
  }
  return diagnostics;
}

}  // namespace dao

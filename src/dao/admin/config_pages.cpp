#include "dao/admin/config_pages.h"

#include <fmt/format.h>

#include <algorithm>
#include <expected>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dao/admin/times.h"
#include "dao/admin/transition_page.h"
#include "dao/base/json_text.h"
#include "dao/config/check_report.h"
#include "dao/config/diff.h"
#include "dao/config/redact.h"
#include "dao/http/status.h"

namespace dao::admin {

namespace {

using nlohmann::json;
using server::ConfigOutcome;
using server::ConfigStatus;

// Of a snapshot or an outcome; null if there is no telling.
json changes_json(const std::string& changes) {
  if (changes.empty()) return nullptr;
  json list = parse_json(changes);
  return list.is_array() ? list : json(nullptr);
}

// How many changes there are of each kind.
json counts_json(const std::string& changes) {
  const json list = changes_json(changes);
  if (list.is_null()) return nullptr;
  json counts = {{"added", 0}, {"removed", 0}, {"changed", 0}, {"moved", 0}};
  for (const json& change : list) {
    const auto kind = change.is_object() ? change.find("kind") : change.end();
    if (!change.is_object() || kind == change.end() || !kind->is_string()) return nullptr;
    const auto count = counts.find(kind->get<std::string>());
    if (count == counts.end()) return nullptr;
    *count = count->get<std::size_t>() + 1;
  }
  return counts;
}

json diagnostics_json(const config::Diagnostics& diagnostics) {
  return parse_json(config::render_json(diagnostics));
}

json snapshot_json(const memory::Snapshot& snapshot, std::uint64_t in_use) {
  return {{"number", snapshot.number},          {"applied_at", iso_time(snapshot.applied_at)},
          {"author", snapshot.author},          {"reason", snapshot.reason},
          {"outcome", snapshot.outcome},        {"source", snapshot.source},
          {"in_use", snapshot.number == in_use}};
}

Answer unreadable(const std::string& why) {
  return refuse(http::status::kUnavailable, "store_unreadable", "the store cannot be read: " + why);
}

Answer no_such_snapshot(std::uint64_t number) {
  return refuse(http::status::kNotFound, "no_such_snapshot", fmt::format("there is no snapshot {}", number));
}

// The text in use and its status, which belong together.
std::pair<ConfigStatus, std::shared_ptr<const std::string>> in_use(server::Operations& operations) {
  ConfigStatus status = operations.config_status();
  for (;;) {
    std::shared_ptr<const std::string> text = operations.config_text();
    ConfigStatus after = operations.config_status();
    if (after.etag == status.etag) return {std::move(after), std::move(text)};
    status = std::move(after);
  }
}

struct Text {
  std::uint64_t number = 0;  // of its snapshot; 0: it has none
  std::string text;
};

std::expected<Text, Answer> text_of(server::Operations& operations, std::uint64_t number) {
  auto read = operations.store().snapshot(number);
  if (!read) return std::unexpected(unreadable(read.error()));
  if (!*read) return std::unexpected(no_such_snapshot(number));
  return Text{.number = number, .text = std::move((*read)->text)};
}

// The applied one before `number`; 0: the newest applied one.
std::expected<std::uint64_t, Answer> applied_before(server::Operations& operations, std::uint64_t number) {
  constexpr std::size_t kAll = std::numeric_limits<std::uint32_t>::max();
  const auto snapshots = operations.store().snapshots(kAll);
  if (!snapshots) return std::unexpected(unreadable(snapshots.error()));
  const auto found = std::ranges::find_if(*snapshots, [&](const memory::Snapshot& one) {
    return (number == 0 || one.number < number) && one.outcome == memory::kApplied;
  });
  if (found != snapshots->end()) return found->number;
  return std::unexpected(refuse(
      http::status::kNotFound, "no_such_snapshot",
      number == 0 ? std::string("there is no snapshot") : fmt::format("there is no snapshot before {}", number)));
}

std::string_view name_of(ConfigOutcome::Result result) {
  switch (result) {
    case ConfigOutcome::Result::applied:
      return "applied";
    case ConfigOutcome::Result::begun:
      return "transition_begun";
    case ConfigOutcome::Result::unchanged:
      return "unchanged";
    case ConfigOutcome::Result::valid:
      return "valid";
    case ConfigOutcome::Result::invalid:
      return "invalid_config";
    case ConfigOutcome::Result::failed:
      return "not_applied";
    case ConfigOutcome::Result::conflict:
      return "conflict";
    case ConfigOutcome::Result::not_found:
      return "no_such_snapshot";
    case ConfigOutcome::Result::ending:
      return "ending";
  }
  return "not_applied";
}

std::uint16_t status_of(ConfigOutcome::Result result) {
  switch (result) {
    case ConfigOutcome::Result::begun:
      return http::status::kAccepted;
    case ConfigOutcome::Result::applied:
    case ConfigOutcome::Result::unchanged:
    case ConfigOutcome::Result::valid:
      return http::status::kOk;
    case ConfigOutcome::Result::invalid:
      return http::status::kUnprocessable;
    case ConfigOutcome::Result::failed:
      return http::status::kConflict;
    case ConfigOutcome::Result::conflict:
      return http::status::kPreconditionFailed;
    case ConfigOutcome::Result::not_found:
      return http::status::kNotFound;
    case ConfigOutcome::Result::ending:
      return http::status::kUnavailable;
  }
  return http::status::kConflict;
}

}  // namespace

json config_status_json(const ConfigStatus& status) {
  return {{"generation", status.generation},
          {"snapshot", status.snapshot == 0 ? json(nullptr) : json(status.snapshot)},
          {"etag", status.etag},
          {"source", status.source},
          {"author", status.author},
          {"reason", status.reason},
          {"applied_at", iso_time(status.applied_at)},
          {"from_file", status.from_file},
          {"reloads_applied", status.reloads_applied},
          {"reloads_failed", status.reloads_failed},
          {"last_reload_successful", status.last_reload_successful},
          {"last_reload_at", time_or_null(status.last_reload_at)},
          {"last_error", status.last_error},
          {"pending_restart", status.pending_restart},
          {"transition", status.transition ? transition_json(*status.transition) : json(nullptr)}};
}

json store_status_json(const memory::StoreStatus& status) {
  return {{"kind", status.kind},
          {"path", status.path},
          {"why_in_memory", status.why_in_memory},
          {"healthy", status.healthy},
          {"last_error", status.last_error},
          {"last_error_at", time_or_null(status.last_error_at)},
          {"last_flush", time_or_null(status.last_flush)},
          {"pending", status.pending},
          {"pending_bytes", status.pending_bytes},
          {"written", status.written},
          {"flushes", status.flushes},
          {"failures", status.failures},
          {"lost", status.lost},
          {"begun_anew", status.begun_anew},
          {"schema_version", status.schema_version}};
}

Answer config_status_answer(server::Operations& operations) {
  const ConfigStatus status = operations.config_status();
  return {.body = config_status_json(status), .etag = status.etag};
}

Answer config_answer(server::Operations& operations) {
  const auto [status, text] = in_use(operations);
  json page = config_status_json(status);
  page["text"] = config::redact_text(*text);
  return {.body = std::move(page), .etag = status.etag};
}

Answer history_answer(server::Operations& operations, std::size_t limit) {
  const auto snapshots = operations.store().snapshots(limit);
  if (!snapshots) return unreadable(snapshots.error());
  const ConfigStatus status = operations.config_status();
  json list = json::array();
  for (const memory::Snapshot& snapshot : *snapshots) {
    json one = snapshot_json(snapshot, status.snapshot);
    one["changes"] = counts_json(snapshot.changes);
    list.push_back(std::move(one));
  }
  return {.body = {{"snapshots", std::move(list)}}};
}

Answer snapshot_answer(server::Operations& operations, std::uint64_t number) {
  const auto read = operations.store().snapshot(number);
  if (!read) return unreadable(read.error());
  if (!*read) return no_such_snapshot(number);
  json page = snapshot_json(**read, operations.config_status().snapshot);
  page["changes"] = changes_json((*read)->changes);
  page["text"] = config::redact_text((*read)->text);
  return {.body = std::move(page)};
}

Answer diff_answer(server::Operations& operations, std::optional<std::uint64_t> from, std::optional<std::uint64_t> to) {
  Text after;
  if (to) {
    auto read = text_of(operations, *to);
    if (!read) return std::move(read.error());
    after = *std::move(read);
  } else {
    const auto [status, text] = in_use(operations);
    after = {.number = status.snapshot, .text = *text};
  }
  if (!from) {
    const auto before = applied_before(operations, after.number);
    if (!before) return before.error();
    from = *before;
  }
  const auto before = text_of(operations, *from);
  if (!before) return before.error();
  const auto changes = config::diff(before->text, after.text);
  if (!changes) {
    return refuse(http::status::kConflict, "not_comparable",
                  "one of them is no TOML any more: " + config::render_line(changes.error()));
  }
  return {.body = {{"from", *from},
                   {"to", after.number == 0 ? json(nullptr) : json(after.number)},
                   {"changes", changes_json(config::render_json(*changes))}}};
}

Answer outcome_answer(const ConfigOutcome& outcome) {
  constexpr std::uint16_t kOther = 300;
  Answer answer{.status = status_of(outcome.result), .etag = outcome.etag};
  json& body = answer.body;
  body = {{"generation", outcome.generation},
          {"snapshot", outcome.snapshot == 0 ? json(nullptr) : json(outcome.snapshot)},
          {"etag", outcome.etag}};
  if (answer.status < kOther) {
    if (outcome.transition) body["transition"] = transition_json(*outcome.transition);
    body["result"] = name_of(outcome.result);
    const bool unchanged = outcome.result == ConfigOutcome::Result::unchanged;
    body["changes"] = unchanged ? json::array() : changes_json(outcome.changes);
    body["warnings"] = diagnostics_json(outcome.diagnostics);
    body["pending_restart"] = outcome.pending_restart;
    return answer;
  }
  body["error"] = name_of(outcome.result);
  body["detail"] = outcome.error;
  if (outcome.result == ConfigOutcome::Result::invalid) {
    body["detail"] = "the configuration is not valid, nothing was changed: " + outcome.error;
    body["diagnostics"] = diagnostics_json(outcome.diagnostics);
  } else if (outcome.result == ConfigOutcome::Result::failed) {
    body["detail"] = "the configuration is valid but cannot be used, nothing was changed: " + outcome.error;
    body["warnings"] = diagnostics_json(outcome.diagnostics);
  }
  return answer;
}

}  // namespace dao::admin

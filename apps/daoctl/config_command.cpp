#include "config_command.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <string_view>
#include <utility>

#include "config_text.h"
#include "dao/config/check_report.h"
#include "dao/config/load.h"
#include "dao/config/sources.h"
#include "exit_status.h"
#include "show.h"

namespace dao {

namespace {

using nlohmann::json;

// DAO prepares a configuration before it answers: it looks names up and waits for its workers.
constexpr Milliseconds kOrderPatience{90'000};

// Who sits here, for the author of a snapshot: whoever became root by sudo is still who they are.
std::string user_name() {
  if (const char* before_sudo = std::getenv("SUDO_USER"); before_sudo != nullptr && *before_sudo != '\0') {
    return before_sudo;
  }
  const passwd* user = getpwuid(geteuid());
  return user == nullptr ? std::string() : std::string(user->pw_name);
}

// A file and what it includes, as one text; only its syntax is looked at here. As it is if something is wrong with it:
// DAO says what.
std::expected<std::string, std::string> text_to_apply(const std::string& path, config::Sources& sources) {
  if (path == "-") {
    std::string text{std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
    if (std::cin.bad()) return std::unexpected("cannot read standard input");
    return text;
  }
  auto read = config::read_text_file(path);
  if (!read) return std::unexpected(fmt::format("{}: {}", path, read.error()));
  if (read->size() > config::kMaxFileBytes) return std::unexpected(path + ": the file is too large");
  config::LoadAttempt attempt = config::attempt_file(path);
  sources = std::move(attempt.sources);
  if (sources.files.size() < 2) return *std::move(read);
  return config::bundle(sources);
}

// With the lines of the files that were read here, where the answer is about them.
std::string render(const json& list, const config::Sources& sources) {
  config::Diagnostics diagnostics = diagnostics_from(list);
  if (sources.files.size() == 1) {
    // One file goes as a text without a name: DAO calls it by its own file's.
    for (config::Diagnostic& one : diagnostics) one.file = sources.files.front().name;
  }
  config::add_source_lines(diagnostics, sources);
  return config::render_text(diagnostics);
}

}  // namespace

ConfigCommand::ConfigCommand(CommandLine& line, bool& as_json) : as_json_(as_json), by_(user_name()) {
  command_ = line.add_command("config", "the configuration in use, those before it, and others instead of it");
  command_.needs_one_command();
  command_.options_anywhere();
  const auto add = [&](const char* name, const char* what) {
    Command one = command_.add_command(name, what);
    one.add_flag("--json", as_json_, "print the API's answer");
    return one;
  };
  status_ = add("status", "which configuration is in use, and what became of the last reload");
  show_ = add("show", "its text, or that of a snapshot; secrets are left out");
  show_.add_option("snapshot", snapshot_, "the number of a snapshot").from_one().type_name("N");
  history_ = add("history", "the configurations that were applied, the newest first");
  history_.add_option("--limit", limit_, "at most so many").from_one().shows_default();
  diff_ = add("diff", "what differs, by keys and values: what the last change changed, or between A and B");
  diff_.add_option("from", from_, "a snapshot; if none, the one before").from_one().type_name("A");
  diff_.add_option("to", to_, "a snapshot; if none, the one in use").from_one().type_name("B");
  apply_ = add("apply", "use this configuration from now on; `-` reads it from standard input");
  apply_.add_option("file", file_, "the configuration (TOML)").required().type_name("FILE");
  reload_ = add("reload", "read the configuration file again");
  rollback_ = add("rollback", "use the configuration of a snapshot again");
  rollback_.add_option("snapshot", snapshot_, "its number").required().from_one().type_name("N");
  const auto add_signature = [&](Command one) {
    one.add_option("--reason", reason_, "for the history and the log");
    one.add_option("--by", by_, "who does this, for the history and the log").shows_default();
  };
  transition_ = {add("pause", "the transition that is under way goes no further"), add("resume", "it goes on"),
                 add("abort", "it is taken back: every client sees the old configuration"),
                 add("finish", "it is over: every client sees the new configuration")};
  for (Command& one : transition_) add_signature(one);
  for (Command one : {apply_, reload_, rollback_}) {
    add_signature(one);
    over_.push_back(one.add_option("--over", over_ms_,
                                   "gradually, in that time (5m, 90s, 500ms); 0: at once. If not given: as "
                                   "liminal.metamorphic.transition_ms of the configuration says, a rollback at once")
                        .time());
    one.add_option("--if-match", if_match_, "only if the configuration in use has this etag").type_name("ETAG");
    one.add_flag("--dry-run", dry_run_, "prepare it, and say what would change; change nothing");
  }
}

int ConfigCommand::run(const AdminClient& client) const {
  const Colours colours = colours_of_output();
  if (status_.given()) {
    return show(client.get("/v1/config/status"), as_json_,
                [&](const json& status) { return alarms_text(status, colours) + config_status_text(status); });
  }
  if (show_.given()) {
    const std::string path = snapshot_ == 0 ? "/v1/config" : fmt::format("/v1/config/snapshots/{}", snapshot_);
    return show(client.get(path), as_json_, [](const json& page) {
      const auto text = page.at("text").get<std::string>();
      return text.empty() || text.ends_with('\n') ? text : text + "\n";
    });
  }
  if (history_.given()) {
    return show(client.get(fmt::format("/v1/config/history?limit={}", limit_)), as_json_, history_text);
  }
  if (diff_.given()) {
    std::string path = "/v1/config/diff";
    if (from_ != 0) path += fmt::format("?from={}", from_);
    if (to_ != 0) path += fmt::format("&to={}", to_);
    return show(client.get(path), as_json_, [&](const json& page) { return diff_text(page, colours); });
  }
  if (apply_.given()) return apply(client);
  if (reload_.given()) return order(client, "/v1/config/reload", {}, {});
  for (const Command& one : transition_) {
    if (one.given()) return order_transition(client, one.name());
  }
  return order(client, fmt::format("/v1/config/rollback/{}", snapshot_), {}, {});
}

int ConfigCommand::apply(const AdminClient& client) const {
  config::Sources sources;
  auto text = text_to_apply(file_, sources);
  if (!text) return tell(text.error(), kFailed);
  if (text->empty()) return tell(file_ + ": there is nothing in it", kFailed);
  return order(client, "/v1/config", *std::move(text), sources);
}

std::string ConfigCommand::signature() const {
  std::string query;
  if (!reason_.empty()) query += "&reason=" + percent_encoded(reason_);
  if (!by_.empty()) query += "&by=" + percent_encoded(by_);
  return query;
}

int ConfigCommand::order_transition(const AdminClient& client, const std::string& what) const {
  std::string query = signature();
  if (!query.empty()) query.front() = '?';
  const auto answer =
      client.post(fmt::format("/v1/config/transition/{}{}", what, query), ApiBody{.patience = kOrderPatience});
  return show(answer, as_json_, [](const json& page) { return transition_text(page.at("transition")); });
}

int ConfigCommand::order(const AdminClient& client, const std::string& path, std::string text,
                         const config::Sources& sources) const {
  std::string target = path + (dry_run_ ? "?dry_run=true" : "?dry_run=false");
  target += signature();
  if (std::ranges::any_of(over_, &Option::given)) {
    target += fmt::format("&over_ms={}", over_ms_);
  }
  std::string_view etag = if_match_;
  if (etag.size() > 1 && etag.starts_with('"') && etag.ends_with('"')) etag = etag.substr(1, etag.size() - 2);
  const auto answer = client.post(target, ApiBody{.text = std::move(text),
                                                  .content_type = "application/toml",
                                                  .if_match = std::string(etag),
                                                  .patience = kOrderPatience});
  try {
    const json& said = answer ? *answer : answer.error().answer;
    for (const char* list : {"warnings", "diagnostics"}) {
      if (said.is_object() && said.contains(list)) fmt::print(stderr, "{}", render(said.at(list), sources));
    }
    // A program wants the diagnostics as they are.
    if (!answer && as_json_ && said.is_object()) fmt::print("{}\n", said.dump(2));
    // Its first line is there already, and by the name that it has here.
    const bool told = said.is_object() && said.contains("diagnostics");
    if (!answer && told) return tell("the configuration is not valid, nothing was changed", kFailed);
  } catch (const json::exception& odd) {
    return tell(fmt::format("DAO's answer is not what this daoctl understands: {}", odd.what()), kFailed);
  }
  return show(answer, as_json_, [](const json& done) { return ordered_text(done, colours_of_output()); });
}

}  // namespace dao

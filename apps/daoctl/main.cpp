// The `daoctl` program: asks a running DAO, and tells it, over the admin API (docs/daoctl.md).
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "client.h"
#include "command_line/command_line.h"
#include "completions.h"
#include "config_command.h"
#include "config_text.h"
#include "exit_status.h"
#include "show.h"
#include "tables.h"
#include "top.h"

namespace {

using dao::AdminClient;
using dao::show;
using dao::tell;
using nlohmann::json;
// The names of what there is, one a line; for completions.
std::string names_text(const json& page) {
  std::string text;
  for (const char* list : {"upstreams", "routes"}) {
    if (!page.contains(list)) continue;
    for (const json& one : page.at(list)) text += one.at("name").get<std::string>() + "\n";
  }
  if (page.contains("snapshots")) {
    for (const json& one : page.at("snapshots")) text += one.at("number").dump() + "\n";
  }
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  dao::CommandLine line("daoctl", "Asks a running DAO how it is, and tells it what to do");
  line.version(DAO_VERSION);
  line.needs_one_command();
  line.options_anywhere();

  std::string address = dao::default_admin_address();
  std::string token_file;
  bool as_json = false;
  line.add_option("--admin", address, "where the admin API is: host:port or unix:/path (or DAO_ADMIN)")
      .type_name("ADDRESS")
      .shows_default();
  line.add_option("--token-file", token_file, "a file with the token of the admin API (or DAO_ADMIN_TOKEN_FILE)")
      .type_name("FILE")
      .environment("DAO_ADMIN_TOKEN_FILE");
  const auto add = [&](const char* name, const char* what) {
    dao::Command command = line.add_command(name, what);
    command.add_flag("--json", as_json, "print the API's answer");
    return command;
  };

  dao::Command status = add("status", "how DAO is");
  dao::Command upstreams = add("upstreams", "the upstreams and their figures");
  dao::Command routes = add("routes", "the rules, their policies and figures");

  std::string route;
  std::string intent;
  std::string key;
  dao::Command explain =
      add("explain", "why the next request of a route would go where it goes: every term of the score");
  explain.add_option("route", route, "the name of the rule").required().type_name("ROUTE");
  explain.add_option("--intent", intent, "the traffic class of the request");
  explain.add_option("--key", key, "what a policy that keeps requests together goes by");
  std::string side;
  explain.add_option("--side", side, "while a configuration takes over gradually: by the old one or the new one")
      .one_of({"old", "new"})
      .type_name("old|new");

  dao::TopOptions top_options;
  double interval = 1;
  dao::Command top = add("top", "the figures, live");
  constexpr double kShortest = 0.1;
  constexpr double kLongest = 3600;
  top.add_option("--interval", interval, "seconds between two looks").range(kShortest, kLongest).shows_default();
  top.add_option("--count", top_options.count, "end after so many looks; 0: never").shows_default();

  std::string upstream;
  std::string reason;
  dao::Command drain = add("drain", "send an upstream no new requests; what is under way goes on");
  dao::Command undrain = add("undrain", "send an upstream requests again");
  for (dao::Command command : {drain, undrain}) {
    command.add_option("upstream", upstream, "the name of the upstream").required().type_name("UPSTREAM");
    command.add_option("--reason", reason, "for DAO's log");
  }

  const dao::ConfigCommand config(line, as_json);

  std::string shell;
  dao::Command completions = line.add_command("completions", "print a completion script for a shell");
  completions.add_option("shell", shell, "bash, zsh or fish").required().one_of({"bash", "zsh", "fish"});
  std::string kind;
  dao::Command names =
      line.add_command("names", "print the names of upstreams or routes, or the numbers of snapshots, for completions");
  names.add_option("kind", kind, "upstreams, routes or snapshots")
      .required()
      .one_of({"upstreams", "routes", "snapshots"});

  if (const auto ended = line.parse(argc, argv)) return *ended;
  if (completions.given()) {
    const std::string script = dao::completions_for(line, shell);
    return std::fwrite(script.data(), 1, script.size(), stdout) == script.size() && std::fflush(stdout) == 0
               ? dao::kSuccess
               : dao::kFailed;
  }

  auto parsed = dao::parse_admin_address(address);
  if (!parsed) return tell(parsed.error(), dao::kUsage);
  std::string token;
  if (!token_file.empty()) {
    auto read = dao::read_token_file(token_file);
    if (!read) return tell(read.error(), dao::kFailed);
    token = *std::move(read);
  }
  const AdminClient client(*std::move(parsed), std::move(token));

  if (status.given()) {
    return show(client.get("/v1/status"), as_json, [](const json& page) {
      return dao::alarms_text(page, dao::colours_of_output()) + dao::status_text(page);
    });
  }
  if (config.given()) return config.run(client);
  if (upstreams.given()) return show(client.get("/v1/upstreams"), as_json, dao::upstreams_text);
  if (routes.given()) return show(client.get("/v1/routes"), as_json, dao::routes_text);
  if (names.given())
    return show(client.get(kind == "snapshots" ? "/v1/config/history" : "/v1/" + kind), false, names_text);
  if (explain.given()) {
    std::string target = "/v1/explain/" + dao::percent_encoded(route);
    char sign = '?';
    for (const auto& [name, value] : {std::pair{"intent", &intent}, {"key", &key}, {"side", &side}}) {
      if (value->empty()) continue;
      target += fmt::format("{}{}={}", std::exchange(sign, '&'), name, dao::percent_encoded(*value));
    }
    return show(client.get(target), as_json, dao::explain_text);
  }
  if (top.given()) {
    constexpr double kMillisecondsPerSecond = 1000;
    top_options.interval = dao::Milliseconds(static_cast<std::int64_t>(interval * kMillisecondsPerSecond));
    top_options.json = as_json;
    try {
      return dao::top_command(client, top_options);
    } catch (const json::exception& odd) {
      return tell(fmt::format("DAO's answer is not what this daoctl understands: {}", odd.what()), dao::kFailed);
    }
  }
  const std::string target =
      "/v1/upstreams/" + dao::percent_encoded(upstream) + (drain.given() ? "/drain" : "/undrain");
  const json body = reason.empty() ? json(nullptr) : json{{"reason", reason}};
  return show(client.post(target, body), as_json, dao::drained_text);
}

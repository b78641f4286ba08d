// The `dao` program: its command line, nothing else.
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>

#include "command_line/command_line.h"
#include "dao/admin/admin_service.h"
#include "dao/base/log.h"
#include "dao/check/check_command.h"
#include "dao/config/check_report.h"
#include "dao/config/load.h"
#include "dao/config/reference.h"
#include "dao/server/server.h"
#include "dao/server/version.h"
#include "dao/telemetry/access_log_format.h"
#include "dao/telemetry/metrics.h"
#include "demo_command.h"
#include "simulate_command.h"

namespace {

int run(const std::string& path) {
  auto file = dao::config::attempt_file(path);
  if (!file.result) {
    std::cerr << dao::config::render_text(file.result.error());
    return 1;
  }
  if (!file.result->warnings.empty()) std::cerr << dao::config::render_text(file.result->warnings);
  dao::admin::Factory admin;
  return dao::server::run(std::move(file), admin);
}

int print_page(const std::string& page) {
  if (page == "config") {
    std::cout << dao::config::render_reference();
  } else if (page == "schema") {
    std::cout << dao::config::render_json_schema();
  } else if (page == "metrics") {
    std::cout << dao::telemetry::render_metrics_reference();
  } else {
    std::cout << dao::telemetry::render_access_log_reference();
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  dao::CommandLine line("dao", "DAO, a reverse proxy that watches its own traffic");
  line.version(std::string{dao::server::kVersion});
  line.takes_one_command();

  std::string config_path;
  const std::string config_help = "the configuration file (TOML; docs/config-reference.md)";
  line.add_option("-c,--config", config_path, config_help).type_name("FILE");

  dao::Command run_command = line.add_command("run", "serve (also: dao --config FILE)");
  run_command.add_option("-c,--config", config_path, config_help).type_name("FILE").required();

  bool json = false;
  dao::check::Options check_options;
  dao::Command check_command =
      line.add_command("check", "say what is wrong with a configuration; exit status 1 if anything is");
  check_command.add_option("-c,--config,file", config_path, config_help).type_name("FILE").required();
  check_command.add_flag("--json", json, "print the findings as JSON");
  check_command.add_flag("--text-only", check_options.text_only, "do not look at the files that it names");
  check_command.add_flag("--deep", check_options.deep, "look names of upstreams up, and connect to them");

  dao::DemoOptions demo;
  constexpr std::uint64_t kMostRate = 1000;
  dao::Command demo_command = line.add_command(
      "demo", "the newcomer's minute: DAO before three servers, under a light load, with live figures");
  demo_command.add_option("--bind", demo.bind, "where the proxy listens").type_name("ADDRESS").shows_default();
  demo_command.add_option("--seconds", demo.seconds, "end by itself; 0: until Ctrl-C").shows_default();
  demo_command.add_option("--rate", demo.rate, "requests per second; 0: no load").range(0, kMostRate).shows_default();

  dao::SimulateOptions simulation;
  dao::Command simulate_command =
      line.add_command("simulate", "compare policies in virtual time; exit status 1 if an expectation is not met");
  simulate_command.add_option("scenario", simulation.scenarios, "scenario files (TOML; docs/simulate.md)")
      .type_name("FILE")
      .required();
  simulate_command.add_option("--policy", simulation.policies, "only these, separated by commas")
      .type_name("NAME")
      .separated_by(',');
  simulate_command.add_option("--seed", simulation.seed, "another seed than the scenario's");
  simulate_command.add_option("--requests", simulation.requests, "how many arrive, instead of the scenario's length")
      .from_one();
  simulate_command.add_option("--trace", simulation.trace, "requests per step, instead of the scenario's arrivals")
      .type_name("FILE");
  simulate_command.add_flag("--json", simulation.json, "print JSON");

  std::string page;
  dao::Command docs_command = line.add_command("docs", "print a generated reference page");
  docs_command.add_option("page", page, "config, schema, metrics or access-log")
      .required()
      .one_of({"config", "schema", "metrics", "access-log"});

  if (const auto status = line.parse(argc, argv)) return *status;
  if (check_command.given()) {
    dao::log::set_level(dao::log::Level::error);  // the report says it all
    check_options.format = json ? dao::config::ReportFormat::json : dao::config::ReportFormat::text;
    return dao::check::check(config_path, check_options, std::cout);
  }
  if (demo_command.given()) return dao::demo_command(demo);
  if (simulate_command.given()) return dao::simulate_command(simulation);
  if (docs_command.given()) return print_page(page);
  if (config_path.empty()) {
    std::cerr << line.help();
    return 2;
  }
  return run(config_path);
}

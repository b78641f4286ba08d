// The `dao` program: its command line, nothing else.
#include <CLI/CLI.hpp>

#include <cstdio>
#include <iostream>
#include <memory>
#include <string>

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
  CLI::App app{"DAO, a reverse proxy that watches its own traffic", "dao"};
  app.set_version_flag("--version", std::string{dao::server::kVersion});
  app.get_formatter()->column_width(32);
  app.require_subcommand(0, 1);

  std::string config_path;
  const std::string config_help = "the configuration file (TOML; docs/config-reference.md)";
  app.add_option("-c,--config", config_path, config_help)->type_name("FILE");

  CLI::App* run_command = app.add_subcommand("run", "serve (also: dao --config FILE)");
  run_command->add_option("-c,--config", config_path, config_help)->type_name("FILE")->required();

  bool json = false;
  dao::check::Options check_options;
  CLI::App* check_command =
      app.add_subcommand("check", "say what is wrong with a configuration; exit status 1 if anything is");
  check_command->add_option("-c,--config,file", config_path, config_help)->type_name("FILE")->required();
  check_command->add_flag("--json", json, "print the findings as JSON");
  check_command->add_flag("--text-only", check_options.text_only, "do not look at the files that it names");
  check_command->add_flag("--deep", check_options.deep, "look names of upstreams up, and connect to them");

  dao::DemoOptions demo;
  CLI::App* demo_command = app.add_subcommand(
      "demo", "the newcomer's minute: DAO before three servers, under a light load, with live figures");
  demo_command->add_option("--bind", demo.bind, "where the proxy listens")->type_name("ADDRESS")->capture_default_str();
  demo_command->add_option("--seconds", demo.seconds, "end by itself; 0: until Ctrl-C")->capture_default_str();
  demo_command->add_option("--rate", demo.rate, "requests per second; 0: no load")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();

  dao::SimulateOptions simulation;
  CLI::App* simulate_command =
      app.add_subcommand("simulate", "compare policies in virtual time; exit status 1 if an expectation is not met");
  simulate_command->add_option("scenario", simulation.scenarios, "scenario files (TOML; docs/simulate.md)")
      ->type_name("FILE")
      ->required();
  simulate_command->add_option("--policy", simulation.policies, "only these, separated by commas")
      ->type_name("NAME")
      ->delimiter(',');
  simulate_command->add_option("--seed", simulation.seed, "another seed than the scenario's");
  simulate_command->add_option("--requests", simulation.requests, "how many arrive, instead of the scenario's length")
      ->check(CLI::PositiveNumber);
  simulate_command->add_option("--trace", simulation.trace, "requests per step, instead of the scenario's arrivals")
      ->type_name("FILE");
  simulate_command->add_flag("--json", simulation.json, "print JSON");

  std::string page;
  CLI::App* docs_command = app.add_subcommand("docs", "print a generated reference page");
  docs_command->add_option("page", page, "config, schema, metrics or access-log")
      ->required()
      ->check(CLI::IsMember({"config", "schema", "metrics", "access-log"}));

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    constexpr int kUsage = 2;
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  if (*check_command) {
    dao::log::set_level(dao::log::Level::error);  // the report says it all
    check_options.format = json ? dao::config::ReportFormat::json : dao::config::ReportFormat::text;
    return dao::check::check(config_path, check_options, std::cout);
  }
  if (*demo_command) return dao::demo_command(demo);
  if (*simulate_command) return dao::simulate_command(simulation);
  if (*docs_command) return print_page(page);
  if (config_path.empty()) {
    std::cerr << app.help();
    return 2;
  }
  return run(config_path);
}

#include "command_line/command_line.h"

#include <CLI/CLI.hpp>
#include <cstddef>
#include <map>
#include <utility>

namespace dao {

namespace {

constexpr std::size_t kHelpColumn = 32;
constexpr int kUsage = 2;

}  // namespace

Option Option::required() {
  option_->required();
  return *this;
}

Option Option::type_name(const std::string& name) {
  option_->type_name(name);
  return *this;
}

Option Option::shows_default() {
  option_->capture_default_str();
  return *this;
}

Option Option::environment(const std::string& variable) {
  option_->envname(variable);
  return *this;
}

Option Option::separated_by(char delimiter) {
  option_->delimiter(delimiter);
  return *this;
}

Option Option::one_of(const std::vector<std::string>& values) {
  option_->check(CLI::IsMember(values));
  return *this;
}

Option Option::range(std::uint64_t least, std::uint64_t most) {
  option_->check(CLI::Range(least, most));
  return *this;
}

Option Option::range(double least, double most) {
  option_->check(CLI::Range(least, most));
  return *this;
}

Option Option::from_one() {
  return check([](const std::string& text) {
    const bool digits = text.find_first_not_of("0123456789") == std::string::npos;
    return digits && text.find_first_not_of('0') != std::string::npos ? std::string() : text + " is no number from 1";
  });
}

Option Option::check(std::function<std::string(const std::string& value)> what_is_wrong) {
  option_->check(std::move(what_is_wrong));
  return *this;
}

Option Option::time() {
  const std::map<std::string, std::uint64_t> units{{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}};
  option_->transform(CLI::AsNumberWithUnit(units, CLI::AsNumberWithUnit::CASE_SENSITIVE, "TIME"));
  return type_name("TIME");
}

bool Option::given() const {
  return option_->count() > 0;
}

Command Command::add_command(const std::string& name, const std::string& help) {
  return Command(app_->add_subcommand(name, help));
}

Option Command::add_option(const std::string& names, std::string& variable, const std::string& help) {
  return Option(app_->add_option(names, variable, help));
}

Option Command::add_option(const std::string& names, std::vector<std::string>& variable, const std::string& help) {
  return Option(app_->add_option(names, variable, help));
}

Option Command::add_option(const std::string& names, std::uint64_t& variable, const std::string& help) {
  return Option(app_->add_option(names, variable, help));
}

Option Command::add_option(const std::string& names, std::optional<std::uint64_t>& variable, const std::string& help) {
  return Option(app_->add_option(names, variable, help));
}

Option Command::add_option(const std::string& names, double& variable, const std::string& help) {
  return Option(app_->add_option(names, variable, help));
}

Option Command::add_option(const std::string& names, std::function<void(const std::string& value)> take,
                           const std::string& help) {
  return Option(app_->add_option_function<std::string>(names, take, help));
}

Option Command::add_flag(const std::string& names, bool& variable, const std::string& help) {
  return Option(app_->add_flag(names, variable, help));
}

void Command::needs_one_command() {
  app_->require_subcommand(1);
}

void Command::takes_one_command() {
  app_->require_subcommand(0, 1);
}

void Command::options_anywhere() {
  app_->fallthrough();
}

bool Command::given() const {
  return app_->parsed();
}

std::string Command::name() const {
  return app_->get_name();
}

std::string Command::what() const {
  return app_->get_description();
}

std::vector<std::string> Command::long_options() const {
  std::vector<std::string> names;
  for (const CLI::Option* option : std::as_const(*app_).get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::vector<Command> Command::commands() const {
  std::vector<Command> commands;
  for (CLI::App* one : app_->get_subcommands([](CLI::App*) { return true; })) commands.emplace_back(one);
  return commands;
}

CommandLine::CommandLine(const std::string& name, const std::string& description)
    : owned_(std::make_unique<CLI::App>(description, name)) {
  app_ = owned_.get();
  app_->get_formatter()->column_width(kHelpColumn);
}

CommandLine::~CommandLine() = default;

void CommandLine::version(const std::string& text) {
  app_->set_version_flag("--version", text);
}

void CommandLine::footer(std::function<std::string()> text) {
  app_->footer(std::move(text));
}

std::optional<int> CommandLine::parse(int argc, char** argv) {
  try {
    app_->parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app_->exit(error) == 0 ? 0 : kUsage;
  }
  return std::nullopt;
}

std::string CommandLine::help() const {
  return app_->help();
}

}  // namespace dao

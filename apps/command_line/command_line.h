// The command lines of the programs: what they use of CLI11. That is headers only, so that each program would compile
// all of it, which takes longer than the rest of some.
//
// A Command or an Option is a handle to what its CommandLine owns, and is valid as long as that. Variables that are
// given to it are written by parse() and must live until then. One thread; for programs at their start.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace dao {

class Option {
 public:
  explicit Option(CLI::Option* option) : option_(option) {}

  Option required();
  // What the help calls a value.
  Option type_name(const std::string& name);
  // The help says what the variable holds before parse().
  Option shows_default();
  // Where the value comes from if the command line has none.
  Option environment(const std::string& variable);
  Option separated_by(char delimiter);
  Option one_of(const std::vector<std::string>& values);
  Option range(std::uint64_t least, std::uint64_t most);
  Option range(double least, double most);
  Option from_one();
  // `what_is_wrong` with a value; empty: nothing.
  Option check(std::function<std::string(const std::string& value)> what_is_wrong);
  // A time and its unit, "90s" (ms, s, m or h; without one: ms): the variable gets milliseconds.
  Option time();

  // Whether the command line has it.
  [[nodiscard]] bool given() const;

 private:
  CLI::Option* option_;
};

class Command {
 public:
  Command() = default;  // of nothing
  explicit Command(CLI::App* app) : app_(app) {}

  Command add_command(const std::string& name, const std::string& help);
  // `names`: "-c,--config", or "route" for a value that stands for itself.
  Option add_option(const std::string& names, std::string& variable, const std::string& help);
  Option add_option(const std::string& names, std::vector<std::string>& variable, const std::string& help);
  Option add_option(const std::string& names, std::uint64_t& variable, const std::string& help);
  Option add_option(const std::string& names, std::optional<std::uint64_t>& variable, const std::string& help);
  Option add_option(const std::string& names, double& variable, const std::string& help);
  // `take` is called with the value.
  Option add_option(const std::string& names, std::function<void(const std::string& value)> take,
                    const std::string& help);
  Option add_flag(const std::string& names, bool& variable, const std::string& help);

  // How many of the commands below it may be given: one, or at most one; else any number of them.
  void needs_one_command();
  void takes_one_command();
  // Options of this command may stand behind one below it.
  void options_anywhere();

  // Whether the command line has it.
  [[nodiscard]] bool given() const;
  [[nodiscard]] std::string name() const;
  [[nodiscard]] std::string what() const;  // its help
  // "--json"
  [[nodiscard]] std::vector<std::string> long_options() const;
  [[nodiscard]] std::vector<Command> commands() const;

 protected:
  CLI::App* app_ = nullptr;
};

class CommandLine : public Command {
 public:
  // `name`: the program's.
  CommandLine(const std::string& name, const std::string& description);
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  // What --version prints.
  void version(const std::string& text);
  // Behind the help.
  void footer(std::function<std::string()> text);

  // The status to end with at once, having printed the help, the version or what is wrong: 0, or 2 for a command line
  // that makes no sense. Nothing: go on.
  [[nodiscard]] std::optional<int> parse(int argc, char** argv);
  [[nodiscard]] std::string help() const;

 private:
  std::unique_ptr<CLI::App> owned_;
};

}  // namespace dao

#include "completions.h"

#include <fmt/format.h>

#include <vector>

namespace dao {

namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

std::string names_of(const std::vector<Command>& commands) {
  std::string names;
  for (const Command& command : commands) names += (names.empty() ? "" : " ") + command.name();
  return names;
}

// What stands in single quotes in a shell.
std::string shell_text(std::string_view text) {
  std::string result;
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result;
}

// The names that a command takes, one a line: the names of `daoctl names KIND`.
constexpr std::string_view kUpstreamCommands = "drain|undrain";
// Commands below another are "config show".
constexpr std::string_view kSnapshotCommands = "'config show'|'config diff'|'config rollback'";

std::string bash(const std::vector<Command>& commands, const std::vector<std::string>& options) {
  std::string cases;
  std::string groups;
  for (const Command& command : commands) {
    cases += fmt::format("    '{}') words='{} {}' ;;\n", command.name(), names_of(command.commands()),
                         joined(command.long_options()));
    if (command.commands().empty()) continue;
    groups += (groups.empty() ? "" : "|") + command.name();
    for (const Command& below : command.commands()) {
      cases += fmt::format("    '{} {}') words='{}' ;;\n", command.name(), below.name(), joined(below.long_options()));
    }
  }
  return fmt::format(
      "# bash completion for daoctl; load it with: source <(daoctl completions bash)\n"
      "_daoctl() {{\n"
      "  local current=\"${{COMP_WORDS[COMP_CWORD]}}\" previous=\"${{COMP_WORDS[COMP_CWORD-1]}}\" command='' words='' "
      "i\n"
      "  COMPREPLY=()\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    case \"${{COMP_WORDS[i]}}\" in\n"
      "      --admin|--token-file) ((i++)) ;;\n"
      "      -*) ;;\n"
      "      *) case \"$command\" in\n"
      "           '') command=\"${{COMP_WORDS[i]}}\" ;;\n"
      "           {}) command+=\" ${{COMP_WORDS[i]}}\"; break ;;\n"
      "           *) break ;;\n"
      "         esac ;;\n"
      "    esac\n"
      "  done\n"
      "  case \"$previous\" in\n"
      "    --token-file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$current\"); "
      "return ;;\n"
      "    --admin|--interval|--count|--reason|--intent|--key|--by|--if-match|--limit|--over|--side) return ;;\n"
      "  esac\n"
      "  case \"$command\" in\n"
      "    '') words='{} {}' ;;\n"
      "{}"
      "  esac\n"
      "  if [[ $current != -* ]]; then\n"
      "    case \"$command\" in\n"
      "      {}) words=$(daoctl names upstreams 2>/dev/null) ;;\n"
      "      explain) words=$(daoctl names routes 2>/dev/null) ;;\n"
      "      {}) words=$(daoctl names snapshots 2>/dev/null) ;;\n"
      "      'config apply') compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$current\"); "
      "return ;;\n"
      "      completions) words='bash zsh fish' ;;\n"
      "    esac\n"
      "  fi\n"
      "  mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$current\")\n"
      "}}\n"
      "complete -F _daoctl daoctl\n",
      groups, names_of(commands), joined(options), cases, kUpstreamCommands, kSnapshotCommands);
}

std::string zsh(const std::vector<Command>& commands, const std::vector<std::string>& options) {
  std::string list;
  std::string cases;
  std::string groups;
  for (const Command& command : commands) {
    std::string what = command.what();
    for (char& c : what) c = c == ':' ? ';' : c;
    list += fmt::format("    '{}:{}'\n", command.name(), shell_text(what));
    cases += fmt::format("    '{}') offers=({} {}) ;;\n", command.name(), names_of(command.commands()),
                         joined(command.long_options()));
    if (command.commands().empty()) continue;
    groups += (groups.empty() ? "" : "|") + command.name();
    for (const Command& below : command.commands()) {
      cases += fmt::format("    '{} {}') offers=({}) ;;\n", command.name(), below.name(), joined(below.long_options()));
    }
  }
  return fmt::format(
      "#compdef daoctl\n"
      "# zsh completion for daoctl; load it with: source <(daoctl completions zsh)\n"
      "_daoctl() {{\n"
      "  local -a commands offers\n"
      "  local command='' i\n"
      "  commands=(\n{}  )\n"
      "  for ((i = 2; i < CURRENT; i++)); do\n"
      "    case \"${{words[i]}}\" in\n"
      "      --admin|--token-file) ((i++)) ;;\n"
      "      -*) ;;\n"
      "      *) case \"$command\" in\n"
      "           '') command=\"${{words[i]}}\" ;;\n"
      "           {}) command+=\" ${{words[i]}}\"; break ;;\n"
      "           *) break ;;\n"
      "         esac ;;\n"
      "    esac\n"
      "  done\n"
      "  if [[ -z $command ]]; then\n"
      "    _describe 'command' commands\n"
      "    compadd -- {}\n"
      "    return\n"
      "  fi\n"
      "  case \"$command\" in\n"
      "{}"
      "  esac\n"
      "  case \"$command\" in\n"
      "    {}) offers+=(${{(f)\"$(daoctl names upstreams 2>/dev/null)\"}}) ;;\n"
      "    explain) offers+=(${{(f)\"$(daoctl names routes 2>/dev/null)\"}}) ;;\n"
      "    {}) offers+=(${{(f)\"$(daoctl names snapshots 2>/dev/null)\"}}) ;;\n"
      "    'config apply') _files ;;\n"
      "    completions) offers+=(bash zsh fish) ;;\n"
      "  esac\n"
      "  compadd -- $offers\n"
      "}}\n"
      "compdef _daoctl daoctl\n",
      list, groups, joined(options), cases, kUpstreamCommands, kSnapshotCommands);
}

std::string fish(const std::vector<Command>& commands, const std::vector<std::string>& options) {
  std::string text =
      "# fish completion for daoctl; load it with: daoctl completions fish | source\ncomplete -c daoctl -f\n";
  for (const std::string& option : options) {
    text += fmt::format("complete -c daoctl -l {}{}\n", option.substr(2), option == "--token-file" ? " -rF" : "");
  }
  for (const Command& command : commands) {
    text += fmt::format("complete -c daoctl -n __fish_use_subcommand -a {} -d '{}'\n", command.name(),
                        shell_text(command.what()));
    for (const std::string& option : command.long_options()) {
      text += fmt::format("complete -c daoctl -n '__fish_seen_subcommand_from {}' -l {}\n", command.name(),
                          option.substr(2));
    }
  }
  for (const Command& command : commands) {
    const std::string below_names = names_of(command.commands());
    for (const Command& below : command.commands()) {
      const std::string here = fmt::format("__fish_seen_subcommand_from {}; and ", command.name());
      text += fmt::format("complete -c daoctl -n '{}not __fish_seen_subcommand_from {}' -a {} -d '{}'\n", here,
                          below_names, below.name(), shell_text(below.what()));
      for (const std::string& option : below.long_options()) {
        text += fmt::format("complete -c daoctl -n '{}__fish_seen_subcommand_from {}' -l {}\n", here, below.name(),
                            option.substr(2));
      }
    }
  }
  return text +
         "complete -c daoctl -n '__fish_seen_subcommand_from config; and __fish_seen_subcommand_from show diff "
         "rollback' -a '(daoctl names snapshots 2>/dev/null)'\n"
         "complete -c daoctl -n '__fish_seen_subcommand_from config; and __fish_seen_subcommand_from apply' -F\n"
         "complete -c daoctl -n '__fish_seen_subcommand_from drain undrain' -a '(daoctl names upstreams 2>/dev/null)'\n"
         "complete -c daoctl -n '__fish_seen_subcommand_from explain' -a '(daoctl names routes 2>/dev/null)'\n"
         "complete -c daoctl -n '__fish_seen_subcommand_from completions' -a 'bash zsh fish'\n";
}

}  // namespace

std::string completions_for(const CommandLine& line, std::string_view shell) {
  const std::vector<Command> commands = line.commands();
  const std::vector<std::string> options = line.long_options();
  if (shell == "zsh") return zsh(commands, options);
  if (shell == "fish") return fish(commands, options);
  return bash(commands, options);
}

}  // namespace dao

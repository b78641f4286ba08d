// `daoctl config ...`: the configuration in use, those before it, and others instead of it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "client.h"
#include "command_line/command_line.h"
#include "dao/config/sources.h"

namespace dao {

class ConfigCommand {
 public:
  // Adds itself to `line`; both live until run(). `as_json`: what --json sets.
  ConfigCommand(CommandLine& line, bool& as_json);

  // Whether the command line has it.
  [[nodiscard]] bool given() const { return command_.given(); }
  // The exit status.
  [[nodiscard]] int run(const AdminClient& client) const;

 private:
  [[nodiscard]] int apply(const AdminClient& client) const;
  [[nodiscard]] int order_transition(const AdminClient& client, const std::string& what) const;
  [[nodiscard]] std::string signature() const;
  [[nodiscard]] int order(const AdminClient& client, const std::string& path, std::string text,
                          const config::Sources& sources) const;

  bool& as_json_;
  Command command_;
  Command status_;
  Command show_;
  Command history_;
  Command diff_;
  Command apply_;
  Command reload_;
  Command rollback_;
  std::vector<Command> transition_;  // pause, resume, abort, finish
  std::uint64_t snapshot_ = 0;
  std::uint64_t from_ = 0;
  std::uint64_t to_ = 0;
  std::uint64_t limit_ = 20;
  std::string file_;
  std::string reason_;
  std::string by_;
  std::string if_match_;
  bool dry_run_ = false;
  std::uint64_t over_ms_ = 0;
  std::vector<Option> over_;  // of those that take it
};

}  // namespace dao

// `daoctl config ...`: the configuration in use, those before it, and others instead of it.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "client.h"
#include "dao/config/sources.h"

namespace dao {

class ConfigCommand {
 public:
  // Adds itself to `app`; both live until run(). `as_json`: what --json sets.
  ConfigCommand(CLI::App& app, bool& as_json);

  // Whether the command line has it.
  [[nodiscard]] bool given() const { return command_->parsed(); }
  // The exit status.
  [[nodiscard]] int run(const AdminClient& client) const;

 private:
  [[nodiscard]] int apply(const AdminClient& client) const;
  [[nodiscard]] int order_transition(const AdminClient& client, const std::string& what) const;
  [[nodiscard]] std::string signature() const;
  [[nodiscard]] int order(const AdminClient& client, const std::string& path, std::string text,
                          const config::Sources& sources) const;

  bool& as_json_;
  CLI::App* command_;
  CLI::App* status_;
  CLI::App* show_;
  CLI::App* history_;
  CLI::App* diff_;
  CLI::App* apply_;
  CLI::App* reload_;
  CLI::App* rollback_;
  std::vector<CLI::App*> transition_;  // pause, resume, abort, finish
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
  CLI::Option* over_[3] = {};
};

}  // namespace dao

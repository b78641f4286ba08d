// Completion scripts for shells, made from the command line that they complete.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>

namespace dao {

// `shell`: bash, zsh or fish. Names of upstreams and routes are asked of the DAO that the shell's environment names.
std::string completions_for(const CLI::App& app, std::string_view shell);

}  // namespace dao

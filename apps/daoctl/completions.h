// Completion scripts for shells, made from the command line that they complete.
#pragma once

#include <string>
#include <string_view>

#include "command_line/command_line.h"

namespace dao {

// `shell`: bash, zsh or fish. Names of upstreams and routes are asked of the DAO that the shell's environment names.
std::string completions_for(const CommandLine& line, std::string_view shell);

}  // namespace dao

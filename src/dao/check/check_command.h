// The whole of `dao check`: what is wrong with a configuration, as far as can be told without starting DAO.
#pragma once

#include <filesystem>
#include <iosfwd>

#include "dao/config/check_report.h"

namespace dao::check {

struct Options {
  config::ReportFormat format = config::ReportFormat::text;
  bool text_only = false;  // not the files that the configuration names
  bool deep = false;       // the network too: names and connections of upstreams
};

// Writes the report to `out`. Returns the exit status: 0 = valid (warnings do not fail the check), 1 = not.
int check(const std::filesystem::path& path, const Options& options, std::ostream& out);

}  // namespace dao::check

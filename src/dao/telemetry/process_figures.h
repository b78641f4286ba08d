// What the kernel says about this process, for the process_* metrics.
#pragma once

#include <cstdint>

namespace dao::telemetry {

// A figure the kernel would not give is 0.
struct ProcessFigures {
  double cpu_seconds = 0;         // user and system
  double start_time_seconds = 0;  // since 1970
  std::uint64_t resident_bytes = 0;
  std::uint64_t open_fds = 0;
  std::uint64_t max_fds = 0;
};

// Opens a few files under /proc: not for a worker. Any thread.
ProcessFigures read_process_figures();

}  // namespace dao::telemetry

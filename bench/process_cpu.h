// CPU time that a set of processes has used, all their threads together, from the scheduler's own account
// (/proc/PID/task/*/schedstat, nanoseconds; user and system are not told apart). Precise to one scheduler tick per
// thread. The time of threads that have ended is not in it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace dao::bench {

inline std::uint64_t cpu_time_ns(const std::vector<int>& processes) {
  std::uint64_t sum = 0;
  for (const int process : processes) {
    std::error_code gone;
    for (const auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(process) + "/task", gone)) {
      std::uint64_t running = 0;
      if (std::ifstream(task.path() / "schedstat") >> running) sum += running;
    }
  }
  return sum;
}

}  // namespace dao::bench

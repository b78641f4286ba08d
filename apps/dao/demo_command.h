// `dao demo`: the newcomer's minute. A real DAO in front of three dao-upstream servers, of which one is slow and one
// flaky, under a light load, with a live line of DAO's own figures.
#pragma once

#include <cstdint>
#include <string>

namespace dao {

struct DemoOptions {
  std::string bind = "127.0.0.1:0";  // where the proxy listens; port 0: the kernel's choice
  std::uint64_t seconds = 0;         // ends by itself; 0: until Ctrl-C
  std::uint64_t rate = 80;           // requests per second of the load; 0: none
};

// Starts the programs from the folder of the running one, shows the figures on stdout, and ends all it has started.
// Returns the exit status: 0, or 1 with the reason on stderr. For the main thread, before any other is started.
int demo_command(const DemoOptions& options);

}  // namespace dao

// Starting the process that replaces this one: the program on disk, with the same arguments and the listening sockets
// of this one. The main thread.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <expected>
#include <span>
#include <string>
#include <vector>

namespace dao::server {

// How this process was started, remembered at its start: a program that was replaced on disk has lost its name.
struct Program {
  std::string path;
  std::vector<std::string> arguments;

  static Program running();
};

struct HandedOver {
  std::string key;  // InheritedSockets::key_of
  std::vector<int> fds;
};

// Starts the program and waits until it says that it is ready to serve; its process id. Until then nothing has changed
// for this process. `signals` are blocked in both; SIGTERM or SIGINT meanwhile ends the new process, and stays pending
// here. The error is a sentence for the operator; the new process's own log says more.
std::expected<pid_t, std::string> start_successor(const Program& program, std::span<const HandedOver> sockets,
                                                  const sigset_t& signals);

}  // namespace dao::server

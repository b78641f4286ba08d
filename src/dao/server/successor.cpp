#include "dao/server/successor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>

#include "dao/base/clock.h"
#include "dao/server/inherited_sockets.h"

namespace dao::server {

namespace {

// A successor that neither becomes ready nor ends is ended.
constexpr Milliseconds kPatience{60'000};

std::string sockets_variable(std::span<const HandedOver> sockets) {
  std::string text = fmt::format("{}=", InheritedSockets::kSocketsVariable);
  for (const HandedOver& group : sockets) text += fmt::format("{} {}\n", fmt::join(group.fds, ","), group.key);
  return text;
}

// Ours, but for what told us of our own sockets.
std::vector<std::string> environment_for(std::span<const HandedOver> sockets, int ready_fd) {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text(*variable);
    if (!text.starts_with("LISTEN_") && !text.starts_with("DAO_UPGRADE_")) variables.emplace_back(text);
  }
  variables.push_back(sockets_variable(sockets));
  variables.push_back(fmt::format("{}={}", InheritedSockets::kReadyVariable, ready_fd));
  return variables;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (std::string& text : texts) all.push_back(text.data());
  all.push_back(nullptr);
  return all;
}

std::string how_it_ended(int status) {
  if (WIFEXITED(status)) return fmt::format("the new process ended with status {}", WEXITSTATUS(status));
  return fmt::format("the new process was ended by signal {}", WTERMSIG(status));
}

bool end_is_wanted() {
  sigset_t pending;
  sigpending(&pending);
  return sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1;
}

// Until the byte that says "ready" comes through the pipe, or its end.
std::expected<void, std::string> wait_until_ready(int ready_fd, pid_t pid) {
  constexpr int kTickMs = 100;
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  std::string why;
  for (;;) {
    pollfd readable{.fd = ready_fd, .events = POLLIN, .revents = 0};
    const int count = poll(&readable, 1, kTickMs);
    if (count > 0) {
      char byte = 0;
      if (read(ready_fd, &byte, 1) == 1) return {};
      break;  // it has closed the pipe, so it ends or has ended
    }
    if (end_is_wanted()) {
      why = "this process is to stop";
    } else if (std::chrono::steady_clock::now() > give_up) {
      why = "the new process was not ready in time";
    }
    if (!why.empty()) {
      kill(pid, SIGKILL);
      break;
    }
  }
  int status = 0;
  for (pid_t ended = 0; (ended = waitpid(pid, &status, WNOHANG)) == 0 || (ended < 0 && errno == EINTR);) {
    if (std::chrono::steady_clock::now() > give_up) kill(pid, SIGKILL);
    poll(nullptr, 0, kTickMs);
  }
  return std::unexpected(why.empty() ? how_it_ended(status) : why);
}

}  // namespace

Program Program::running() {
  Program program;
  std::error_code error;
  program.path = std::filesystem::read_symlink("/proc/self/exe", error).string();
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  for (std::string argument; std::getline(file, argument, '\0');) program.arguments.push_back(argument);
  return program;
}

std::expected<pid_t, std::string> start_successor(const Program& program, std::span<const HandedOver> sockets,
                                                  const sigset_t& signals) {
  int ready[2];
  if (pipe2(ready, O_CLOEXEC) != 0) return std::unexpected(fmt::format("no pipe: {}", std::strerror(errno)));
  std::vector<std::string> variables = environment_for(sockets, ready[1]);
  std::vector<std::string> arguments = program.arguments;

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  // A duplicate onto itself stays open in the new program.
  posix_spawn_file_actions_adddup2(&actions, ready[1], ready[1]);
  for (const HandedOver& group : sockets) {
    for (const int fd : group.fds) posix_spawn_file_actions_adddup2(&actions, fd, fd);
  }
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  posix_spawnattr_setsigmask(&attributes, &signals);
  pid_t pid = -1;
  const int error = posix_spawn(&pid, program.path.c_str(), &actions, &attributes, pointers(arguments).data(),
                                pointers(variables).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  close(ready[1]);

  std::expected<pid_t, std::string> result = pid;
  if (error != 0) {
    result = std::unexpected(fmt::format("cannot run {}: {}", program.path, std::strerror(error)));
  } else if (const auto up = wait_until_ready(ready[0], pid); !up) {
    result = std::unexpected(up.error());
  }
  close(ready[0]);
  return result;
}

}  // namespace dao::server

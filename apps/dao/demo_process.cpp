#include "demo_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <utility>

namespace dao {

namespace {

constexpr std::size_t kKeptLines = 20;
constexpr Milliseconds kPoll{10};

[[noreturn]] void run_program(const std::string& program, const std::vector<std::string>& arguments, int log,
                              pid_t parent) {
  std::vector<char*> argv{const_cast<char*>(program.c_str())};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);

  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(1);  // it died before prctl could tell
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int nothing = open("/dev/null", O_RDWR);
  dup2(nothing, STDIN_FILENO);
  dup2(nothing, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  execv(program.c_str(), argv.data());
  const std::string text = "cannot start " + program + ": " + std::strerror(errno) + "\n";
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
  _exit(127);
}

}  // namespace

DemoProcess::DemoProcess(std::string name, const std::string& program, const std::vector<std::string>& arguments)
    : name_(std::move(name)) {
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) return;
  const pid_t self = getpid();
  pid_ = fork();
  if (pid_ == 0) run_program(program, arguments, pipe_fds[1], self);
  close(pipe_fds[1]);
  log_fd_ = pipe_fds[0];
  fcntl(log_fd_, F_SETFL, O_NONBLOCK);
}

DemoProcess::~DemoProcess() {
  if (pid_ > 0) wait_end(Milliseconds{0});
  if (log_fd_ >= 0) close(log_fd_);
}

bool DemoProcess::read_log() {
  std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t got = read(log_fd_, buffer.data(), buffer.size());
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return false;
    if (got < 0) return true;
    partial_.append(buffer.data(), static_cast<std::size_t>(got));
    for (std::size_t end = 0; (end = partial_.find('\n')) != std::string::npos;) {
      const std::string line = partial_.substr(0, end);
      partial_.erase(0, end + 1);
      if (first_lines_.size() < kKeptLines) first_lines_.push_back(line);
      lines_.push_back(line);
      if (lines_.size() > kKeptLines) lines_.pop_front();
    }
  }
}

std::expected<void, std::string> DemoProcess::wait_until_ready(Milliseconds patience) {
  const SystemClock clock;
  const Instant deadline = clock.now() + patience;
  for (;;) {
    const bool runs = read_log();
    for (const std::string& line : first_lines_) {
      if (line.ends_with(" ready") || line.find(" ready ") != std::string::npos) return {};
    }
    if (!runs) return std::unexpected(name_ + " ended at once:\n" + last_lines());
    const Nanoseconds left = deadline - clock.now();
    if (left.count() <= 0) return std::unexpected(name_ + " is not ready in time:\n" + last_lines());
    pollfd log{.fd = log_fd_, .events = POLLIN, .revents = 0};
    poll(&log, 1, static_cast<int>(std::chrono::ceil<Milliseconds>(left).count()));
  }
}

std::string DemoProcess::logged(std::string_view message, std::string_view key) const {
  const std::string wanted = " " + std::string{message} + " ";
  const std::string mark = " " + std::string{key} + "=";
  for (const std::string& line : first_lines_) {
    const std::size_t at = line.find(wanted);
    const std::size_t value = line.find(mark);
    if (at == std::string::npos || value == std::string::npos) continue;
    const std::size_t begin = value + mark.size();
    return line.substr(begin, line.find(' ', begin) - begin);
  }
  return {};
}

std::string DemoProcess::last_lines() const {
  std::string text;
  for (const std::string& line : lines_) text += "  " + line + "\n";
  return text;
}

void DemoProcess::terminate() const {
  if (pid_ > 0) kill(pid_, SIGTERM);
}

bool DemoProcess::wait_end(Milliseconds patience) {
  if (pid_ <= 0) return false;
  const SystemClock clock;
  const Instant deadline = clock.now() + patience;
  int status = 0;
  while (waitpid(pid_, &status, WNOHANG) == 0) {
    if (clock.now() >= deadline) {
      kill(pid_, SIGKILL);
      waitpid(pid_, &status, 0);
      break;
    }
    // Its log is read on, so that it is not held up by a full pipe; at its end poll returns at once.
    pollfd log{.fd = log_fd_, .events = POLLIN, .revents = 0};
    if (poll(&log, 1, static_cast<int>(kPoll.count())) > 0 && !read_log()) usleep(1000);
  }
  pid_ = -1;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace dao

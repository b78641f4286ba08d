// A program that the demo has started: its log lines until it is ready, and its end. One thread.
#pragma once

#include <sys/types.h>

#include <deque>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "dao/base/clock.h"

namespace dao {

class DemoProcess {
 public:
  // Starts `program` with stderr in a pipe and stdout thrown away, in a process group of its own (Ctrl-C reaches only
  // us), ended by the kernel should we die. A failure to start shows as the end of its log.
  DemoProcess(std::string name, const std::string& program, const std::vector<std::string>& arguments);
  ~DemoProcess();  // ends it at once, if it still runs
  DemoProcess(const DemoProcess&) = delete;
  DemoProcess& operator=(const DemoProcess&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }
  // To poll for reading; readable: call read_log().
  [[nodiscard]] int log_fd() const { return log_fd_; }
  // Takes what is there. False: the program has ended.
  bool read_log();

  // Reads the log until the line `ready`. The error is a text for the user with the end of the log.
  std::expected<void, std::string> wait_until_ready(Milliseconds patience);
  // The value of `key` in the first line whose message is `message`; empty if there is none.
  [[nodiscard]] std::string logged(std::string_view message, std::string_view key) const;
  [[nodiscard]] std::string last_lines() const;

  // Asks it to end with SIGTERM.
  void terminate() const;
  // After terminate(): waits for its end, and ends it by force when the patience is over. True: exit status 0.
  bool wait_end(Milliseconds patience);

 private:
  std::string name_;
  pid_t pid_ = -1;
  int log_fd_ = -1;
  std::string partial_;
  std::deque<std::string> lines_;  // the last ones
  std::deque<std::string> first_lines_;
};

}  // namespace dao

// The operational log of one test, in a file of its own.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "dao/base/log.h"
#include "dao/memory/store_test_files.h"

namespace dao::memory {

class CapturedLog {
 public:
  explicit CapturedLog(const std::string& path)
      : path_(path), fd_(open(path.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0600)) {
    log::redirect(fd_);
  }
  ~CapturedLog() {
    log::flush(std::chrono::seconds{10});
    log::redirect(STDERR_FILENO);
    close(fd_);
  }
  CapturedLog(const CapturedLog&) = delete;
  CapturedLog& operator=(const CapturedLog&) = delete;

  [[nodiscard]] std::string text() const {
    EXPECT_TRUE(log::flush(std::chrono::seconds{10}));
    return read_file(path_);
  }
  [[nodiscard]] std::size_t count(std::string_view part) const {
    const std::string all = text();
    std::size_t found = 0;
    for (std::size_t at = all.find(part); at != std::string::npos; at = all.find(part, at + 1)) ++found;
    return found;
  }

 private:
  std::string path_;
  int fd_;
};

}  // namespace dao::memory

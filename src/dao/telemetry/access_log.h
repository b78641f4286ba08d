// The access log: one line per request, JSON or combined, to a file or stdout.
//
// Each worker has a lane: a ring of bytes that it alone fills and that one writer thread alone empties. write() puts
// the finished line straight into the ring: no lock, no allocation, no system call but one futex wake per half-filled
// ring. A line that does not fit is dropped whole and counted; a worker never waits. The writer wakes every
// kWriteInterval or when a ring is half full, and writes all it finds in large pieces, so a line reaches the file
// within that time.
//
// When the file cannot be written (disk full, I/O error, nobody reads the pipe) the lines stay in their rings and the
// writer tries again every kWriteInterval; what no longer fits is dropped and counted, and the operational log says so
// once a minute. A line is never torn in the file, unless the process dies while the disk is full.
//
// docs/access-log.md lists the fields; it is made from the one table in access_log_format.cpp.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "dao/base/error.h"
#include "dao/telemetry/access_log_format.h"
#include "dao/telemetry/access_log_lane.h"

namespace dao::telemetry {

struct AccessLogOptions {
  std::string path;  // "-" is stdout; a file is created with mode 0640 and appended to
  AccessLogFormat format = AccessLogFormat::json;
  std::size_t buffer_bytes = 1048576;  // per worker; rounded up to a power of two, at least 64 KiB
  std::size_t workers = 1;
};

class AccessLog {
 public:
  static constexpr std::chrono::milliseconds kWriteInterval{200};
  // How long the destructor goes on when the file takes nothing; what is left then is dropped and counted.
  static constexpr std::chrono::milliseconds kShutdownPatience{1000};

  // Opens the file and starts the writer. Fails with Origin::config, ErrorKind::io and the errno of open().
  static Result<std::unique_ptr<AccessLog>> open(AccessLogOptions options);

  // Writes out what is in the lanes and ends the writer. No lane may be written any more.
  ~AccessLog();
  AccessLog(const AccessLog&) = delete;
  AccessLog& operator=(const AccessLog&) = delete;

  // The lane of one worker; lives as long as the log. To be written by that worker's thread only.
  [[nodiscard]] AccessLogLane& lane(std::size_t worker);

  // Opens the path anew, for log rotation: rename the file, then call this. Any thread, returns at once; the writer
  // does it before it writes again. If the new file cannot be opened the old one stays in use and the log says so.
  void reopen();

  // Waits until every line that was in a lane at the call has been written, and a reopen() before it done. False if
  // that took longer than `patience`. Any thread but a worker that serves.
  bool flush(std::chrono::milliseconds patience);

  // Lines lost so far. Any thread.
  [[nodiscard]] std::uint64_t dropped() const;

 private:
  class Writer;
  explicit AccessLog(std::unique_ptr<Writer> writer);
  std::unique_ptr<Writer> writer_;
};

}  // namespace dao::telemetry

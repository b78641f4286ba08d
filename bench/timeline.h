// Each request of a run: when it was due, how long it took, how it ended. Kept in memory and written at the end, so
// that writing disturbs nothing. One thread.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

#include "sockets.h"

namespace dao::bench {

class Timeline {
 public:
  static constexpr int kBroken = 0;       // in place of a status
  static constexpr int kUnanswered = -1;  // the latency is how long it had waited at the end

  // Without a path nothing is kept.
  explicit Timeline(std::string path) : path_(std::move(path)) {}

  void record(std::int64_t due_ns, std::int64_t latency_ns, int status) {
    if (!path_.empty()) entries_.push_back({due_ns, latency_ns, status});
  }

  void write() const {
    if (path_.empty()) return;
    std::FILE* file = std::fopen(path_.c_str(), "w");
    if (file == nullptr) fail("{}: {}", path_, std::strerror(errno));
    for (const Entry& entry : entries_)
      fmt::print(file, "{} {} {}\n", entry.due_ns / 1000, entry.latency_ns / 1000, entry.status);
    if (std::fclose(file) != 0) fail("{}: {}", path_, std::strerror(errno));
  }

 private:
  struct Entry {
    std::int64_t due_ns;
    std::int64_t latency_ns;
    int status;
  };
  std::string path_;
  std::vector<Entry> entries_;
};

}  // namespace dao::bench

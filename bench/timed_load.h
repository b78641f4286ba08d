// What the load generators that run for a given time have in common: options, the clock, and what they print.
#pragma once

#include <ctime>
#include <string_view>
#include <vector>

#include "histogram.h"
#include "process_cpu.h"
#include "sockets.h"

namespace dao::bench {

inline constexpr std::int64_t kSecond = 1'000'000'000;

inline std::int64_t now_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * kSecond + time.tv_nsec;
}

struct TimedOptions {
  sockaddr_in to{};
  std::size_t connections = 1;
  double seconds = 1;
  double warmup = 0.3;
  std::vector<int> watched;  // processes whose CPU time is measured over the same window
};

// Ends the program when there is no such option.
inline void parse_timed(TimedOptions& options, std::string_view name, std::string_view value) {
  if (name == "--to") {
    options.to = parse_address(value);
  } else if (name == "--connections") {
    options.connections = parse_number<std::size_t>(value);
  } else if (name == "--seconds") {
    options.seconds = parse_number<double>(value);
  } else if (name == "--warmup") {
    options.warmup = parse_number<double>(value);
  } else if (name == "--watch") {
    options.watched.push_back(parse_number<int>(value));
  } else {
    fail("unknown option {}", name);
  }
}

// Calls `step` until the time is over; what is recorded before the warm-up has ended does not count. Prints one line of
// JSON, as dao_load does. `more`: further members of it, each with a comma behind.
class TimedLoad {
 public:
  explicit TimedLoad(const TimedOptions& options) : options_(options) {
    if (options.to.sin_port == 0) fail("--to ADDRESS:PORT is missing");
  }
  template <class Step>
  void run(Step step) {
    const auto begin = now_ns() + static_cast<std::int64_t>(options_.warmup * 1e9);
    const auto end = begin + static_cast<std::int64_t>(options_.seconds * 1e9);
    for (auto now = now_ns(); now < end; now = now_ns()) {
      if (!measuring_ && now >= begin) {
        measuring_ = true;
        began_ = now;
        cpu_ = cpu_time_ns(options_.watched);
      }
      step();
    }
  }
  void done(std::int64_t started) {
    if (!measuring_) return;
    latency_.record(static_cast<std::uint64_t>(now_ns() - started));
    ++done_;
  }
  void broken() { ++broken_; }
  [[nodiscard]] bool measuring() const { return measuring_; }
  void print(std::string_view more = "") const {
    const std::uint64_t spent = cpu_time_ns(options_.watched) - cpu_;
    fmt::print(
        "{{\"requests\":{},\"seconds\":{:.6f},\"cpu_ns\":{},{}\"unfinished\":0,\"closed_by_peer\":0,\"statuses\":{{}},"
        "\"reasons\":{{{}}},\"p50_ns\":{},\"p99_ns\":{},\"p999_ns\":{}}}\n",
        done_, static_cast<double>(now_ns() - began_) / 1e9, spent, more,
        broken_ > 0 ? fmt::format("\"connection broken\":{}", broken_) : "", latency_.quantile_ns(0.5),
        latency_.quantile_ns(0.99), latency_.quantile_ns(0.999));
  }

 private:
  const TimedOptions& options_;
  bool measuring_ = false;
  std::int64_t began_ = 0;
  std::uint64_t cpu_ = 0;
  std::uint64_t done_ = 0;
  std::uint64_t broken_ = 0;
  Histogram latency_;
};

}  // namespace dao::bench

// Gathers the figures while a simulation runs.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "dao/simulate/event_queue.h"
#include "dao/simulate/figures.h"
#include "dao/simulate/latency_record.h"
#include "dao/simulate/scenario.h"

namespace dao::simulate {

class Collector {
 public:
  explicit Collector(const Scenario& scenario);

  [[nodiscard]] bool counts(Time at) const { return at >= warm_up_; }
  void attempt(Time now, std::size_t backend, bool is_retry);
  void retry_denied(Time now) {
    if (counts(now)) figures_.retries_denied += 1;
  }
  void depth(std::size_t depth) { deepest_ = std::max(deepest_, depth); }
  void finished(Time arrived, Time now, bool error);
  // What there is at the end.
  [[nodiscard]] Figures take();

 private:
  static constexpr Time kSecond = 1'000'000'000;
  void end_second();

  Time warm_up_;
  std::optional<Scenario::Sickness> sickness_;
  Time sick_from_ = kEndOfTime;
  Time settled_from_ = kEndOfTime;
  Time sick_to_ = kEndOfTime;
  double slow_limit_ns_ = 0;
  std::vector<double> fair_;  // by backend; sum 1
  std::vector<std::uint64_t> attempts_;
  std::vector<std::uint32_t> this_second_;
  Time second_ends_;
  std::uint64_t seconds_ = 0;
  std::vector<double> share_sum_;
  std::vector<double> share_square_sum_;
  double cv_sum_ = 0;
  double max_sum_ = 0;
  std::uint64_t before_ = 0;
  std::uint64_t before_sick_ = 0;
  std::uint64_t after_ = 0;
  std::uint64_t after_sick_ = 0;
  std::size_t deepest_ = 0;
  LatencyRecord latencies_;
  LatencyRecord settled_;
  Figures figures_;
};

}  // namespace dao::simulate

// Is the new side of a transition worse than the old one? Watches both as they run, and says at any moment how strong
// the evidence is (evidence.h). docs/metamorphic.md has it in words, with the formulae and what simulations show.
//
// Three things are compared, each with a margin: the share of requests that fail, the usual duration (ranks), and how
// many are as long as the longest tenth. What keeps it honest:
// - Only requests of the same seconds are compared: time is cut into blocks, and within a block the new side is held
//   against both together. What hits both sides (an outage, a slow upstream, the hour of the day) cancels out. Blocks
//   are weighted and added up as Cochran ("Some methods for strengthening the common chi-square tests", 1954) and van
//   Elteren ("On the combination of independent two sample tests of Wilcoxon", 1960) do it.
// - What is drawn by lot is clients, not requests. So the variance is that of sums over parts of the clients (cells),
//   not of requests: Liang, Zeger ("Longitudinal data analysis using generalized linear models", 1986). One client that
//   always fails, or sends half of the requests in bursts, is one voice, whatever it does, for the sum is divided by
//   the root of its own squares and never exceeds the root of the number of cells (Efron: "Student's t-test under
//   symmetry conditions", 1969).
// - Where there are too few clients for that, each is also compared with itself before it changed sides, in batches
//   that are long enough not to depend much on each other.
// - When all goes wrong, the first request of each part of the clients on the new side is enough to know: a likelihood
//   ratio against how many of the parts' requests fail on the old side (Wald: "Sequential analysis", 1947).
//
// One thread; no allocation once a block was as large as blocks become.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "dao/base/clock.h"
#include "dao/liminal/side_of.h"
#include "dao/liminal/side_sample.h"
#include "dao/sense/log_histogram.h"

namespace dao::liminal {

enum class Metric : std::uint8_t { errors, typical_latency, tail_latency };
inline constexpr std::size_t kMetrics = 3;
std::string_view name_of(Metric metric);

// What the new side may be worse by without being called worse.
struct Margins {
  double errors = 0.005;  // of all requests
  double latency = 0.1;   // of the duration
};

struct SideFigures {
  std::uint64_t requests = 0;
  std::uint64_t failures = 0;
  double error_rate = 0;  // 0..1
  double p50_ms = 0;      // of those that did not fail; 0 when there are none
  double p95_ms = 0;
  double p99_ms = 0;
};

class Comparison {
 public:
  // `block`: how much time is compared at once.
  Comparison(Margins margins, Nanoseconds block, Instant now);

  // A request that has ended since the last step.
  void add(const SideSample& sample);
  // True: a block has ended, the evidence may have changed.
  bool step(Instant now);

  // That the new side is worse, by more than the margin: the mean of the three.
  [[nodiscard]] double evidence() const;
  [[nodiscard]] double evidence(Metric metric) const { return evidence_[static_cast<std::size_t>(metric)]; }
  // Of which there is the most.
  [[nodiscard]] Metric worst() const;

  // Since the beginning, all seconds together, so not a fair comparison: that is what the evidence is for.
  [[nodiscard]] SideFigures figures(Side side) const;
  [[nodiscard]] std::uint64_t requests(Side side) const { return sides_[static_cast<std::size_t>(side)].requests; }
  // How many percent of requests more fail on the new side than on the old one in the same seconds; 0..1.
  [[nodiscard]] double error_increase() const;
  // In how many parts of the clients the traffic is, in effect: 1 if one client makes all of it.
  [[nodiscard]] double effective_cells() const;

 private:
  struct PerSide {
    std::uint64_t requests = 0;
    std::uint64_t failures = 0;
    sense::LogHistogram durations;  // of requests that did not fail
  };
  // Sums of deviations from the blocks' means; by metric where there are several.
  struct Cell {
    std::array<double, kMetrics> sum{};  // weighted: new side +, old side -
    std::uint64_t requests = 0;
    // The cell against itself.
    struct Half {
      std::array<double, kMetrics> count{};
      std::array<double, kMetrics> sum{};
      std::array<double, kMetrics> batch{};    // the sum of the open one
      std::array<double, kMetrics> squares{};  // of the sums of batches
    };
    std::array<Half, kSides> halves;
    bool voted = false;  // it has been on the new side
  };
  // Of one cell in the block that ends.
  struct InBlock {
    std::array<std::array<double, kMetrics>, kSides> sum{};
    std::array<std::array<double, kMetrics>, kSides> count{};
    bool touched = false;
  };
  struct Total {
    double sum = 0;
    double variance = 0;
    double information = 0;
  };
  struct Weights {  // of one request of each side, and of the block
    std::array<double, kSides> request{};
    double block = 0;
  };

  void end_block();
  void add_errors();
  void add_durations();
  void add_deviation(const SideSample& sample, Metric metric, double deviation);
  void take_block_into_cells();
  void take_first_votes();
  void end_batches();
  void weigh_evidence();
  [[nodiscard]] Total against_itself(std::size_t metric) const;
  static Weights weights_of(double old_count, double new_count);

  const Margins margins_;
  const Nanoseconds block_;
  Instant block_began_;
  Instant batch_began_;
  std::vector<SideSample> samples_;  // of the open block
  std::array<std::size_t, kSides> in_block_{};

  std::array<PerSide, kSides> sides_;
  std::vector<Cell> cells_;
  std::vector<InBlock> block_cells_;
  std::vector<std::uint16_t> touched_;
  std::array<Weights, kMetrics> block_weights_;
  std::vector<std::uint32_t> ranks_;                       // of the block: counts by bucket
  std::array<std::uint16_t, sense::kLogBuckets> shifted_;  // the bucket of a new duration less the margin
  std::array<Total, kMetrics> totals_;
  // The likelihood that so many first requests fail if kVotes of all do, to that of what fails on the old side; logs.
  static constexpr std::array kVotes = {0.15, 0.4, 0.9};
  std::array<double, kVotes.size()> votes_{};
  std::array<double, kMetrics> evidence_;
};

}  // namespace dao::liminal

#include "dao/liminal/comparison.h"

#include <algorithm>
#include <cmath>

#include "dao/liminal/evidence.h"

namespace dao::liminal {
namespace {

// A block ends when each side has had so many requests, or after this many times its length.
constexpr std::size_t kEnoughInBlock = 5;
constexpr int kLongest = 5;
// One that holds more is ended at the next step.
constexpr std::size_t kFullBlock = 50'000;
// The part of the durations that counts as the longest.
constexpr double kTail = 0.1;
// With fewer parts of the clients than this, in effect, each is compared with itself too. Blocks with one side alone
// count for that.
constexpr double kFewCells = 160;
// In lengths of a block: what one client does now may have to do with what it did this long ago.
constexpr int kBatch = 10;

constexpr std::size_t index(Side side) {
  return static_cast<std::size_t>(side);
}
constexpr std::size_t index(Metric metric) {
  return static_cast<std::size_t>(metric);
}

}  // namespace

std::string_view name_of(Metric metric) {
  switch (metric) {
    case Metric::errors:
      return "errors";
    case Metric::typical_latency:
      return "typical latency";
    case Metric::tail_latency:
      return "tail latency";
  }
  return {};
}

Comparison::Comparison(Margins margins, Nanoseconds block, Instant now)
    : margins_(margins),
      block_(block),
      block_began_(now),
      batch_began_(now),
      cells_(kCells),
      block_cells_(kCells),
      ranks_(sense::kLogBuckets) {
  for (std::size_t bucket = 0; bucket < sense::kLogBuckets; ++bucket) {
    const double shorter = static_cast<double>(sense::log_bucket_middle(bucket)) / (1 + margins_.latency);
    shifted_[bucket] = sense::log_bucket_of(static_cast<std::uint64_t>(shorter));
  }
  evidence_.fill(1);
}

void Comparison::add(const SideSample& sample) {
  PerSide& side = sides_[index(sample.side)];
  ++side.requests;
  if (sample.failed) {
    ++side.failures;
  } else {
    side.durations.add(sample.bucket);
  }
  ++cells_[sample.cell].requests;
  ++in_block_[index(sample.side)];
  samples_.push_back(sample);
}

bool Comparison::step(Instant now) {
  const Nanoseconds age = now - block_began_;
  const bool enough = std::ranges::min(in_block_) >= kEnoughInBlock;
  const bool ends = samples_.size() >= kFullBlock || (age >= block_ && enough) || age >= block_ * kLongest;
  if (!ends) return false;
  block_began_ = now;
  if (samples_.empty()) return false;
  end_block();
  if (now - batch_began_ >= block_ * kBatch) {
    batch_began_ = now;
    end_batches();
  }
  weigh_evidence();
  samples_.clear();
  in_block_ = {};
  return true;
}

void Comparison::end_block() {
  add_errors();
  add_durations();
  take_block_into_cells();
  take_first_votes();
}

Comparison::Weights Comparison::weights_of(double old_count, double new_count) {
  if (old_count == 0 || new_count == 0) return {};
  const double block = old_count * new_count / (old_count + new_count);
  return {.request = {-block / old_count, block / new_count}, .block = block};
}

void Comparison::add_deviation(const SideSample& sample, Metric metric, double deviation) {
  InBlock& cell = block_cells_[sample.cell];
  if (!cell.touched) {
    cell.touched = true;
    touched_.push_back(sample.cell);
  }
  cell.sum[index(sample.side)][index(metric)] += deviation;
  cell.count[index(sample.side)][index(metric)] += 1;
}

void Comparison::add_errors() {
  const auto value = [this](const SideSample& sample) {
    return (sample.failed ? 1.0 : 0.0) - (sample.side == Side::new_config ? margins_.errors : 0.0);
  };
  double sum = 0;
  for (const SideSample& sample : samples_) sum += value(sample);
  const double mean = sum / static_cast<double>(samples_.size());
  for (const SideSample& sample : samples_) add_deviation(sample, Metric::errors, value(sample) - mean);
  block_weights_[index(Metric::errors)] = weights_of(static_cast<double>(in_block_[index(Side::old_config)]),
                                                     static_cast<double>(in_block_[index(Side::new_config)]));
}

// The rank of a duration among all of the block, 0..1, those of the new side less the margin.
void Comparison::add_durations() {
  std::array<double, kSides> counts{};
  std::uint16_t first = sense::kLogBuckets - 1;
  std::uint16_t last = 0;
  for (SideSample& sample : samples_) {
    if (sample.failed) continue;
    if (sample.side == Side::new_config) sample.bucket = shifted_[sample.bucket];
    ++ranks_[sample.bucket];
    first = std::min(first, sample.bucket);
    last = std::max(last, sample.bucket);
    counts[index(sample.side)] += 1;
  }
  const Weights weights = weights_of(counts[0], counts[1]);
  block_weights_[index(Metric::typical_latency)] = weights;
  block_weights_[index(Metric::tail_latency)] = weights;
  const double all = counts[0] + counts[1];
  if (all == 0) return;
  // From counts to twice the middle rank of each bucket, and how many are in the tail.
  std::uint32_t below = 0;
  double in_tail = 0;
  const auto is_tail = [all](double twice_rank) { return twice_rank > 2 * (1 - kTail) * all; };
  for (std::size_t bucket = first; bucket <= last; ++bucket) {
    const std::uint32_t here = ranks_[bucket];
    ranks_[bucket] = 2 * below + here;
    if (is_tail(ranks_[bucket])) in_tail += here;
    below += here;
  }
  for (const SideSample& sample : samples_) {
    if (sample.failed) continue;
    const double twice_rank = ranks_[sample.bucket];
    add_deviation(sample, Metric::typical_latency, twice_rank / (2 * all) - 0.5);
    add_deviation(sample, Metric::tail_latency, (is_tail(twice_rank) ? 1.0 : 0.0) - in_tail / all);
  }
  std::fill(ranks_.begin() + first, ranks_.begin() + last + 1, 0);
}

void Comparison::take_block_into_cells() {
  for (const std::uint16_t number : touched_) {
    InBlock& block = block_cells_[number];
    Cell& cell = cells_[number];
    for (std::size_t metric = 0; metric < kMetrics; ++metric) {
      const Weights& weights = block_weights_[metric];
      double weighted = 0;
      for (std::size_t side = 0; side < kSides; ++side) {
        const double sum = block.sum[side][metric];
        weighted += weights.request[side] * sum;
        Cell::Half& half = cell.halves[side];
        half.count[metric] += block.count[side][metric];
        half.sum[metric] += sum;
        half.batch[metric] += sum;
      }
      const double before = cell.sum[metric];
      cell.sum[metric] += weighted;
      totals_[metric].sum += weighted;
      totals_[metric].variance += cell.sum[metric] * cell.sum[metric] - before * before;
    }
    block = {};
  }
  touched_.clear();
  for (std::size_t metric = 0; metric < kMetrics; ++metric) totals_[metric].information += block_weights_[metric].block;
}

void Comparison::end_batches() {
  for (Cell& cell : cells_) {
    for (Cell::Half& half : cell.halves) {
      for (std::size_t metric = 0; metric < kMetrics; ++metric) {
        half.squares[metric] += half.batch[metric] * half.batch[metric];
      }
      half.batch = {};
    }
  }
}

// Cells are drawn by lot, so the first request of one that comes to the new side fails as often as those of cells of
// the old side do at that time, if the sides are equal.
void Comparison::take_first_votes() {
  // The mean over the old side's cells of the share that fails. With one more that fails and one that does not, as they
  // may be few: so the inverse of it is not too large in the mean.
  double cells = 2;
  double failing = 1;
  for (const SideSample& sample : samples_) {
    if (sample.side == Side::new_config) continue;
    InBlock& cell = block_cells_[sample.cell];
    cell.count[0][0] += 1;
    cell.sum[0][0] += sample.failed ? 1 : 0;
  }
  for (const SideSample& sample : samples_) {
    if (sample.side == Side::new_config) continue;
    InBlock& cell = block_cells_[sample.cell];
    if (cell.count[0][0] > 0) {
      cells += 1;
      failing += cell.sum[0][0] / cell.count[0][0];
    }
    cell = {};
  }
  const double usual = std::min(failing / cells + margins_.errors, 1.0);
  for (const SideSample& sample : samples_) {
    Cell& cell = cells_[sample.cell];
    if (sample.side != Side::new_config || cell.voted) continue;
    cell.voted = true;
    for (std::size_t i = 0; i < kVotes.size(); ++i) {
      if (kVotes[i] <= usual) continue;
      votes_[i] += sample.failed ? std::log(kVotes[i] / usual) : std::log((1 - kVotes[i]) / (1 - usual));
    }
  }
}

// Of every cell that has been on both sides: its mean on the new side less its mean on the old one, weighted by how
// much there is of both.
Comparison::Total Comparison::against_itself(std::size_t metric) const {
  Total total;
  for (const Cell& cell : cells_) {
    const Cell::Half& before = cell.halves[index(Side::old_config)];
    const Cell::Half& after = cell.halves[index(Side::new_config)];
    const double count = before.count[metric] + after.count[metric];
    if (before.count[metric] == 0 || after.count[metric] == 0) continue;
    const double of_before = after.count[metric] / count;
    const double of_after = before.count[metric] / count;
    const auto squares = [metric](const Cell::Half& half) {
      return half.squares[metric] + half.batch[metric] * half.batch[metric];
    };
    total.sum += of_after * after.sum[metric] - of_before * before.sum[metric];
    total.variance += of_after * of_after * squares(after) + of_before * of_before * squares(before);
    total.information += of_after * after.count[metric];
  }
  return total;
}

// E-values of the same question are merged by their mean. One that is not asked counts as 0, so that when it is asked
// does not matter.
void Comparison::weigh_evidence() {
  const bool few = effective_cells() < kFewCells;
  for (std::size_t metric = 0; metric < kMetrics; ++metric) {
    const Total& total = totals_[metric];
    double evidence = evidence_of(log_evidence(total.sum, total.variance, total.information));
    double questions = 2;
    if (few) {
      const Total own = against_itself(metric);
      evidence += evidence_of(log_evidence(own.sum, own.variance, own.information));
    }
    if (metric == index(Metric::errors)) {
      for (const double vote : votes_) evidence += evidence_of(vote) / static_cast<double>(kVotes.size());
      questions += 1;
    }
    evidence_[metric] = evidence / questions;
  }
}

double Comparison::evidence() const {
  double sum = 0;
  for (const double one : evidence_) sum += one;
  return sum / kMetrics;
}

Metric Comparison::worst() const {
  return static_cast<Metric>(std::ranges::max_element(evidence_) - evidence_.begin());
}

SideFigures Comparison::figures(Side side) const {
  constexpr double kMillisecond = 1e6;
  const PerSide& of = sides_[index(side)];
  return {.requests = of.requests,
          .failures = of.failures,
          .error_rate = of.requests == 0 ? 0 : static_cast<double>(of.failures) / static_cast<double>(of.requests),
          .p50_ms = of.durations.quantile_nanoseconds(0.5) / kMillisecond,
          .p95_ms = of.durations.quantile_nanoseconds(0.95) / kMillisecond,
          .p99_ms = of.durations.quantile_nanoseconds(0.99) / kMillisecond};
}

double Comparison::error_increase() const {
  const Total& total = totals_[index(Metric::errors)];
  return total.information == 0 ? 0 : total.sum / total.information + margins_.errors;
}

double Comparison::effective_cells() const {
  double sum = 0;
  double squares = 0;
  for (const Cell& cell : cells_) {
    const auto count = static_cast<double>(cell.requests);
    sum += count;
    squares += count * count;
  }
  return squares == 0 ? 0 : sum * sum / squares;
}

}  // namespace dao::liminal

#include "dao/simulate/collector.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace dao::simulate {

Collector::Collector(const Scenario& scenario)
    : warm_up_(static_cast<Time>(scenario.warm_up.count())),
      sickness_(scenario.sickness()),
      attempts_(scenario.backends.size()),
      this_second_(scenario.backends.size()),
      second_ends_(warm_up_ + kSecond),
      share_sum_(scenario.backends.size()),
      share_square_sum_(scenario.backends.size()) {
  constexpr Time kSettling = 2 * kSecond;
  if (sickness_) {
    sick_from_ = static_cast<Time>(sickness_->from.count());
    settled_from_ = sick_from_ + kSettling;
    if (sickness_->to) sick_to_ = static_cast<Time>(sickness_->to->count());
  }
  double slots = 0;
  double capacity = 0;
  for (const Backend& backend : scenario.backends) {
    fair_.push_back(backend.slots / backend.service.mean_seconds);
    capacity += fair_.back();
    slots += backend.slots;
  }
  for (double& share : fair_) share /= capacity;
  slow_limit_ns_ = 10 * slots / capacity * 1e9;
}

void Collector::attempt(Time now, std::size_t backend, bool is_retry) {
  if (!counts(now)) return;
  while (now >= second_ends_) end_second();
  ++this_second_[backend];
  ++attempts_[backend];
  if (is_retry) figures_.retries += 1;
  if (!sickness_) return;
  const std::uint64_t sick = sickness_->backends[backend] ? 1 : 0;
  if (now < sick_from_) {
    ++before_;
    before_sick_ += sick;
  } else if (now >= settled_from_ && now < sick_to_) {
    ++after_;
    after_sick_ += sick;
  }
}

// The numbers are made fit for comparing backends of different size: attempts over the fair share.
void Collector::end_second() {
  second_ends_ += kSecond;
  const auto total = static_cast<double>(std::accumulate(this_second_.begin(), this_second_.end(), std::uint64_t{0}));
  if (total > 0) {
    double square_sum = 0;
    double sum = 0;
    double most = 0;
    for (std::size_t i = 0; i < this_second_.size(); ++i) {
      const double share = this_second_[i] / total / fair_[i];  // 1: just its fair share
      sum += share;
      square_sum += share * share;
      most = std::max(most, share);
      share_sum_[i] += share;
      share_square_sum_[i] += share * share;
    }
    const auto count = static_cast<double>(this_second_.size());
    const double mean = sum / count;
    cv_sum_ += std::sqrt(std::max(0.0, square_sum / count - mean * mean)) / mean;
    max_sum_ += most / mean;
    figures_.spread_worst = std::max(figures_.spread_worst, most / mean);
    ++seconds_;
  }
  std::ranges::fill(this_second_, 0);
}

void Collector::finished(Time arrived, Time now, bool error) {
  if (!counts(arrived)) return;
  const Time latency = now - arrived;
  latencies_.add(latency);
  if (arrived >= settled_from_) settled_.add(latency);
  if (static_cast<double>(latency) > slow_limit_ns_) figures_.over_10x_mean += 1;
  if (error) figures_.errors += 1;
}

Figures Collector::take() {
  const auto share_of = [](std::uint64_t part, std::uint64_t whole) {
    return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
  };
  figures_.requests = static_cast<double>(latencies_.count());
  figures_.p50_ms = latencies_.quantile_ms(0.5);
  figures_.p90_ms = latencies_.quantile_ms(0.9);
  figures_.p99_ms = latencies_.quantile_ms(0.99);
  figures_.p999_ms = latencies_.quantile_ms(0.999);
  figures_.mean_ms = latencies_.mean_ms();
  figures_.max_ms = latencies_.max_ms();
  figures_.settled_p99_ms = settled_.quantile_ms(0.99);
  figures_.error_share = figures_.requests > 0 ? figures_.errors / figures_.requests : 0;
  const std::uint64_t attempts = std::accumulate(attempts_.begin(), attempts_.end(), std::uint64_t{0});
  for (std::size_t i = 0; i < attempts_.size(); ++i) {
    const double share = share_of(attempts_[i], attempts);
    figures_.shares.push_back(share);
    figures_.deviation = std::max(figures_.deviation, std::abs(share - fair_[i]) / fair_[i]);
  }
  figures_.least_share = std::ranges::min(figures_.shares);
  figures_.largest_share = std::ranges::max(figures_.shares);
  figures_.sick_share_before = share_of(before_sick_, before_);
  figures_.sick_share_after = share_of(after_sick_, after_);
  if (seconds_ > 0) {
    const auto seconds = static_cast<double>(seconds_);
    figures_.spread_cv = cv_sum_ / seconds;
    figures_.spread_max = max_sum_ / seconds;
    double swing = 0;
    for (std::size_t i = 0; i < share_sum_.size(); ++i) {
      const double mean = share_sum_[i] / seconds;
      const double variance = std::max(0.0, share_square_sum_[i] / seconds - mean * mean);
      swing += mean > 0 ? std::sqrt(variance) / mean : 0;
    }
    figures_.swing = swing / static_cast<double>(share_sum_.size());
  }
  figures_.deepest = static_cast<double>(deepest_);
  return std::move(figures_);
}

}  // namespace dao::simulate

#include "dao/flow/gcra.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace dao::flow {

namespace {

constexpr unsigned kTimeBits = 40;
constexpr std::uint64_t kTimeMask = (std::uint64_t{1} << kTimeBits) - 1;
// Workers take the time once for each batch of events, so one may be behind another.
constexpr std::uint64_t kClockSkewSeconds = 10;

std::uint64_t clock_skew(Rate rate) {
  const Uint128 skew = static_cast<Uint128>(RateClock::kRequest) * rate.requests * kClockSkewSeconds * 1'000'000'000U /
                       static_cast<std::uint64_t>(rate.period.count());
  return static_cast<std::uint64_t>(std::min<Uint128>(skew, kTimeMask / 2));
}

}  // namespace

Terms RateClock::terms(double per_second, double burst) const {
  constexpr double kMost = kTimeMask / 8;
  const double own = rate_.requests / std::chrono::duration<double>(rate_.period).count();
  const double cost = std::clamp(std::round(kRequest * own / per_second), 1.0, kMost);
  return {.cost = static_cast<std::uint64_t>(cost),
          .tolerance = static_cast<std::uint64_t>(std::min((burst - 1) * cost, kMost))};
}

Nanoseconds RateClock::time_of(std::uint64_t units) const {
  const std::uint64_t per_period = kRequest * rate_.requests;
  const Uint128 product = static_cast<Uint128>(units) * static_cast<std::uint64_t>(rate_.period.count());
  return Nanoseconds(static_cast<std::int64_t>((product + per_period - 1) / per_period));
}

Admission RateClock::admitted(std::uint64_t debt, const Terms& terms) const {
  const std::uint64_t most = terms.tolerance + terms.cost;
  return {.admitted = true,
          .remaining = debt >= most ? 0 : static_cast<std::uint32_t>((most - debt) / terms.cost),
          .full_after = time_of(debt)};
}

Admission RateClock::refused(std::uint64_t debt, const Terms& terms) const {
  return {.full_after = time_of(debt), .retry_after = time_of(debt - terms.tolerance)};
}

Admission GcraCell::admit(Instant now, const Terms& terms) {
  const std::uint64_t at = clock_.units_at(now);
  std::uint64_t tat = tat_.load(std::memory_order_relaxed);
  for (;;) {
    const std::uint64_t debt = tat > at ? tat - at : 0;
    if (debt > terms.tolerance) return clock_.refused(debt, terms);
    if (tat_.compare_exchange_weak(tat, at + debt + terms.cost, std::memory_order_relaxed)) {
      return clock_.admitted(debt + terms.cost, terms);
    }
  }
}

GcraTable::GcraTable(Rate rate, std::size_t keys)
    : clock_(rate),
      clock_skew_(clock_skew(rate)),
      bucket_count_(std::bit_ceil(std::max(keys, kWays)) / kWays),
      buckets_(std::make_unique<Bucket[]>(bucket_count_)) {}

std::uint64_t GcraTable::debt_of(std::uint64_t word, std::uint64_t now, const Terms& terms) const {
  if (word == 0) return 0;
  const std::uint64_t most = terms.tolerance + terms.cost;
  const std::uint64_t ahead = (word - now) & kTimeMask;
  if (ahead > std::min(most + clock_skew_, kTimeMask / 2)) return 0;
  return std::min(ahead, most);
}

Admission GcraTable::admit(std::uint64_t hash, Instant now, const Terms& terms) {
  const std::uint64_t at = clock_.units_at(now);
  Bucket& bucket = buckets_[hash & (bucket_count_ - 1)];
  const std::uint64_t tag = (hash >> kTimeBits | 1U) << kTimeBits;  // never 0: that is an empty word
  for (;;) {
    std::atomic<std::uint64_t>* place = nullptr;
    std::uint64_t seen = 0;
    std::uint64_t debt = 0;
    std::uint64_t least = ~std::uint64_t{0};
    for (std::atomic<std::uint64_t>& word : bucket.words) {
      const std::uint64_t value = word.load(std::memory_order_relaxed);
      const std::uint64_t of_word = debt_of(value, at, terms);
      if (value != 0 && (value & ~kTimeMask) == tag) {
        place = &word;
        seen = value;
        debt = of_word;
        break;
      }
      if (of_word < least) {
        least = of_word;
        place = &word;
        seen = value;
      }
    }
    if (debt > terms.tolerance) return clock_.refused(debt, terms);
    const std::uint64_t moved = tag | ((at + debt + terms.cost) & kTimeMask);
    if (place->compare_exchange_weak(seen, moved, std::memory_order_relaxed)) {
      return clock_.admitted(debt + terms.cost, terms);
    }
  }
}

}  // namespace dao::flow

// The generic cell rate algorithm: a limit is one number per key, the time at which its burst is full again (its
// theoretical arrival time, TAT). A request is admitted while that lies no more than burst - 1 requests ahead, and
// moves it on by one. Any thread, without locks: a word is read, and written by compare-and-swap when a request is
// admitted; refusals only read.
//
// Time is counted in 1/1024 of what one request takes at the rate, computed from the clock without rounding the rate:
// over time exactly the rate is admitted, whichever worker asks.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "dao/base/clock.h"
#include "dao/base/random.h"

namespace dao::flow {

struct Rate {
  std::uint32_t requests = 1;  // in `period`; 1..10^6
  Nanoseconds period = std::chrono::seconds(1);
  std::uint32_t burst = 1;  // 1..10^6
};

struct Admission {
  bool admitted = false;
  std::uint32_t remaining = 0;  // could come now
  Nanoseconds full_after{};     // until the burst is full again
  Nanoseconds retry_after{};    // refused: until one would be admitted
};

// What a request is admitted by, in units of a RateClock.
struct Terms {
  std::uint64_t cost = 0;       // of one request
  std::uint64_t tolerance = 0;  // how far ahead TAT may lie for one more
};

class RateClock {
 public:
  static constexpr std::uint64_t kRequest = 1024;

  explicit RateClock(Rate rate) : rate_(rate) {}
  // Those of the rate itself.
  [[nodiscard]] Terms terms() const { return {.cost = kRequest, .tolerance = (rate_.burst - 1) * kRequest}; }
  // Of another rate by the same clock: what was counted goes on, while one limit becomes another. Exact to half a unit
  // in what a request costs, so to 0.5 % if it is ten times the clock's own. `per_second` > 0; `burst` >= 1.
  [[nodiscard]] Terms terms(double per_second, double burst) const;
  [[nodiscard]] std::uint64_t units_at(Instant now) const {
    return static_cast<std::uint64_t>(static_cast<Uint128>(now.time_since_epoch().count()) *
                                      (kRequest * rate_.requests) / static_cast<std::uint64_t>(rate_.period.count()));
  }
  [[nodiscard]] Nanoseconds time_of(std::uint64_t units) const;
  // `debt`: how far TAT lies ahead, after the request if it was admitted.
  [[nodiscard]] Admission admitted(std::uint64_t debt, const Terms& terms) const;
  [[nodiscard]] Admission refused(std::uint64_t debt, const Terms& terms) const;

 private:
  Rate rate_;
};

// One key.
class GcraCell {
 public:
  explicit GcraCell(Rate rate) : clock_(rate) {}
  Admission admit(Instant now) { return admit(now, clock_.terms()); }
  Admission admit(Instant now, const Terms& terms);
  [[nodiscard]] const RateClock& clock() const { return clock_; }

 private:
  const RateClock clock_;
  alignas(64) std::atomic<std::uint64_t> tat_{0};
};

// Many keys in a table of fixed size: buckets of eight words, a word being 24 bits that tell keys apart and 40 bits of
// TAT. A key whose burst is full is the same as one that was never there, so its word is free for others; nothing has
// to be swept.
//
// - Two keys share a limit if both their bucket and their 24 bits are the same: one in 2^24 for each neighbour in the
//   bucket. The hash must be keyed with a secret, so that nobody can look for such keys.
// - A bucket full of keys that are all short of their burst forgets the one with the least debt, which then may take
//   up to one burst more. So the table fails open, and a key's limit is never below its rate.
// - Two workers that see a new key at the same moment may both admit it into words of their own: one request more.
// - 40 bits go round after the time of 2^30 requests at the rate (18 minutes at a million a second, 34 years at one a
//   second). A key that comes back at just that moment may find a debt of its own from before.
class GcraTable {
 public:
  // `keys`: at the same time, rounded up to a power of two.
  GcraTable(Rate rate, std::size_t keys);
  // `hash`: of the key, keyed with a secret.
  Admission admit(std::uint64_t hash, Instant now) { return admit(hash, now, clock_.terms()); }
  Admission admit(std::uint64_t hash, Instant now, const Terms& terms);
  [[nodiscard]] std::size_t memory_bytes() const { return bucket_count_ * sizeof(Bucket); }

 private:
  static constexpr std::size_t kWays = 8;
  struct alignas(64) Bucket {
    std::atomic<std::uint64_t> words[kWays] = {};
  };
  // How far ahead the TAT of a word lies; 0: its burst is full, or it is empty.
  [[nodiscard]] std::uint64_t debt_of(std::uint64_t word, std::uint64_t now, const Terms& terms) const;

  const RateClock clock_;
  const std::uint64_t clock_skew_;  // by how much workers' clocks differ at most
  std::size_t bucket_count_;
  std::unique_ptr<Bucket[]> buckets_;
};

}  // namespace dao::flow

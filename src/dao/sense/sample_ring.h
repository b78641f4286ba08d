// What a worker tells the mind of every finished attempt and request: a word in a ring. The worker never waits and
// never looks at the reader; a reader that is too late finds words of a later lap and knows how many it has lost. The
// mind's work so grows with the traffic, not with the number of upstreams or buckets, and the worker writes memory in
// sequence.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace dao::sense {

// More than a second of what one worker can do at 30,000 requests a second (two words each).
inline constexpr std::size_t kSampleSlots = std::size_t{1} << 16;

enum class SampleKind : std::uint8_t { attempt, request };

struct Sample {
  SampleKind kind = SampleKind::attempt;
  std::uint32_t number = 0;  // of the upstream or the route
  std::uint16_t bucket = 0;  // of its duration (log_histogram.h), or kNoBucket

  static constexpr std::uint16_t kNoBucket = 0x7fff;
};

class SampleRing {
 public:
  SampleRing() : slots_(std::make_unique<std::atomic<std::uint64_t>[]>(kSampleSlots)) {}

  // The owner's thread.
  void push(const Sample& sample) {
    const std::uint64_t at = head_.load(std::memory_order_relaxed);
    const std::uint64_t word = lap_of(at) << 48 | std::uint64_t{sample.number} << 16 |
                               static_cast<std::uint64_t>(sample.kind) << 15 | sample.bucket;
    slots_[at % kSampleSlots].store(word, std::memory_order_relaxed);
    // Who sees the word sees the counters that were written before it.
    head_.store(at + 1, std::memory_order_release);
  }

  // Any thread. Where the next sample goes: a reader begins there.
  [[nodiscard]] std::uint64_t head() const { return head_.load(std::memory_order_acquire); }
  // Any thread. Hands every sample since `from` to `take`, moves `from` behind them, and tells how many were lost.
  template <class Take>
  std::uint64_t read(std::uint64_t& from, Take take) const {
    const std::uint64_t end = head();
    const std::uint64_t begin = end - from > kSampleSlots ? end - kSampleSlots : from;
    std::uint64_t lost = begin - from;
    for (std::uint64_t at = begin; at < end; ++at) {
      const std::uint64_t word = slots_[at % kSampleSlots].load(std::memory_order_relaxed);
      if (word >> 48 != lap_of(at)) {  // overwritten meanwhile
        ++lost;
        continue;
      }
      take(Sample{.kind = static_cast<SampleKind>(word >> 15 & 1),
                  .number = static_cast<std::uint32_t>(word >> 16),
                  .bucket = static_cast<std::uint16_t>(word & 0x7fff)});
    }
    from = end;
    return lost;
  }

 private:
  static constexpr std::uint64_t lap_of(std::uint64_t at) { return at / kSampleSlots & 0xffff; }

  std::unique_ptr<std::atomic<std::uint64_t>[]> slots_;
  std::atomic<std::uint64_t> head_{0};
};

}  // namespace dao::sense

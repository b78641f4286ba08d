// Which upstreams may get traffic now: one word for each, shared by all workers and written when something changes (an
// upstream fails, comes back, is drained), never for a request that goes well. Any thread; relaxed, for nothing else is
// published through it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "dao/sense/slots.h"

namespace dao::sense {

enum class Gate : std::uint8_t {
  open,
  trial,   // a few requests may find out whether it is back, each takes a token
  closed,  // none
};

class Admission {
 public:
  explicit Admission(std::size_t upstreams) : words_(upstreams), rows_(upstreams) {}

  // One thread, as Slots::grow.
  void grow(std::size_t upstreams) {
    words_.grow(upstreams);
    rows_.grow(upstreams);
  }
  // As if nothing had been heard of it: the number is to be another upstream's.
  void forget(std::size_t upstream) {
    words_[upstream].store(0, std::memory_order_relaxed);
    rows_[upstream].store(0, std::memory_order_relaxed);
  }

  // A request may be sent there now. Of an upstream on trial: there is a token left; take_trial() gets it.
  [[nodiscard]] bool admits(std::size_t upstream) const {
    const std::uint32_t word = words_[upstream].load(std::memory_order_relaxed);
    return word == 0 || ((word & kGateMask) == static_cast<std::uint32_t>(Gate::trial) && (word & kDrained) == 0 &&
                         (word >> kTokenShift) != 0);
  }
  // To be called for the upstream that was chosen. False: it was on trial, and others took the last token meanwhile.
  bool enter(std::size_t upstream) {
    std::uint32_t word = words_[upstream].load(std::memory_order_relaxed);
    while ((word & kGateMask) == static_cast<std::uint32_t>(Gate::trial)) {
      if ((word >> kTokenShift) == 0) return false;
      if (words_[upstream].compare_exchange_weak(word, word - (1U << kTokenShift), std::memory_order_relaxed)) break;
    }
    return true;
  }

  [[nodiscard]] Gate gate(std::size_t upstream) const {
    return static_cast<Gate>(words_[upstream].load(std::memory_order_relaxed) & kGateMask);
  }
  // `tokens`: how many requests a trial may have; for the other gates none.
  void set_gate(std::size_t upstream, Gate gate, std::uint16_t tokens = 0) {
    std::uint32_t word = words_[upstream].load(std::memory_order_relaxed);
    const std::uint32_t wanted = static_cast<std::uint32_t>(gate) | (std::uint32_t{tokens} << kTokenShift);
    while (!words_[upstream].compare_exchange_weak(word, wanted | (word & kDrained), std::memory_order_relaxed)) {
    }
  }

  // Of a trial: what is left.
  [[nodiscard]] std::uint16_t tokens(std::size_t upstream) const {
    return static_cast<std::uint16_t>(words_[upstream].load(std::memory_order_relaxed) >> kTokenShift);
  }
  void close(std::size_t upstream) {
    if (gate(upstream) != Gate::closed) set_gate(upstream, Gate::closed);
  }

  // Failures of transport without a success between them, over all workers (outcomes.h).
  [[nodiscard]] std::uint32_t failures_in_a_row(std::size_t upstream) const {
    return rows_[upstream].load(std::memory_order_relaxed);
  }
  // How many it makes.
  std::uint32_t failed(std::size_t upstream, std::uint32_t weight) {
    constexpr std::uint32_t kEnough = 1U << 30U;
    const std::uint32_t before = rows_[upstream].load(std::memory_order_relaxed);
    if (before >= kEnough) return before;
    return rows_[upstream].fetch_add(weight, std::memory_order_relaxed) + weight;
  }
  void succeeded(std::size_t upstream) {
    if (rows_[upstream].load(std::memory_order_relaxed) != 0) rows_[upstream].store(0, std::memory_order_relaxed);
  }

  // The operator's word: no new requests, whatever its presence.
  [[nodiscard]] bool drained(std::size_t upstream) const {
    return (words_[upstream].load(std::memory_order_relaxed) & kDrained) != 0;
  }
  void drain(std::size_t upstream, bool on) {
    if (on) {
      words_[upstream].fetch_or(kDrained, std::memory_order_relaxed);
    } else {
      words_[upstream].fetch_and(~kDrained, std::memory_order_relaxed);
    }
  }
  [[nodiscard]] std::size_t size() const { return words_.size(); }

 private:
  static constexpr std::uint32_t kGateMask = 3;
  static constexpr std::uint32_t kDrained = 4;
  static constexpr unsigned kTokenShift = 16;
  Slots<std::atomic<std::uint32_t>> words_;  // 0: open and not drained
  Slots<std::atomic<std::uint32_t>> rows_;   // failures in a row
};

}  // namespace dao::sense

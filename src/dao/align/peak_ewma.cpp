// Of two, the one where a request would cost less: its latency (peak EWMA of what this worker saw, sense/signals.h)
// times one more than the requests under way, over all workers, for its weight. As in Finagle and tower, and beyond
// them: divided by the share of answers that are good, for who fails at once has few under way and would get the more.
#include <algorithm>

#include "dao/align/policy.h"
#include "dao/align/two_candidates.h"

namespace dao::align {
namespace {

// In seconds.
struct ExpectedWait {
  static constexpr std::string_view kWhy = "drawn: less latency times requests under way wins";

  static double of(const Choosing& choosing, std::size_t index) {
    const std::uint32_t upstream = choosing.candidates[index].upstream;
    const sense::UpstreamSignals& signals = choosing.signals[upstream];
    double seconds = signals.peak_seconds(choosing.now);
    if (signals.weight(choosing.now) <= 0 && signals.waiting() > 0) seconds = kPenaltySeconds;
    const double good = std::max(1 - signals.error_rate(), 0x1p-10);
    const auto under_way = static_cast<double>(std::max<std::int64_t>(choosing.in_flight.count(upstream), 0));
    // The weight divides those that are there, not the new one: between idle ones the draw has seen to it already.
    return seconds * (1 + under_way * kWeightUnit / choosing.weight(index)) / good;
  }

 private:
  // Nothing was heard of it yet, and something is asked already: wait for that answer first.
  static constexpr double kPenaltySeconds = 1000;
};

}  // namespace

std::unique_ptr<Policy> make_peak_ewma() {
  return std::make_unique<CheaperOfTwo<ExpectedWait>>();
}

}  // namespace dao::align

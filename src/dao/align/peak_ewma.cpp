// Of two different ones drawn by weight, the one where a request would cost less: its latency (peak EWMA of what this
// worker saw, sense/signals.h) times one more than the requests under way, over all workers, for its weight. As in
// Finagle and tower, and beyond them: divided by the share of answers that are good, for who fails at once has few
// under way and would get the more.
#include <algorithm>

#include "dao/align/policy.h"
#include "dao/align/two_candidates.h"

namespace dao::align {
namespace {

// Nothing was heard of it yet, and something is asked already: wait for that answer first.
constexpr double kPenaltySeconds = 1000;

double cost_of(const Choosing& choosing, std::size_t index) {
  const std::uint32_t upstream = choosing.candidates[index].upstream;
  const sense::UpstreamSignals& signals = choosing.signals[upstream];
  double seconds = signals.peak_seconds(choosing.now);
  if (signals.weight(choosing.now) <= 0 && signals.waiting() > 0) seconds = kPenaltySeconds;
  const double good = std::max(1 - signals.error_rate(), 0x1p-10);
  const auto under_way = static_cast<double>(std::max<std::int64_t>(choosing.in_flight.count(upstream), 0));
  // The weight divides those that are there, not the new one: between idle ones the draw has seen to it already.
  return seconds * (1 + under_way * kWeightUnit / choosing.weight(index)) / good;
}

class PeakEwma final : public Policy {
 public:
  void prepare(std::span<const Candidate> candidates) override { two_.prepare(candidates); }

  std::optional<std::size_t> choose(const Choosing& choosing) override {
    if (!two_.prepared(choosing.candidates)) prepare(choosing.candidates);
    return better(choosing, two_.draw(choosing, choosing.random));
  }

  // The score is the cost in seconds.
  void explain(const Choosing& choosing, std::vector<Explained>& into) const override {
    TwoCandidates two = two_;
    if (!two.prepared(choosing.candidates)) two.prepare(choosing.candidates);
    Random same = choosing.random;
    const std::optional<TwoCandidates::Drawn> drawn = two.draw(choosing, same);
    const std::optional<std::size_t> best = better(choosing, drawn);
    into.clear();
    for (std::size_t i = 0; i < choosing.candidates.size(); ++i) {
      Explained& one = into.emplace_back();
      one.upstream = choosing.candidates[i].upstream;
      one.usable = choosing.usable(i);
      one.score = cost_of(choosing, i);
      one.chosen = best == i;
      const bool compared = drawn && (drawn->first == i || drawn->second == i);
      one.why = compared ? "drawn: less latency times requests under way wins" : "not drawn";
    }
  }

 private:
  static std::optional<std::size_t> better(const Choosing& choosing, std::optional<TwoCandidates::Drawn> drawn) {
    if (!drawn) return std::nullopt;
    if (!drawn->second || cost_of(choosing, drawn->first) <= cost_of(choosing, *drawn->second)) return drawn->first;
    return drawn->second;
  }

  TwoCandidates two_;
};

}  // namespace

std::unique_ptr<Policy> make_peak_ewma() {
  return std::make_unique<PeakEwma>();
}

}  // namespace dao::align

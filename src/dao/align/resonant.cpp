// The smallest of w_load * load + w_intent * intent gap + w_tempo * spikiness, each 0..10. The load is the mean of what
// latency, errors and queue say, in doublings: an upstream twice as slow as the others' mean, one that fails half of
// the time, and one with one request under way for its weight are each one doubling away from good.
#include <algorithm>
#include <cmath>

#include "dao/align/policy.h"

namespace dao::align {
namespace {

constexpr double kMost = 10;

double clipped(double term) {
  return std::clamp(term, 0.0, kMost);
}

class Resonant final : public Policy {
 public:
  explicit Resonant(const config::ResonantWeights& weights) : weights_(weights) {}

  std::optional<std::size_t> choose(const Choosing& choosing) override {
    const std::optional<std::size_t> best = smallest(choosing);
    if (best) next_ = (*best + 1) % choosing.candidates.size();
    return best;
  }

  void explain(const Choosing& choosing, std::vector<Explained>& into) const override {
    const std::optional<std::size_t> best = smallest(choosing);
    const double usual = usual_seconds(choosing);
    into.clear();
    for (std::size_t i = 0; i < choosing.candidates.size(); ++i) {
      into.push_back(scored(choosing, i, usual));
      into.back().chosen = best == i;
      into.back().why = "smallest score; equal ones in turn";
    }
  }

 private:
  [[nodiscard]] Explained scored(const Choosing& choosing, std::size_t index, double usual) const {
    const Candidate& candidate = choosing.candidates[index];
    const sense::UpstreamSignals& signals = choosing.signals[candidate.upstream];
    Explained one;
    one.upstream = candidate.upstream;
    one.usable = choosing.usable(index);
    const double seconds = signals.mean_seconds(choosing.now);
    if (usual > 0 && seconds > 0) one.latency = clipped(std::log2(seconds / usual));
    one.errors = clipped(-std::log2(std::max(1 - signals.error_rate(), 0x1p-10)));
    const auto under_way = static_cast<double>(std::max<std::int64_t>(choosing.in_flight.count(candidate.upstream), 0));
    one.queue = clipped(std::log2(1 + under_way * kWeightUnit / choosing.weight(index)));
    one.load_resonance = (one.latency + one.errors + one.queue) / 3;
    one.intent_gap = intent_gap(choosing.intent, candidate.intents);
    if (candidate.upstream < choosing.view.upstreams.size()) {
      one.tempo_spikiness = clipped(choosing.view.upstreams[candidate.upstream].tempo_spikiness);
    }
    one.score =
        weights_.load * one.load_resonance + weights_.intent * one.intent_gap + weights_.tempo * one.tempo_spikiness;
    return one;
  }

  // The mean over the usable candidates that have answered, 0 while none has.
  static double usual_seconds(const Choosing& choosing) {
    double sum = 0;
    int count = 0;
    for (std::size_t i = 0; i < choosing.candidates.size(); ++i) {
      if (!choosing.usable(i)) continue;
      const double seconds = choosing.signals[choosing.candidates[i].upstream].mean_seconds(choosing.now);
      if (seconds <= 0) continue;
      sum += seconds;
      ++count;
    }
    return count == 0 ? 0 : sum / count;
  }

  [[nodiscard]] std::optional<std::size_t> smallest(const Choosing& choosing) const {
    const double usual = usual_seconds(choosing);
    const std::size_t count = choosing.candidates.size();
    std::optional<std::size_t> best;
    double best_score = 0;
    for (std::size_t step = 0; step < count; ++step) {
      const std::size_t i = (next_ + step) % count;
      if (!choosing.usable(i)) continue;
      const double score = scored(choosing, i, usual).score;
      if (!best || score < best_score) {
        best = i;
        best_score = score;
      }
    }
    return best;
  }

  config::ResonantWeights weights_;
  std::size_t next_ = 0;
};

}  // namespace

std::unique_ptr<Policy> make_resonant(const config::ResonantWeights& weights) {
  return std::make_unique<Resonant>(weights);
}

}  // namespace dao::align

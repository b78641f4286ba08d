// The upstream that resonates best: what it would cost a request to go there, as a sum of terms in which each doubling
// counts the same. docs/align.md derives it; `daoctl explain` shows every term.
//
//   latency = 2 + s/2      s: doublings of its time to answer over the typical one of the candidates. Of slower ones
//                          half counts again (going there costs a slot for longer, too). What chance explains counts
//                          for little: s is shrunk by (1 - (d/s)^2) with d = twice its standard error + 0.1, 0 below d.
//   errors  = -log2(1 - e)/2 + e*m  e: share of attempts that failed; m: what latency + queue of the next best one have
//                          above its own, for that is where a failure goes next: failing fast is no better than a slow
//                          success
//   queue   = log2(1 + q/w)/2      q: in flight now, over all workers; w: its weight over the mean weight
//   load_resonance = latency + errors + queue, at most 10
//   intent_gap     = 0 if it is for the request's intent, 5 if for any, 10 if for others
//   tempo_spikiness = 10 x what the coefficient of variation of its requests per second, beyond chance, has above 0.5;
//                     0 while that is of a time in which a candidate came or went
//   score = w_load*load_resonance + w_intent*intent_gap + w_tempo*tempo_spikiness; the smallest wins
//
// With equal upstreams this is the fewest in flight, with unequal ones it is the shortest expected wait. Those within a
// hair of the best take turns by their weights. Of more than kScanned candidates, kDrawn are drawn for each choice:
// several proxies then do not all find the same one best (Mitzenmacher, "The power of two choices", 2001).
//
// An upstream that looks worse is asked again now and then, or it could never look better: one request at a time, once
// a second and never more than one in kExploreOneOf; where there is hope soon again, and one in kExploreAgainOneOf.
//
// The awareness level is how much of this is used: dormant, turns by weight; aware, two candidates drawn at random are
// compared; from vigilant on, all of it.
//
// Time: O(min(candidates, kScanned)). What changes slowly is kept for each candidate and looked at again when it is
// about to decide.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "dao/align/policy.h"

namespace dao::align {

namespace {

constexpr std::size_t kScanned = 12;
constexpr std::size_t kDrawn = 6;
constexpr double kNearTie = 0.02;
constexpr std::uint64_t kExploreOneOf = 64;
constexpr std::uint64_t kExploreAgainOneOf = 8;
constexpr Nanoseconds kExploreAfter = std::chrono::seconds(1);
constexpr Nanoseconds kExploreAgainAfter = std::chrono::milliseconds(20);
constexpr double kFewErrors = 0.16;  // a fifth of the attempts
// So many are no verdict on one that has begun to fail, for presence wants to see some before it leaves an upstream to
// trials; nor on one that has come back.
constexpr std::uint64_t kFewAttempts = 20;
constexpr double kMost = 10;
constexpr Nanoseconds kTempoWindow = std::chrono::seconds(60);  // of UpstreamView::tempo_spikiness
constexpr Nanoseconds kFresh = std::chrono::milliseconds(1);    // what is known for less need not be looked at again

// log2(value)/2 for value > 0, within 0.00002, by the series of the area hyperbolic tangent in the mantissa; std::log2
// would be most of what a choice costs.
double half_log2(double value) {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  const auto exponent = static_cast<std::int64_t>(bits >> 52U) - 1023;
  const double m = std::bit_cast<double>((bits & 0xfffffffffffffU) | 0x3ff0000000000000U);  // 1 <= m < 2
  const double t = (m - 1.4142135623730951) / (m + 1.4142135623730951);
  const double tt = t * t;
  // log2(m) = 1/2 + 2/ln(2) * (t + t^3/3 + t^5/5 + ...)
  const double fraction = 0.5 + 2.8853900817779268 * t * (1 + tt * (1.0 / 3 + tt * (0.2 + tt * (1.0 / 7))));
  return 0.5 * (static_cast<double>(exponent) + fraction);
}

class Resonant final : public Policy {
 public:
  explicit Resonant(const config::ResonantWeights& weights) : weights_(weights) {}

  std::optional<std::size_t> choose(const Choosing& choosing) override;
  void explain(const Choosing& choosing, std::vector<Explained>& into) const override;

 private:
  // What changes only with answers, of one candidate.
  struct Known {
    double rate = 0;  // 1 / time to answer; 0: not known
    double latency = 2;
    double errors = 0;  // but for what depends on the others
    double error_rate = 0;
    double tempo = 0;
    bool returning = false;  // on the ramp of slow start
    bool few = false;        // attempts since it came back, or began to fail as it does
    double share = 1;        // mean weight over its own
    double credit = 0;       // of turns, where it is as good as others
    Instant looked_at{};
    std::int64_t queued = -1;  // in flight, when `queue` was worked out with `share`
    double queue = 0;
  };
  // Where a failed attempt would go next.
  struct Elsewhere {
    std::size_t best = 0;  // candidate
    double cost = std::numeric_limits<double>::infinity();
    double time = 0;  // latency + queue
    double second_cost = std::numeric_limits<double>::infinity();
    double second_time = 0;
  };
  struct Best {
    std::size_t index = 0;
    double score = std::numeric_limits<double>::infinity();
  };

  [[nodiscard]] double typical_seconds() const { return known_ > 0 ? known_ / rates_ : 0; }
  void look_at_presence(const Choosing& choosing);
  [[nodiscard]] double tempo_term(const Choosing& choosing, std::size_t index) const;
  static double latency_term(const sense::UpstreamSignals& signals, double seconds, double weight, double typical,
                             bool returning);
  // Of a candidate, all terms but the queue and the intent.
  Known look(const Choosing& choosing, std::size_t index) const;
  // False: that was done a moment ago.
  bool refresh(const Choosing& choosing, std::size_t index);
  double queue(const Choosing& choosing, std::size_t index);
  double errors(const Choosing& choosing, std::size_t index);
  double score(const Choosing& choosing, std::size_t index);
  void look_elsewhere(const Choosing& choosing, std::span<const std::uint32_t> drawn);
  // So that it would not be chosen while nothing waits there.
  bool looks_worse(const Choosing& choosing, std::size_t index, std::size_t best) {
    return candidates_[index].latency + errors(choosing, index) >
           candidates_[best].latency + errors(choosing, best) + kNearTie;
  }
  // Of one that looks worse. `again`: soon after the last time, for there is hope.
  [[nodiscard]] bool may_explore(const Choosing& choosing, std::size_t index, const Known& best, bool again) const;
  // Who of them is asked though it looks worse than the best one; nullopt: none now.
  std::optional<std::size_t> explore(const Choosing& choosing, std::span<const std::uint32_t> drawn, std::size_t best);
  void resize(const Choosing& choosing);
  // Of those that are as good as the best, whose turn it is.
  Best take_turns(const Choosing& choosing, const std::uint32_t* drawn, const double* scores, std::size_t count,
                  double smallest);
  // The candidates to look at now.
  std::size_t draw(const Choosing& choosing, std::array<std::uint32_t, kScanned>& drawn);

  config::ResonantWeights weights_;
  std::vector<Known> candidates_;
  double rates_ = 0;  // sum of the known ones'
  double known_ = 0;  // how many that are
  double mean_weight_ = 1;
  Elsewhere elsewhere_;
  std::size_t refreshed_ = 0;
  std::uint64_t seen_view_ = std::numeric_limits<std::uint64_t>::max();
  Instant no_tempo_until_{};
  std::uint64_t since_explored_ = 0;        // requests
  std::uint64_t since_explored_again_ = 0;  // the same, soon after the last time
};

// Doublings over the typical time, as far as chance does not explain them.
double Resonant::latency_term(const sense::UpstreamSignals& signals, double seconds, double weight, double typical,
                              bool returning) {
  constexpr double kUsual = 2;
  constexpr double kStep = 0.1;
  if (seconds <= 0 || typical <= 0) return kUsual;
  const double doublings = 2 * half_log2(seconds / typical);
  // The sums are weighted exponentially, which makes them as good as twice their weight.
  constexpr double kLog2E = 1.4427;
  // A few answers say little about how they spread; until there are more, as exponential times do.
  constexpr double kFew = 16;
  const double measured = signals.spread();
  const double spread = std::sqrt((weight * measured * measured + kFew) / (weight + kFew));
  double doubt = 2 * kLog2E * spread / std::sqrt(std::max(1.0, 2 * weight)) + kStep;
  // One that has just come back may be cold: that it is much slower is believed at once.
  constexpr double kMuchSlower = 1.5;
  if (returning && doublings > kMuchSlower) doubt = kStep;
  if (std::abs(doublings) <= doubt) return kUsual;
  const double sure = doublings * (1 - (doubt / doublings) * (doubt / doublings));
  const double counted = sure > 0 ? 1.5 * sure : sure;
  return std::clamp(kUsual + counted / 2, 0.0, kMost);
}

// When one of them goes, the others get its requests, and when it comes back they lose them: that is no tempo of
// anybody's own, and must not keep from the one that came back, or from those that stood in for it, what is their share
// now. The first that is heard of an upstream is no change.
void Resonant::look_at_presence(const Choosing& choosing) {
  seen_view_ = choosing.view.number;
  for (const Candidate& candidate : choosing.candidates) {
    if (candidate.upstream >= choosing.view.upstreams.size()) continue;
    const sense::UpstreamView& upstream = choosing.view.upstreams[candidate.upstream];
    if (upstream.figures.transitions > 1) {
      no_tempo_until_ = std::max(no_tempo_until_, upstream.presence_since + kTempoWindow);
    }
  }
}

// By chance alone the squared coefficient of n seconds at r requests per second is off by sqrt(2/n)/r, for one standard
// deviation; three of them count for nothing. Nor does what is less than half of the mean: choices themselves make the
// share of one upstream go up and down, and must not hold it against it. So one that gets less than its share now is
// never called spiky: that would keep from it what it got too little of.
double Resonant::tempo_term(const Choosing& choosing, std::size_t index) const {
  const sense::UpstreamView& upstream = choosing.view.upstreams[choosing.candidates[index].upstream];
  constexpr double kSteady = 0.5;
  if (upstream.rps <= 0 || choosing.now < no_tempo_until_) return 0;
  if (choosing.route < choosing.view.routes.size()) {
    const double share = choosing.weight(index) / mean_weight_ / static_cast<double>(choosing.candidates.size());
    if (upstream.rps < choosing.view.routes[choosing.route].rps * share) return 0;
  }
  const double seconds = std::clamp(upstream.requests / upstream.rps, 2.0, 60.0);
  const double chance = 3 * std::sqrt(2 / seconds) / upstream.rps;
  const double squared = upstream.tempo_spikiness * upstream.tempo_spikiness - chance;
  return squared > kSteady * kSteady ? std::min(kMost, 10 * (std::sqrt(squared) - kSteady)) : 0;
}

Resonant::Known Resonant::look(const Choosing& choosing, std::size_t index) const {
  const std::uint32_t upstream = choosing.candidates[index].upstream;
  const sense::UpstreamSignals& signals = choosing.signals[upstream];
  Known known;
  const double seconds = signals.mean_seconds(choosing.now);
  const double weight = signals.weight(choosing.now);
  if (weight > 0 && seconds > 0) known.rate = 1 / seconds;
  const bool returning = choosing.weight(index) < choosing.candidates[index].weight * kWeightUnit;
  // What fell silent may have answered fast until a moment ago, and others may be slow: they answer.
  known.latency = signals.silent() ? kMost : latency_term(signals, seconds, weight, typical_seconds(), returning);
  known.share = mean_weight_ / choosing.weight(index);
  known.looked_at = choosing.now;
  known.error_rate = signals.error_rate();
  known.errors = std::min(kMost, -half_log2(std::max(1e-6, 1 - known.error_rate)));
  known.returning = returning;
  known.few = signals.attempts_since_change() < kFewAttempts;
  if (upstream < choosing.view.upstreams.size()) {
    known.tempo = tempo_term(choosing, index);
  }
  return known;
}

bool Resonant::refresh(const Choosing& choosing, std::size_t index) {
  Known& kept = candidates_[index];
  if (choosing.now - kept.looked_at < kFresh && kept.looked_at != Instant{}) return false;
  Known known = look(choosing, index);
  known.credit = kept.credit;
  rates_ += known.rate - kept.rate;
  known_ += (known.rate > 0 ? 1 : 0) - (kept.rate > 0 ? 1 : 0);
  if (kept.share == known.share) {
    known.queued = kept.queued;
    known.queue = kept.queue;
  }
  kept = known;
  return true;
}

// From one choice to the next few of them change.
double Resonant::queue(const Choosing& choosing, std::size_t index) {
  Known& known = candidates_[index];
  const std::int64_t in_flight = choosing.in_flight.count(choosing.candidates[index].upstream);
  if (in_flight != known.queued) {
    known.queued = in_flight;
    known.queue = std::min(kMost, half_log2(1 + static_cast<double>(in_flight) * known.share));
  }
  return known.queue;
}

double Resonant::errors(const Choosing& choosing, std::size_t index) {
  const Known& known = candidates_[index];
  if (known.error_rate == 0) return known.errors;
  const double own = known.latency + queue(choosing, index);
  const double next = index == elsewhere_.best ? elsewhere_.second_time : elsewhere_.time;
  return std::min(kMost, known.errors + known.error_rate * std::max(0.0, next - own));
}

void Resonant::look_elsewhere(const Choosing& choosing, std::span<const std::uint32_t> drawn) {
  elsewhere_ = {};
  for (const std::uint32_t index : drawn) {
    const Known& known = candidates_[index];
    const double time = known.latency + queue(choosing, index);
    const double cost = time + known.errors;
    if (cost < elsewhere_.cost) {
      elsewhere_ = {
          .best = index, .cost = cost, .time = time, .second_cost = elsewhere_.cost, .second_time = elsewhere_.time};
    } else if (cost < elsewhere_.second_cost) {
      elsewhere_.second_cost = cost;
      elsewhere_.second_time = time;
    }
  }
}

double Resonant::score(const Choosing& choosing, std::size_t index) {
  const Known& known = candidates_[index];
  const double load = std::min(kMost, known.latency + errors(choosing, index) + queue(choosing, index));
  return weights_.load * load + weights_.intent * intent_gap(choosing.intent, choosing.candidates[index].intents) +
         weights_.tempo * known.tempo;
}

bool Resonant::may_explore(const Choosing& choosing, std::size_t index, const Known& best, bool again) const {
  const Known& known = candidates_[index];
  const sense::UpstreamSignals& signals = choosing.signals[choosing.candidates[index].upstream];
  if (signals.waiting() != 0) return false;
  const Nanoseconds alone = choosing.now - signals.last_sent();
  if (!again) return alone >= kExploreAfter;
  if (alone < kExploreAgainAfter) return false;
  // Presence asks for it, and says how often.
  if (choosing.admission.gate(choosing.candidates[index].upstream) == sense::Gate::trial) return true;
  const bool slow = known.latency > best.latency + 0.5;
  const bool fails = known.errors > best.errors + kNearTie;
  // A few failures are no verdict yet, whatever the last one was; nor are a few answers of one that came back.
  if (fails && !slow && (known.errors < kFewErrors || known.few)) return true;
  if (known.returning && known.few) return true;
  // Of one that is only a little slower, a good answer says little.
  return (slow || fails) && !signals.last_failed() && signals.last_seconds() < 2 * typical_seconds();
}

// Of several, the one that was left alone the longest.
std::optional<std::size_t> Resonant::explore(const Choosing& choosing, std::span<const std::uint32_t> drawn,
                                             std::size_t best) {
  ++since_explored_;
  ++since_explored_again_;
  const bool anew = since_explored_ >= kExploreOneOf;
  const bool again = since_explored_again_ >= kExploreAgainOneOf;
  if (!anew && !again) return std::nullopt;
  std::optional<std::size_t> found;
  bool found_anew = false;
  Instant last_sent = kNever;
  for (const std::uint32_t index : drawn) {
    if (index == best || !looks_worse(choosing, index, best)) continue;
    const Instant sent = choosing.signals[choosing.candidates[index].upstream].last_sent();
    if (sent >= last_sent) continue;
    const bool as_anew = anew && may_explore(choosing, index, candidates_[best], false);
    if (!as_anew && !(again && may_explore(choosing, index, candidates_[best], true))) continue;
    found = index;
    found_anew = as_anew;
    last_sent = sent;
  }
  // Those that do well must not use up what the others are due.
  if (found) (found_anew ? since_explored_ : since_explored_again_) = 0;
  return found;
}

void Resonant::resize(const Choosing& choosing) {
  candidates_.assign(choosing.candidates.size(), {});
  rates_ = known_ = 0;
  double weights = 0;
  for (const Candidate& candidate : choosing.candidates) weights += candidate.weight * double{kWeightUnit};
  mean_weight_ = weights / static_cast<double>(std::max<std::size_t>(1, choosing.candidates.size()));
  for (std::size_t i = 0; i < candidates_.size(); ++i) candidates_[i].share = mean_weight_ / choosing.weight(i);
  refreshed_ = 0;
}

std::size_t Resonant::draw(const Choosing& choosing, std::array<std::uint32_t, kScanned>& drawn) {
  const std::size_t count = choosing.candidates.size();
  std::size_t found = 0;
  if (count <= kScanned) {
    for (std::size_t i = 0; i < count; ++i) {
      if (choosing.usable(i)) drawn[found++] = static_cast<std::uint32_t>(i);
    }
    return found;
  }
  for (std::size_t tries = 0; tries < 2 * kScanned && found < kDrawn; ++tries) {
    const std::size_t at = choosing.random.below(count);
    if (choosing.usable(at)) drawn[found++] = static_cast<std::uint32_t>(at);
  }
  for (std::size_t i = 0; found == 0 && i < count; ++i) {
    if (choosing.usable(i)) drawn[found++] = static_cast<std::uint32_t>(i);
  }
  return found;
}

std::optional<std::size_t> Resonant::choose(const Choosing& choosing) {
  if (candidates_.size() != choosing.candidates.size()) resize(choosing);
  if (candidates_.empty()) return std::nullopt;
  if (choosing.view.number != seen_view_) look_at_presence(choosing);
  // One more is looked at each time, so that none is known from long ago.
  refreshed_ = refreshed_ + 1 < candidates_.size() ? refreshed_ + 1 : 0;
  refresh(choosing, refreshed_);

  std::array<std::uint32_t, kScanned> drawn;
  std::size_t count = draw(choosing, drawn);
  if (count == 0) return std::nullopt;
  std::array<double, kScanned> scores;
  if (choosing.view.level == sense::Level::dormant) {  // all the same
    scores.fill(0);
    return take_turns(choosing, drawn.data(), scores.data(), count, 0).index;
  }
  if (choosing.view.level == sense::Level::aware && count > 2) {  // two choices
    const std::size_t one = choosing.random.below(count);
    const std::size_t other = (one + 1 + choosing.random.below(count - 1)) % count;
    drawn = {drawn[one], drawn[other]};
    count = 2;
  }
  const std::span<const std::uint32_t> looked_at_now(drawn.data(), count);
  if (std::ranges::any_of(looked_at_now, [this](std::uint32_t index) { return candidates_[index].error_rate > 0; })) {
    look_elsewhere(choosing, looked_at_now);
  }
  Best best;
  for (std::size_t i = 0; i < count; ++i) {
    scores[i] = score(choosing, drawn[i]);
    if (scores[i] < best.score) best = {i, scores[i]};
  }
  // Whoever is about to be chosen is looked at first: it may have been silent since its last answer.
  constexpr int kLooks = 3;
  for (int looks = 0; looks < kLooks; ++looks) {
    const std::size_t looked_at = best.index;
    if (!refresh(choosing, drawn[looked_at])) break;
    scores[looked_at] = score(choosing, drawn[looked_at]);
    best = {};
    for (std::size_t i = 0; i < count; ++i) {
      if (scores[i] < best.score) best = {i, scores[i]};
    }
    if (best.index == looked_at) break;
  }
  best = take_turns(choosing, drawn.data(), scores.data(), count, best.score);
  return explore(choosing, std::span(drawn).first(count), best.index).value_or(best.index);
}

// Smooth weighted round robin among the near ties (round_robin.cpp).
Resonant::Best Resonant::take_turns(const Choosing& choosing, const std::uint32_t* drawn, const double* scores,
                                    std::size_t count, double smallest) {
  Best chosen{drawn[0], smallest};
  double most = -std::numeric_limits<double>::infinity();
  double total = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (scores[i] > smallest + kNearTie) continue;
    Known& known = candidates_[drawn[i]];
    const double weight = choosing.weight(drawn[i]);
    known.credit += weight;
    total += weight;
    if (known.credit > most) {
      most = known.credit;
      chosen.index = drawn[i];
    }
  }
  candidates_[chosen.index].credit -= total;
  return chosen;
}

void Resonant::explain(const Choosing& choosing, std::vector<Explained>& into) const {
  // The same steps with a copy of the state: the answer is that of the next choose().
  Resonant same = *this;
  Random random = choosing.random;
  const std::optional<std::size_t> chosen = same.choose(choosing.with(random));
  into.clear();
  std::size_t best = 0;
  double best_score = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < choosing.candidates.size(); ++i) {
    const Known known = same.candidates_.empty() ? Known{} : same.candidates_[i];
    Explained& one = into.emplace_back();
    one.upstream = choosing.candidates[i].upstream;
    one.usable = choosing.usable(i);
    one.latency = known.latency;
    one.errors = same.candidates_.empty() ? 0 : same.errors(choosing, i);
    one.queue = same.candidates_.empty() ? 0 : same.queue(choosing, i);
    one.load_resonance = std::min(kMost, one.latency + one.errors + one.queue);
    one.intent_gap = intent_gap(choosing.intent, choosing.candidates[i].intents);
    one.tempo_spikiness = known.tempo;
    one.w_load = weights_.load;
    one.w_intent = weights_.intent;
    one.w_tempo = weights_.tempo;
    one.score = same.candidates_.empty() ? 0 : same.score(choosing, i);
    one.chosen = chosen == i;
    if (one.usable && one.score < best_score) {
      best = i;
      best_score = one.score;
    }
  }
  if (!chosen) return;
  Explained& choice = into[*chosen];
  if (*chosen == best) {
    choice.why = "smallest score";
  } else if (choice.score <= best_score + kNearTie) {
    choice.why = "as good as the smallest score: these take turns";
  } else if (same.since_explored_ == 0 || same.since_explored_again_ == 0) {
    choice.why = "looked bad: asked again to find out";
  } else {
    choice.why = "smallest score of those drawn";
  }
}

}  // namespace

std::unique_ptr<Policy> make_resonant(const config::ResonantWeights& weights) {
  return std::make_unique<Resonant>(weights);
}

}  // namespace dao::align

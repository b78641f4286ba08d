// Choosing the upstream for a request. One file each policy; make_policy is the registry. A policy belongs to one route
// of one worker: its state needs no lock. No allocation but in the first call.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "dao/base/clock.h"
#include "dao/base/random.h"
#include "dao/config/config.h"
#include "dao/sense/admission.h"
#include "dao/sense/in_flight.h"
#include "dao/sense/signals.h"
#include "dao/sense/view.h"

namespace dao::align {

struct Candidate {
  std::uint32_t upstream = 0;  // number in the configuration, and in InFlight, Admission, the signals and the View
  std::uint32_t weight = 1;
  std::uint32_t max_in_flight = 0;  // requests under way there at once, over all workers; 0: no limit
  bool usable = true;               // false: not for this request (already tried, no address, not in its split)
  std::uint64_t intents = 0;        // bits of the traffic classes it is for; 0: for any
  bool near = false;                // in DAO's own zone
  std::uint64_t identity = 0;  // consistent-hash: the same for the same upstream in every process (stable_hash of its
                               // name), whatever its number
};

// Choosing::weight is in this part of a weight of 1.
inline constexpr std::uint32_t kWeightUnit = 1000;

// What a choice is made from. Borrowed for the call.
struct Choosing {
  std::span<const Candidate> candidates;  // the route's, in the same order every time
  const sense::InFlight& in_flight;
  const sense::Admission& admission;
  std::span<const sense::UpstreamSignals> signals;  // this worker's, by upstream
  const sense::View& view;                          // the latest; its vectors may be empty before the first fold
  std::uint32_t route = 0;                          // number in the view
  Instant now;
  Random& random;
  std::uint64_t intent = 0;  // the bit of the request's traffic class; 0: none
  std::uint64_t key = 0;     // consistent-hash: hash of what the request is kept together by
  bool only_near = false;    // those in DAO's own zone, as if there were no others
  bool fail_open = false;    // nobody is admitted: ask those that are not
  Nanoseconds slow_start{};  // how long upstreams of the view take to get their whole weight; 0: they all have it

  [[nodiscard]] bool usable(std::size_t index) const {
    return candidates[index].usable && in_reach(index) && has_room(index) && admitted(index);
  }
  [[nodiscard]] bool admitted(std::size_t index) const {
    const std::uint32_t upstream = candidates[index].upstream;
    return fail_open ? !admission.drained(upstream) : admission.admits(upstream);
  }
  // Below its limit.
  [[nodiscard]] bool has_room(std::size_t index) const {
    const Candidate& candidate = candidates[index];
    return candidate.max_in_flight == 0 || in_flight.count(candidate.upstream) < candidate.max_in_flight;
  }
  // Some that could be asked are at their limit, and that is all that is wrong with them.
  [[nodiscard]] bool waits_for_room() const;
  [[nodiscard]] bool in_reach(std::size_t index) const { return !only_near || candidates[index].near; }
  // The same, but for where chance comes from: to look ahead without using it up.
  [[nodiscard]] Choosing with(Random& other) const {
    return {.candidates = candidates,
            .in_flight = in_flight,
            .admission = admission,
            .signals = signals,
            .view = view,
            .route = route,
            .now = now,
            .random = other,
            .intent = intent,
            .key = key,
            .only_near = only_near,
            .fail_open = fail_open,
            .slow_start = slow_start};
  }
  // In 1/kWeightUnit, at least 1: the candidate's weight, or the part of it that slow start gives it now.
  [[nodiscard]] std::uint32_t weight(std::size_t index) const {
    const std::uint32_t whole = candidates[index].weight * kWeightUnit;
    return slow_start == Nanoseconds::zero() ? whole : ramped(index, whole);
  }

 private:
  [[nodiscard]] std::uint32_t ramped(std::size_t index, std::uint32_t whole) const;
};

// One candidate's score, with every term that it is the sum of; what `daoctl explain` and x-dao-explain show. Terms
// that a policy does not have are 0. The smallest score wins.
struct Explained {
  std::uint32_t upstream = 0;
  bool usable = false;
  double latency = 0;          // 0..10
  double errors = 0;           // 0..10
  double queue = 0;            // 0..10
  double load_resonance = 0;   // 0..10, of the three
  double intent_gap = 0;       // 0..10
  double tempo_spikiness = 0;  // 0..10
  double w_load = 0;           // the weights of the sum; all 0: the score is not that sum, `why` says what it is
  double w_intent = 0;
  double w_tempo = 0;
  double score = 0;      // w_load * load_resonance + w_intent * intent_gap + w_tempo * tempo_spikiness
  bool chosen = false;   // what choose() would answer now
  std::string_view why;  // where it is not by the score alone: a static text
};

class Policy {
 public:
  virtual ~Policy() = default;
  // Index into the candidates, nullopt when none is usable.
  virtual std::optional<std::size_t> choose(const Choosing& choosing) = 0;
  // Makes what the first choose() among these would have to make.
  virtual void prepare(std::span<const Candidate> /*candidates*/) {}
  // One for each candidate, in their order. Changes nothing: the next choose() answers as if nobody had asked.
  virtual void explain(const Choosing& choosing, std::vector<Explained>& into) const = 0;
};

std::unique_ptr<Policy> make_policy(const config::PolicyChoice& choice);

// The policies, each in its own file.
std::unique_ptr<Policy> make_round_robin();
std::unique_ptr<Policy> make_random();
std::unique_ptr<Policy> make_least_connections();
std::unique_ptr<Policy> make_two_choices();
std::unique_ptr<Policy> make_peak_ewma();
std::unique_ptr<Policy> make_consistent_hash();
std::unique_ptr<Policy> make_resonant(const config::ResonantWeights& weights);

// How far apart what a request and an upstream are for lie, 0..10: 0 the same, or the request has no intent; 5 an
// upstream for any traffic; 10 one for other traffic.
[[nodiscard]] constexpr double intent_gap(std::uint64_t request, std::uint64_t upstream) {
  if (request == 0 || (request & upstream) != 0) return 0;
  return upstream == 0 ? 5 : 10;
}

}  // namespace dao::align

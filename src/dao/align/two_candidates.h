// The power of two choices: of two different usable candidates drawn by weight, the one with the smaller cost
// (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001). A full scan would send every worker
// and every DAO node to the same best one; a draw does not. The policies differ in their cost.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "dao/align/policy.h"
#include "dao/align/weighted_draw.h"

namespace dao::align {

class TwoCandidates {
 public:
  struct Drawn {
    std::size_t first;
    std::optional<std::size_t> second;  // nothing if only one is usable
  };

  void prepare(std::span<const Candidate> candidates) { draw_.prepare(candidates); }
  // For so many candidates as there are now.
  [[nodiscard]] bool prepared(std::span<const Candidate> candidates) const { return draw_.size() == candidates.size(); }
  // Nothing if nobody is usable. `random` may be a copy of choosing.random, to know without drawing. Constant time
  // while most candidates are usable, else one walk over all.
  [[nodiscard]] std::optional<Drawn> draw(const Choosing& choosing, Random& random) const;

 private:
  [[nodiscard]] std::optional<std::size_t> one(const Choosing& choosing, Random& random,
                                               std::optional<std::size_t> but) const;
  WeightedDraw draw_;
};

// `Cost` has two static members: `of(choosing, index)`, the smaller the better, which is the score that explain()
// shows, and `kWhy`, what a comparison goes by.
template <class Cost>
class CheaperOfTwo final : public Policy {
 public:
  void prepare(std::span<const Candidate> candidates) override { two_.prepare(candidates); }

  std::optional<std::size_t> choose(const Choosing& choosing) override {
    if (!two_.prepared(choosing.candidates)) prepare(choosing.candidates);
    return cheaper(choosing, two_.draw(choosing, choosing.random));
  }

  void explain(const Choosing& choosing, std::vector<Explained>& into) const override {
    TwoCandidates two = two_;
    if (!two.prepared(choosing.candidates)) two.prepare(choosing.candidates);
    Random same = choosing.random;
    const std::optional<TwoCandidates::Drawn> drawn = two.draw(choosing, same);
    const std::optional<std::size_t> best = cheaper(choosing, drawn);
    into.clear();
    for (std::size_t i = 0; i < choosing.candidates.size(); ++i) {
      Explained& one = into.emplace_back();
      one.upstream = choosing.candidates[i].upstream;
      one.usable = choosing.usable(i);
      one.score = Cost::of(choosing, i);
      one.chosen = best == i;
      const bool compared = drawn && (drawn->first == i || drawn->second == i);
      one.why = compared ? Cost::kWhy : std::string_view("not drawn");
    }
  }

 private:
  static std::optional<std::size_t> cheaper(const Choosing& choosing, std::optional<TwoCandidates::Drawn> drawn) {
    if (!drawn) return std::nullopt;
    if (!drawn->second || Cost::of(choosing, drawn->first) <= Cost::of(choosing, *drawn->second)) return drawn->first;
    return drawn->second;
  }

  TwoCandidates two_;
};

}  // namespace dao::align

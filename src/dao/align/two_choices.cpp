// p2c: of two different ones drawn by weight, the one with fewer requests under way for its weight, over all workers
// (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001). Knows nothing of latency; does not
// herd.
#include "dao/align/policy.h"
#include "dao/align/two_candidates.h"

namespace dao::align {
namespace {

// Without the new one, so that between idle ones the draw decides, and with it the weights.
double load_of(const Choosing& choosing, std::size_t index) {
  const std::int64_t under_way = choosing.in_flight.count(choosing.candidates[index].upstream);
  return static_cast<double>(under_way) * kWeightUnit / choosing.weight(index);
}

class TwoChoices final : public Policy {
 public:
  void prepare(std::span<const Candidate> candidates) override { two_.prepare(candidates); }

  std::optional<std::size_t> choose(const Choosing& choosing) override {
    if (!two_.prepared(choosing.candidates)) prepare(choosing.candidates);
    return better(choosing, two_.draw(choosing, choosing.random));
  }

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
      one.score = load_of(choosing, i);
      one.chosen = best == i;
      const bool compared = drawn && (drawn->first == i || drawn->second == i);
      one.why = compared ? "drawn: fewer requests under way for its weight wins" : "not drawn";
    }
  }

 private:
  static std::optional<std::size_t> better(const Choosing& choosing, std::optional<TwoCandidates::Drawn> drawn) {
    if (!drawn) return std::nullopt;
    if (!drawn->second || load_of(choosing, drawn->first) <= load_of(choosing, *drawn->second)) return drawn->first;
    return drawn->second;
  }

  TwoCandidates two_;
};

}  // namespace

std::unique_ptr<Policy> make_two_choices() {
  return std::make_unique<TwoChoices>();
}

}  // namespace dao::align

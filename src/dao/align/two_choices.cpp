// p2c: of two, the one with fewer requests under way for its weight, over all workers. Knows nothing of latency.
#include "dao/align/policy.h"
#include "dao/align/two_candidates.h"

namespace dao::align {
namespace {

struct Load {
  static constexpr std::string_view kWhy = "drawn: fewer requests under way for its weight wins";

  // Without the new one, so that between idle ones the draw decides, and with it the weights.
  static double of(const Choosing& choosing, std::size_t index) {
    const std::int64_t under_way = choosing.in_flight.count(choosing.candidates[index].upstream);
    return static_cast<double>(under_way) * kWeightUnit / choosing.weight(index);
  }
};

}  // namespace

std::unique_ptr<Policy> make_two_choices() {
  return std::make_unique<CheaperOfTwo<Load>>();
}

}  // namespace dao::align

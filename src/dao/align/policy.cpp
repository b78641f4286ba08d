#include "dao/align/policy.h"

#include "dao/align/slow_start.h"

namespace dao::align {

std::uint32_t Choosing::ramped(std::size_t index, std::uint32_t whole) const {
  const std::uint32_t upstream = candidates[index].upstream;
  if (upstream >= view.upstreams.size()) return whole;
  return static_cast<std::uint32_t>(whole * share_since(view.upstreams[upstream].admitted_since, now, slow_start));
}

bool Choosing::waits_for_room() const {
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    if (candidates[i].usable && !has_room(i) && admitted(i)) return true;
  }
  return false;
}

std::unique_ptr<Policy> make_policy(const config::PolicyChoice& choice) {
  switch (choice.kind) {
    case config::Policy::round_robin:
      return make_round_robin();
    case config::Policy::random:
      return make_random();
    case config::Policy::least_connections:
      return make_least_connections();
    case config::Policy::two_choices:
      return make_two_choices();
    case config::Policy::peak_ewma:
      return make_peak_ewma();
    case config::Policy::consistent_hash:
      return make_consistent_hash();
    case config::Policy::resonant:
      return make_resonant(choice.weights);
  }
  return make_round_robin();
}

}  // namespace dao::align

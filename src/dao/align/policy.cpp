#include "dao/align/policy.h"

namespace dao::align {

std::unique_ptr<Policy> make_policy(const config::PolicyChoice& choice) {
  switch (choice.kind) {
    case config::Policy::round_robin:
      return make_round_robin();
    case config::Policy::random:
      return make_random();
    case config::Policy::least_connections:
      return make_least_connections();
    case config::Policy::resonant:
      return make_resonant(choice.weights);
  }
  return make_round_robin();
}

}  // namespace dao::align

// Which of the upstreams of a rule a request may go to: the first group whose conditions hold, else one of those with
// a weight, always the same for a client, else what no group has. Immutable, any thread.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "dao/config/config.h"
#include "dao/flow/facts.h"

namespace dao::flow {

class TrafficSplit {
 public:
  // `rule` outlives it.
  explicit TrafficSplit(const config::Rule& rule);

  struct Choice {
    std::string_view name;                     // empty: no group
    const std::vector<std::uint8_t>* members;  // for each position in Rule::upstreams whether it is one
  };
  [[nodiscard]] Choice choose(const Facts& facts) const;

 private:
  [[nodiscard]] bool takes(const config::SplitGroup& group, const Facts& facts) const;
  [[nodiscard]] std::uint64_t point_of(const Facts& facts) const;

  const config::Split& split_;
  const std::uint64_t seed_;  // of the rule's name: the same in every worker and after every start
  std::uint64_t total_weight_ = 0;
  std::vector<std::vector<std::uint8_t>> members_;  // of each group, and last, of none
};

}  // namespace dao::flow

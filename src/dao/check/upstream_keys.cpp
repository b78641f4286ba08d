#include "dao/check/upstream_keys.h"

#include <fmt/format.h>

namespace dao::check {

std::vector<std::string> upstream_keys(const config::Config& config) {
  std::vector<std::string> keys(config.upstreams.size());
  for (std::size_t i = 0; i < config.rules.size(); ++i) {
    const auto& upstreams = config.rules[i].upstreams;
    for (std::size_t j = 0; j < upstreams.size(); ++j) {
      std::string& key = keys[upstreams[j].index];
      if (key.empty()) key = fmt::format("routes.rule[{}].upstreams[{}]", i, j);
    }
  }
  return keys;
}

}  // namespace dao::check

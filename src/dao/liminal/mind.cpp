#include "dao/liminal/mind.h"

#include <utility>

namespace dao::liminal {
namespace {

std::vector<std::vector<std::uint32_t>> upstreams_of_routes(const config::Config& config) {
  std::vector<std::vector<std::uint32_t>> routes;
  for (const config::Rule& rule : config.rules) {
    std::vector<std::uint32_t>& route = routes.emplace_back();
    for (const config::RuleUpstream& upstream : rule.upstreams) {
      route.push_back(static_cast<std::uint32_t>(upstream.index));
    }
  }
  return routes;
}

}  // namespace

Mind::Mind(std::shared_ptr<const config::Config> config, Senses senses)
    : config_(std::move(config)),
      senses_(std::move(senses)),
      fold_(senses_.shards, upstreams_of_routes(*config_), senses_.in_flight) {}

sense::ViewPtr Mind::step(Instant now) {
  auto view = std::make_shared<sense::View>();
  view->number = ++steps_;
  fold_.step(now, *view);
  return view;
}

}  // namespace dao::liminal

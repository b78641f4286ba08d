#include "dao/liminal/mind.h"

#include <utility>

namespace dao::liminal {

Mind::Mind(std::shared_ptr<const config::Config> config, Senses senses)
    : config_(std::move(config)),
      senses_(std::move(senses)),
      fold_(senses_.shards, config_->rules.size(), config_->upstreams.size()) {}

sense::ViewPtr Mind::step(Instant now) {
  auto view = std::make_shared<sense::View>();
  view->number = ++steps_;
  fold_.step(now, *view);
  return view;
}

}  // namespace dao::liminal

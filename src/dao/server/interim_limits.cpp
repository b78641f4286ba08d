#include "dao/server/interim_limits.h"

#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "dao/liminal/interpolate.h"

namespace dao::server {

InterimLimits::InterimLimits(std::shared_ptr<const Generation> before, std::shared_ptr<const Generation> after)
    : before_(std::move(before)), after_(std::move(after)) {
  std::unordered_map<std::string_view, std::size_t> old_rules;
  for (std::size_t i = 0; i < before_->config->rules.size(); ++i) old_rules[before_->config->rules[i].name] = i;
  std::vector<bool> paired(before_->config->rules.size());
  const auto add = [this](std::optional<std::size_t> old_rule, std::optional<std::size_t> new_rule) {
    Pair pair;
    if (old_rule) {
      pair.before = before_->filters->rate_limiters[*old_rule].get();
      pair.limit_before = before_->config->rules[*old_rule].filters.rate_limit;
    }
    if (new_rule) {
      pair.after = after_->filters->rate_limiters[*new_rule].get();
      pair.limit_after = after_->config->rules[*new_rule].filters.rate_limit;
    }
    if (pair.before != pair.after) pairs_.push_back(std::move(pair));
  };
  for (std::size_t i = 0; i < after_->config->rules.size(); ++i) {
    const auto known = old_rules.find(after_->config->rules[i].name);
    if (known == old_rules.end()) {
      add(std::nullopt, i);
    } else {
      paired[known->second] = true;
      add(known->second, i);
    }
  }
  for (std::size_t i = 0; i < paired.size(); ++i) {
    if (!paired[i]) add(i, std::nullopt);
  }
}

void InterimLimits::set(double progress) {
  using Interim = flow::RateLimiter::Interim;
  for (const Pair& pair : pairs_) {
    const liminal::EffectiveRates rates = liminal::effective_rates(pair.limit_before, pair.limit_after, progress);
    if (pair.before != nullptr) {
      pair.before->go_by(Interim{.per_second = rates.before->per_second, .burst = rates.before->burst});
    }
    if (pair.after != nullptr) {
      pair.after->go_by(Interim{.per_second = rates.after->per_second,
                                .burst = rates.after->burst,
                                .counted_by = rates.shared ? pair.before : nullptr});
    }
  }
}

void InterimLimits::end() {
  for (const Pair& pair : pairs_) {
    if (pair.before != nullptr) pair.before->go_by(std::nullopt);
    if (pair.after != nullptr) pair.after->go_by(std::nullopt);
  }
}

}  // namespace dao::server

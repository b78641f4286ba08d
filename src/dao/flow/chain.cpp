#include "dao/flow/chain.h"

#include <utility>

namespace dao::flow {

std::unique_ptr<Chain> Chain::compile(const config::Config& config, std::size_t number, Shared& shared) {
  const config::Rule& rule = config.rules[number];
  const config::Filters& filters = rule.filters;
  auto chain =
      std::unique_ptr<Chain>(new Chain{.config = config,
                                       .rule = rule,
                                       .addresses = {},
                                       .redirect = {},
                                       .respond = {},
                                       .split = {},
                                       .sticky = {},
                                       .rewrite = {},
                                       .request_fields = FieldEdits(filters.request, FieldEdits::Upstream::later),
                                       .response_fields = FieldEdits(filters.response, FieldEdits::Upstream::known)});
  if (!filters.allow.empty() || !filters.deny.empty()) chain->addresses.emplace(filters.allow, filters.deny);
  chain->rate_limiter = shared.rate_limiters[number].get();
  chain->request_body_max_bytes = filters.request_body_max_bytes;
  if (rule.redirect.on()) chain->redirect.emplace(rule.redirect);
  if (rule.respond.on()) chain->respond.emplace(rule.respond);
  if (rule.rewrite.on()) chain->rewrite.emplace(rule.rewrite);
  if (rule.split.on()) chain->split.emplace(rule);
  if (rule.sticky.on()) chain->sticky.emplace(rule, config.upstreams, shared.sticky_secrets[number]);
  chain->response_body_max_bytes = filters.response_body_max_bytes;

  const bool any = chain->addresses || chain->rate_limiter != nullptr || chain->request_body_max_bytes != 0 ||
                   chain->redirect || chain->respond || chain->rewrite || !chain->request_fields.empty() ||
                   chain->split || chain->sticky || chain->response_body_max_bytes != 0 ||
                   !chain->response_fields.empty();
  return any ? std::move(chain) : nullptr;
}

}  // namespace dao::flow

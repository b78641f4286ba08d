#include "dao/server/generation.h"

#include <utility>

namespace dao::server {

Generation::Generation(std::uint64_t the_number, std::shared_ptr<const config::Config> the_config,
                       std::shared_ptr<flow::Shared> the_filters, UpstreamTlsContexts the_upstream_tls)
    : number(the_number),
      config(std::move(the_config)),
      filters(std::move(the_filters)),
      upstream_tls(std::move(the_upstream_tls)),
      routes(config->rules) {}

std::expected<std::shared_ptr<const Generation>, std::string> Generation::make(
    std::uint64_t number, std::shared_ptr<const config::Config> config, const Generation* before, std::uint64_t seed) {
  auto filters = flow::Shared::make(*config, seed, before == nullptr ? nullptr : before->filters.get());
  if (!filters) return std::unexpected(std::move(filters.error()));
  auto tls = make_upstream_tls(*config, before == nullptr ? nullptr : &before->upstream_tls);
  if (!tls) return std::unexpected(std::move(tls.error()));
  return std::make_shared<const Generation>(number, std::move(config), *std::move(filters), *std::move(tls));
}

}  // namespace dao::server

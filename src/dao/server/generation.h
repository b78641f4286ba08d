// One configuration as the process runs it. It is made whole before anything of it is used, off the workers' threads;
// afterwards nothing changes it, and whoever works with it holds it. Any thread.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <string>

#include "dao/config/config.h"
#include "dao/flow/shared.h"
#include "dao/server/route_table.h"
#include "dao/server/upstream_tls.h"

namespace dao::server {

struct Generation {
  // `number`: counts the generations of the process, from 1. `before`: the one that this one follows, whose rate limits
  // go on where nothing of them has changed; null: none. `seed`: secret. The numbers of the upstreams and rules of
  // `config` are those of the process (roster.h). Reads the files that the configuration names. The error is a sentence
  // for the operator.
  static std::expected<std::shared_ptr<const Generation>, std::string> make(
      std::uint64_t number, std::shared_ptr<const config::Config> config, const Generation* before, std::uint64_t seed);

  Generation(std::uint64_t the_number, std::shared_ptr<const config::Config> the_config,
             std::shared_ptr<flow::Shared> the_filters, UpstreamTlsContexts the_upstream_tls);

  const std::uint64_t number;
  const std::shared_ptr<const config::Config> config;
  const std::shared_ptr<flow::Shared> filters;
  const UpstreamTlsContexts upstream_tls;
  const RouteTable routes;
};

}  // namespace dao::server

// The filters of one rule, compiled from its configuration; in the order of the members (docs/filters.md):
// addresses, rate limit, request body limit, redirect, fixed response, split, sticky, rewrite, request fields, then the
// upstream, then response body limit, cookie, response fields. A filter that comes later gets a member here, its place
// in FilteredExchange and one in the page.
//
// Belongs to one worker.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "dao/config/config.h"
#include "dao/flow/address_filter.h"
#include "dao/flow/field_edits.h"
#include "dao/flow/fixed_response.h"
#include "dao/flow/path_rewrite.h"
#include "dao/flow/redirect.h"
#include "dao/flow/shared.h"
#include "dao/flow/sticky.h"
#include "dao/flow/traffic_split.h"

namespace dao::flow {

struct Chain {
  // Null: the rule has no filters. `config` and `shared` outlive it.
  static std::unique_ptr<Chain> compile(const config::Config& config, std::size_t rule, Shared& shared);

  const config::Config& config;
  const config::Rule& rule;
  std::optional<AddressFilter> addresses;
  RateLimiter* rate_limiter = nullptr;
  std::uint64_t request_body_max_bytes = 0;
  std::optional<Redirect> redirect;
  std::optional<FixedResponse> respond;
  std::optional<TrafficSplit> split;
  std::optional<Sticky> sticky;
  std::optional<PathRewrite> rewrite;
  FieldEdits request_fields;
  std::uint64_t response_body_max_bytes = 0;
  FieldEdits response_fields;
};

}  // namespace dao::flow

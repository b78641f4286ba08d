// What a request to the admin API orders of the configuration. Pure, any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "dao/admin/answer.h"
#include "dao/admin/target.h"
#include "dao/server/config_order.h"

namespace dao::admin {

// Bytes of the reason that somebody gives for an order.
inline constexpr std::size_t kReasonMax = 256;

struct OrderRequest {
  const Target& target;          // may have `reason`, `by`, `dry_run` and `over_ms`
  std::string_view media_type;   // of the body, without parameters; empty: not given
  std::string body;              // whole
  std::string_view if_match;     // the field; empty: not given
  std::string_view peer;         // who asks, for the author
  std::string_view etag_in_use;  // without quotes
};

// POST /v1/config: the configuration is the body, or "text" in it. The error is the answer.
[[nodiscard]] std::expected<server::ConfigOrder, Answer> apply_order(OrderRequest request);
// POST /v1/config/reload
[[nodiscard]] std::expected<server::ConfigOrder, Answer> reload_order(OrderRequest request);
// POST /v1/config/rollback/N
[[nodiscard]] std::expected<server::ConfigOrder, Answer> rollback_order(OrderRequest request, std::uint64_t snapshot);

// POST /v1/config/transition/pause and the like: only `reason` and `by` can be said.
[[nodiscard]] std::expected<server::TransitionOrder, Answer> transition_order(OrderRequest request,
                                                                              server::TransitionOrder::What what);

// The number of a snapshot: from 1, decimal digits only. 0: it is none.
[[nodiscard]] std::uint64_t parse_snapshot(std::string_view text);

}  // namespace dao::admin

// What the admin API answers, as JSON. On the thread of the service; docs/admin-api.md says what the figures mean.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "dao/server/operations.h"

namespace dao::admin {

[[nodiscard]] nlohmann::json status_page(server::Operations& operations);
[[nodiscard]] nlohmann::json upstreams_page(server::Operations& operations);
[[nodiscard]] nlohmann::json upstream_page(server::Operations& operations, const config::Config& config,
                                           std::size_t upstream);
[[nodiscard]] nlohmann::json routes_page(const server::Operations& operations);
// `answers`: one for each worker, nothing from those that did not answer.
[[nodiscard]] nlohmann::json explain_page(server::Operations& operations, const config::Rule& rule,
                                          const std::vector<std::optional<server::ExplainAnswer>>& answers);

// The rules that have no upstream left that is not drained.
[[nodiscard]] std::vector<std::string> routes_left_without(server::Operations& operations,
                                                           const config::Config& config);

}  // namespace dao::admin

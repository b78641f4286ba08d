// What the admin API answers about the configuration, as JSON; secrets are redacted. Those that take the operations
// read the store, so they may wait for the disk, and compare texts: seconds for the largest configurations,
// milliseconds for others. On the thread of the service.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>

#include "dao/admin/answer.h"
#include "dao/memory/store.h"
#include "dao/server/config_order.h"
#include "dao/server/operations.h"

namespace dao::admin {

[[nodiscard]] nlohmann::json config_status_json(const server::ConfigStatus& status);
[[nodiscard]] nlohmann::json store_status_json(const memory::StoreStatus& status);

// GET /v1/config/status
[[nodiscard]] Answer config_status_answer(server::Operations& operations);
// GET /v1/config: the status and the text.
[[nodiscard]] Answer config_answer(server::Operations& operations);
// GET /v1/config/history: the newest first, at most `limit`.
[[nodiscard]] Answer history_answer(server::Operations& operations, std::size_t limit);
// GET /v1/config/snapshots/N
[[nodiscard]] Answer snapshot_answer(server::Operations& operations, std::uint64_t number);
// GET /v1/config/diff. `to` nothing: the one in use; `from` nothing: the applied one before `to`.
[[nodiscard]] Answer diff_answer(server::Operations& operations, std::optional<std::uint64_t> from,
                                 std::optional<std::uint64_t> to);
// What became of an order.
[[nodiscard]] Answer outcome_answer(const server::ConfigOutcome& outcome);

}  // namespace dao::admin

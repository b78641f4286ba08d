// What the admin API says of a gradual transition (docs/admin-api.md). Pure, any thread.
#pragma once

#include <nlohmann/json.hpp>

#include "dao/admin/answer.h"
#include "dao/server/config_order.h"

namespace dao::admin {

[[nodiscard]] nlohmann::json transition_json(const server::TransitionStatus& status);
// What became of an order to it.
[[nodiscard]] Answer transition_answer(const server::TransitionOutcome& outcome);

}  // namespace dao::admin

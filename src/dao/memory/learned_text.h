// Learned state as text, as it lies in the store: JSON with a version ("v"). Pure functions; any thread.
//   presence  {"v":1,"presence":"present","cause":"none","away":false,"in_state_ms":1500,"since_success_ms":20,
//              "history":"..E7.","means":[[0.75,0.25]]}
//             history: oldest first, with the signs of sense::PresenceFigures::history; a digit is the mean of several
//             outcomes, and what it counts is in `means`, in order
//   route     {"v":1,"latency_ms":[12.5,600],"in_flight":[1.5,600],"error_rate":[0,600]}
//             each: the value, and in how many seconds it was learned
// "gone": true says that the configuration no longer had it. What cannot be read, or has another version, is nothing.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "dao/liminal/presence.h"
#include "dao/sense/fold.h"

namespace dao::memory {

[[nodiscard]] std::string to_text(const liminal::PresenceDetector::State& state);
[[nodiscard]] std::string to_text(const sense::RouteLearned& learned);

[[nodiscard]] std::optional<liminal::PresenceDetector::State> presence_of_text(std::string_view text);
[[nodiscard]] std::optional<sense::RouteLearned> route_of_text(std::string_view text);

[[nodiscard]] bool is_gone(std::string_view text);
// The same text with that mark; of a text that cannot be read it is empty.
[[nodiscard]] std::string marked_gone(std::string_view text);

}  // namespace dao::memory

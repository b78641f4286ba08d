// The API's answers about configurations, as text for people.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "dao/config/load.h"

namespace dao {

// For a terminal that shows colours; else all is plain.
enum class Colours : bool { off, on };
// Of standard output; NO_COLOR switches them off.
[[nodiscard]] Colours colours_of_output();

[[nodiscard]] std::string config_status_text(const nlohmann::json& status);
[[nodiscard]] std::string transition_text(const nlohmann::json& transition);
// In a few words, while it is under way; else empty. May be null.
[[nodiscard]] std::string transition_brief(const nlohmann::json& transition);
[[nodiscard]] std::string history_text(const nlohmann::json& page);
// Lines with '+', '-' and '~'.
[[nodiscard]] std::string changes_text(const nlohmann::json& changes, Colours colours);
[[nodiscard]] std::string diff_text(const nlohmann::json& page, Colours colours);
// What became of an order that was obeyed.
[[nodiscard]] std::string ordered_text(const nlohmann::json& answer, Colours colours);

// As `dao check` has them.
[[nodiscard]] config::Diagnostics diagnostics_from(const nlohmann::json& list);

// Who applied the one in use, and when: for `daoctl status`.
[[nodiscard]] std::string who_applied(const nlohmann::json& config);
// What an operator must not overlook, each with a line; empty: nothing. `status`: /v1/status, or what has "config".
[[nodiscard]] std::string alarms_text(const nlohmann::json& status, Colours colours);
[[nodiscard]] std::string store_text(const nlohmann::json& store);

}  // namespace dao

// "Did you mean": which of some known names was probably meant.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace dao::config {

// Lower case, '-' and '_' removed: names equal after this differ only in spelling habits.
[[nodiscard]] std::string spelling_key(std::string_view name);

// How far `given` is from `known`: 0 = equal but for case, dashes and underscores; nullopt = not similar. One
// insertion, deletion, substitution or swap of neighbours counts 1, at most about a third of the longer name; a name
// that continues the given one (connect_timeout -> connect_timeout_ms) counts as 1.
[[nodiscard]] std::optional<unsigned> likeness(std::string_view given, std::string_view known);

// The only one of `known` of which `given` is a whole word (bind: prometheus_bind), or else the one that goes by that
// name in the configurations of other proxies (listen: bind).
[[nodiscard]] std::optional<std::string_view> by_another_name(std::string_view given,
                                                              std::span<const std::string_view> known);

// The closest of `known`, the first on ties.
[[nodiscard]] std::optional<std::string_view> nearest(std::string_view given, std::span<const std::string_view> known);

}  // namespace dao::config

// JSON from text and to text. The library's own parser and serializer are templates, which every source that uses them
// would compile: seconds each. Pure functions; any thread.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace dao {

// Of what is no JSON: is_discarded(), and no other kind of value.
[[nodiscard]] nlohmann::json parse_json(std::string_view text);
[[nodiscard]] nlohmann::ordered_json parse_ordered_json(std::string_view text);

inline constexpr int kOnOneLine = -1;

// `indent`: spaces of each level. Bytes that are no UTF-8 become U+FFFD.
[[nodiscard]] std::string json_text(const nlohmann::json& json, int indent = kOnOneLine);
[[nodiscard]] std::string json_text(const nlohmann::ordered_json& json, int indent = kOnOneLine);

}  // namespace dao

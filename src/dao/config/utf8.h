// Just enough UTF-8 (RFC 3629) to say where a text stops being it, at which character an offset is, and what a terminal
// may be shown.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "dao/config/document.h"

namespace dao::config {

// The length in bytes of the character that starts at `at`; 0 if none does (overlong forms, surrogates and cut
// sequences are none). Precondition: at < text.size().
[[nodiscard]] std::size_t character_length(std::string_view text, std::size_t at);

// The offset of the first byte that is not part of a character.
[[nodiscard]] std::optional<std::size_t> find_invalid_utf8(std::string_view text);

[[nodiscard]] Position position_at(std::string_view text, std::size_t offset);

// A line of a text that may hold anything, made safe for a terminal: control characters but tabs, and bytes that are
// not UTF-8, become '?'.
[[nodiscard]] std::string printable(std::string_view line);

}  // namespace dao::config

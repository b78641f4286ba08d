// Just enough UTF-8 (RFC 3629) to say where a text stops being it, and at which character an offset is.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "dao/config/document.h"

namespace dao::config {

// The length in bytes of the character that starts at `at`; 0 if none does (overlong forms, surrogates and cut
// sequences are none). Precondition: at < text.size().
[[nodiscard]] std::size_t character_length(std::string_view text, std::size_t at);

// The offset of the first byte that is not part of a character.
[[nodiscard]] std::optional<std::size_t> find_invalid_utf8(std::string_view text);

[[nodiscard]] Position position_at(std::string_view text, std::size_t offset);

}  // namespace dao::config

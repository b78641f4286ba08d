// The values of the keys that edit header fields. What DAO itself decides on cannot be edited.
#pragma once

#include <string_view>

#include "dao/config/problem.h"
#include "dao/config/text_template.h"

namespace dao::config {

enum class EditOf : std::uint8_t { request, response };
enum class EditKind : std::uint8_t { remove, rename, set, add };

// Nothing is wrong, or why this field must not be edited.
[[nodiscard]] Parsed<std::string> parse_edited_name(std::string_view name, EditOf message, EditKind kind);
[[nodiscard]] Parsed<FieldEdit> parse_field_edit(std::string_view name, std::string_view value, EditOf message,
                                                 EditKind kind, TemplateScope scope);

}  // namespace dao::config

// What the rows of several filters have in common.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "dao/config/match_values.h"
#include "dao/config/names.h"
#include "dao/config/schema_rows.h"
#include "dao/config/text_template.h"

namespace dao::config {

inline constexpr std::size_t kMostEdits = 64;
inline constexpr std::string_view kEditForm = "the name of a header and its value, with variables";
inline constexpr std::string_view kVariablesForm = "a text, with variables";

[[nodiscard]] inline Key as_example(Key key, std::string_view absent, std::string_view example) {
  key.absent = absent;
  key.example = example;
  return key;
}

// Names of fields are compared without case; the same one twice would depend on the order. `member`: of an edit, its
// name.
template <class Edits, class Member>
bool is_new(std::string_view name, const Edits& edits, Member member, std::size_t index, Objections& objections) {
  const std::string lower = lower_case(name);
  const bool twice =
      std::ranges::any_of(edits, [&](const std::string& given) { return lower_case(given) == lower; }, member);
  if (twice) {
    objections.object(index, {.message = "the header " + in_quotes(name) + " is named twice",
                              .expected = "each header once; names of headers are case-insensitive"});
  }
  return !twice;
}

// A text with the variables that every filter knows.
template <auto... Field>
void store_text(void* object, const Value& value, Objections& objections) {
  auto parsed = parse_template(value.texts.front().text, {});
  if (!parsed) return objections.object(0, std::move(parsed.error()));
  field_of<Field...>(object) = *std::move(parsed);
}

// One of `plain`, or "KIND:NAME" of a KIND in `named`, with an empty or the given name: what something goes by.
[[nodiscard]] Parsed<std::pair<std::string, std::string>> parse_kind_and_name(std::string_view text,
                                                                              std::span<const std::string_view> plain,
                                                                              std::span<const std::string_view> named);

}  // namespace dao::config

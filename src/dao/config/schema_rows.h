// How a row of the schema table writes into a struct: one maker per kind of value. The template arguments are the path
// of members from the object of the table to the field, so a row that does not fit its field does not compile.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <string_view>
#include <type_traits>
#include <utility>

#include "dao/config/schema.h"

namespace dao::config {

template <class T>
struct OwnerOf;
template <class Owner, class Field>
struct OwnerOf<Field Owner::*> {
  using type = Owner;
};

template <auto First, auto... Rest>
auto& field_of(void* object) {
  auto& owner = *static_cast<typename OwnerOf<decltype(First)>::type*>(object);
  if constexpr (sizeof...(Rest) == 0) {
    return owner.*First;
  } else {
    return field_of<Rest...>(static_cast<void*>(&(owner.*First)));
  }
}

template <class E>
struct Named {
  std::string_view name;
  E value;
  std::string_view doc;
};

template <const auto& Names>
std::vector<Choice> choices_of() {
  std::vector<Choice> choices;
  for (const auto& named : Names) choices.push_back({named.name, named.doc});
  return choices;
}

template <auto... Field>
Key boolean(std::string_view name, bool fallback, std::string_view doc) {
  return {.name = name,
          .kind = Kind::boolean,
          .doc = doc,
          .fallback = fallback,
          .store = [](void* object, const Value& value, Objections&) { field_of<Field...>(object) = value.boolean; }};
}

struct Range {
  std::int64_t min;
  std::int64_t max;
};

constexpr std::int64_t kDayMs = 86'400'000;

template <auto... Field>
Key integer(std::string_view name, Default fallback, Range range, std::string_view unit, std::string_view doc) {
  return {.name = name,
          .kind = Kind::integer,
          .doc = doc,
          .fallback = std::move(fallback),
          .min = range.min,
          .max = range.max,
          .unit = unit,
          .store = [](void* object, const Value& value, Objections&) {
            auto& field = field_of<Field...>(object);
            using Type = std::remove_reference_t<decltype(field)>;
            if constexpr (std::is_integral_v<Type>) {
              field = static_cast<Type>(value.integer);
            } else {
              field = std::chrono::milliseconds(value.integer);
            }
          }};
}

template <auto... Field>
Key number(std::string_view name, double fallback, Range range, std::string_view doc) {
  return {.name = name,
          .kind = Kind::number,
          .doc = doc,
          .fallback = fallback,
          .min = range.min,
          .max = range.max,
          .store = [](void* object, const Value& value, Objections&) { field_of<Field...>(object) = value.number; }};
}

// One of a fixed set of names, each standing for a value of an enumeration.
template <const auto& Names, auto... Field>
Key choice(std::string_view name, std::string_view fallback, std::string_view doc) {
  return {.name = name,
          .kind = Kind::text,
          .doc = doc,
          .fallback = fallback,
          .choices = choices_of<Names>(),
          .store = [](void* object, const Value& value, Objections&) {
            for (const auto& named : Names) {
              if (named.name == value.texts.front().text) field_of<Field...>(object) = named.value;
            }
          }};
}

// A list of such names, each switching on a bool of the field.
template <const auto& Names, auto... Field>
Key switches(std::string_view name, Default fallback, std::string_view doc) {
  return {.name = name,
          .kind = Kind::text_list,
          .doc = doc,
          .fallback = std::move(fallback),
          .choices = choices_of<Names>(),
          .unique_items = true,
          .store = [](void* object, const Value& value, Objections&) {
            auto& field = field_of<Field...>(object);
            field = {};
            for (const auto& text : value.texts) {
              for (const auto& named : Names) {
                if (named.name == text.text) field.*named.value = true;
              }
            }
          }};
}

// A text with a form of its own, checked and turned into the field's value by `Parse`.
template <auto Parse, auto... Field>
Key text(std::string_view name, std::string_view form, std::string_view doc) {
  return {.name = name,
          .kind = Kind::text,
          .doc = doc,
          .form = form,
          .store = [](void* object, const Value& value, Objections& objections) {
            if (auto parsed = Parse(value.texts.front().text)) {
              field_of<Field...>(object) = *std::move(parsed);
            } else {
              objections.object(0, std::move(parsed.error()));
            }
          }};
}

// Several such texts, one or many.
template <auto Parse, auto... Field>
Key texts(Kind kind, std::string_view name, std::string_view form, std::string_view doc) {
  return {.name = name,
          .kind = kind,
          .doc = doc,
          .form = form,
          .unique_items = true,
          .store = [](void* object, const Value& value, Objections& objections) {
            for (std::size_t i = 0; i < value.texts.size(); ++i) {
              auto& added = field_of<Field...>(object).emplace_back();  // also for a refused one: keeps the numbering
              if (auto parsed = Parse(value.texts[i].text)) {
                added = *std::move(parsed);
              } else {
                objections.object(i, std::move(parsed.error()));
              }
            }
          }};
}

}  // namespace dao::config

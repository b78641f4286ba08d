// Edits of header fields, in place: remove, rename, set, add, in this order. Compiled once; immutable, any thread.
#pragma once

#include <string>
#include <vector>

#include "dao/config/filters.h"
#include "dao/flow/facts.h"
#include "dao/http/head.h"

namespace dao::flow {

class FieldEdits {
 public:
  enum class Upstream : std::uint8_t {
    known,  // when apply() is called; or there is none
    later,  // name_upstream() tells it: fields that speak of it get their place before
  };

  // `edits` outlives it.
  FieldEdits(const config::FieldEdits& edits, Upstream upstream);

  [[nodiscard]] bool empty() const {
    return remove_.empty() && rename_.empty() && set_.empty() && add_.empty() && late_set_.empty() && late_add_.empty();
  }
  [[nodiscard]] bool needs_upstream() const { return !late_set_.empty() || !late_add_.empty(); }

  // All of them. Returns where the added ones that wait for the upstream begin in `head.fields`.
  std::size_t apply(http::Head& head, Facts& facts) const;
  // Each time that an upstream was chosen: the values that speak of it. `late`: what apply() returned.
  void name_upstream(http::Head& head, Facts& facts, std::size_t late) const;

 private:
  struct Name {
    std::string text;
    http::FieldId id;
    [[nodiscard]] bool is(const http::Field& field) const {
      return field.id == id && (id != http::FieldId::other || http::equals_ignoring_case(field.name, text));
    }
  };
  struct Edit {
    Name name;
    const config::TextTemplate* value;
  };
  struct Renaming {
    Name from;
    Name to;
  };
  static Name name_of(const std::string& text);
  static void set(http::Head& head, const Name& name, std::string_view value);

  std::vector<Name> remove_;
  std::vector<Renaming> rename_;
  std::vector<Edit> set_;
  std::vector<Edit> add_;
  std::vector<Edit> late_set_;
  std::vector<Edit> late_add_;
};

}  // namespace dao::flow

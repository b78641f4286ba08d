#include "dao/flow/field_edits.h"

#include <algorithm>

namespace dao::flow {

namespace {

bool speaks_of_upstream(const config::TextTemplate& text) {
  return std::ranges::any_of(text, [](const config::TextPiece& piece) {
    return piece.variable == config::Variable::upstream || piece.variable == config::Variable::upstream_host;
  });
}

}  // namespace

FieldEdits::Name FieldEdits::name_of(const std::string& text) {
  return {text, http::identify_field(text)};
}

FieldEdits::FieldEdits(const config::FieldEdits& edits, Upstream upstream) {
  const bool later = upstream == Upstream::later;
  for (const std::string& name : edits.remove) remove_.push_back(name_of(name));
  for (const config::FieldRenaming& renaming : edits.rename) {
    rename_.push_back({name_of(renaming.from), name_of(renaming.to)});
  }
  for (const config::FieldEdit& edit : edits.set) {
    (later && speaks_of_upstream(edit.value) ? late_set_ : set_).push_back({name_of(edit.name), &edit.value});
  }
  for (const config::FieldEdit& edit : edits.add) {
    (later && speaks_of_upstream(edit.value) ? late_add_ : add_).push_back({name_of(edit.name), &edit.value});
  }
}

// Keeps the place of the first such field.
void FieldEdits::set(http::Head& head, const Name& name, std::string_view value) {
  bool placed = value.empty();
  for (http::Field& field : head.fields) {
    if (field.dropped || !name.is(field)) continue;
    if (placed) {
      field.dropped = true;
    } else {
      field.replace_value(value);
      placed = true;
    }
  }
  if (!placed) head.add(name.text, value, name.id);
}

std::size_t FieldEdits::apply(http::Head& head, Facts& facts) const {
  for (const Name& name : remove_) {
    for (http::Field& field : head.fields) {
      if (name.is(field)) field.dropped = true;
    }
  }
  for (const Renaming& renaming : rename_) {
    for (http::Field& field : head.fields) {
      if (field.dropped || !renaming.from.is(field)) continue;
      field.name = renaming.to.text;
      field.id = renaming.to.id;
      field.line_bytes = 0;
    }
  }
  for (const Edit& edit : set_) set(head, edit.name, render(*edit.value, facts, head.arena));
  // A value with an upstream in it is never empty, so " " is a value that is always replaced.
  constexpr std::string_view kNotYet = " ";
  for (const Edit& edit : late_set_) set(head, edit.name, kNotYet);
  for (const Edit& edit : add_) {
    const std::string_view value = render(*edit.value, facts, head.arena);
    if (!value.empty()) head.add(edit.name.text, value, edit.name.id);
  }
  const std::size_t late = head.fields.size();
  for (const Edit& edit : late_add_) head.add(edit.name.text, kNotYet, edit.name.id);
  return late;
}

void FieldEdits::name_upstream(http::Head& head, Facts& facts, std::size_t late) const {
  for (const Edit& edit : late_set_) {
    const auto field =
        std::ranges::find_if(head.fields, [&](const http::Field& each) { return !each.dropped && edit.name.is(each); });
    if (field != head.fields.end()) field->replace_value(render(*edit.value, facts, head.arena));
  }
  for (std::size_t i = 0; i < late_add_.size(); ++i) {
    head.fields[late + i].replace_value(render(*late_add_[i].value, facts, head.arena));
  }
}

}  // namespace dao::flow

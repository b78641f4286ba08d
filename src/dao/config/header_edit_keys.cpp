#include "dao/config/header_edit_keys.h"

#include <array>
#include <string>
#include <utility>

#include "dao/config/field_edits.h"
#include "dao/config/filter_rows.h"

namespace dao::config {
namespace {

constexpr std::string_view kNamesForm = "names of headers";

template <EditOf Of>
constexpr TemplateScope edit_scope() {
  return {.upstream = true, .status = Of == EditOf::response, .captures = -1};
}

template <EditOf Of, EditKind Kind, auto... Field>
void store_edits(void* object, const Value& value, Objections& objections) {
  auto& edits = field_of<Field...>(object);
  for (std::size_t i = 0; i < value.texts.size(); ++i) {
    auto edit = parse_field_edit(value.texts[i].name, value.texts[i].text, Of, Kind, edit_scope<Of>());
    if (!edit) {
      objections.object(i, std::move(edit.error()));
    } else if (is_new(edit->name, edits, &FieldEdit::name, i, objections)) {
      edits.push_back(*std::move(edit));
    }
  }
}

template <EditOf Of, auto... Field>
void store_renamings(void* object, const Value& value, Objections& objections) {
  auto& renamings = field_of<Field...>(object);
  for (std::size_t i = 0; i < value.texts.size(); ++i) {
    auto from = parse_edited_name(value.texts[i].name, Of, EditKind::rename);
    auto to = parse_edited_name(value.texts[i].text, Of, EditKind::rename);
    if (!from || !to) {
      objections.object(i, std::move(from ? to.error() : from.error()));
    } else if (is_new(*from, renamings, &FieldRenaming::from, i, objections)) {
      renamings.push_back({*std::move(from), *std::move(to)});
    }
  }
}

template <EditOf Of>
Parsed<std::string> parse_removed(std::string_view text) {
  return parse_edited_name(text, Of, EditKind::remove);
}

template <EditOf Of, auto Edits>
std::vector<Key> edit_keys(const std::array<std::string_view, 4>& names, const std::array<std::string_view, 4>& docs) {
  const auto table = [](std::string_view name, std::string_view doc, std::string_view form, std::string_view example,
                        auto store) {
    return Key{.name = name,
               .kind = Kind::text_table,
               .doc = doc,
               .absent = "none",
               .form = form,
               .max_items = kMostEdits,
               .example = example,
               .store = store};
  };
  Key remove = texts<parse_removed<Of>, &RuleDraft::rule, &Rule::filters, Edits, &FieldEdits::remove>(
      Kind::text_list, names[0], kNamesForm, docs[0]);
  remove.absent = "none";
  remove.max_items = kMostEdits;
  remove.example = Of == EditOf::request ? R"(["X-Debug"])" : R"(["Server", "X-Powered-By"])";
  Key rename = table(names[1], docs[1], "the old name and the new name",
                     Of == EditOf::request ? R"({ "X-Token" = "X-Client-Token" })" : R"({ "X-Old" = "X-New" })",
                     store_renamings<Of, &RuleDraft::rule, &Rule::filters, Edits, &FieldEdits::rename>);
  rename.secrecy = Secrecy::none;  // its values are names
  return {remove, rename,
          table(names[2], docs[2], kEditForm,
                Of == EditOf::request ? R"({ Host = "$upstream_host", "X-Real-IP" = "$client_ip" })"
                                      : R"({ "Strict-Transport-Security" = "max-age=31536000" })",
                store_edits<Of, EditKind::set, &RuleDraft::rule, &Rule::filters, Edits, &FieldEdits::set>),
          table(names[3], docs[3], kEditForm,
                Of == EditOf::request ? R"({ "X-Route" = "$route" })" : R"({ "X-Served-By" = "$upstream" })",
                store_edits<Of, EditKind::add, &RuleDraft::rule, &Rule::filters, Edits, &FieldEdits::add>)};
}

}  // namespace

std::vector<Key> header_edit_keys() {
  std::vector<Key> keys = edit_keys<EditOf::request, &Filters::request>(
      {"request_headers_remove", "request_headers_rename", "request_headers_set", "request_headers_add"},
      {"Fields that the upstream does not get.", "Fields that the upstream gets by another name.",
       "Fields that the upstream gets with this value alone, whatever the client sent. `Host` is what the upstream "
       "sees as its name (`$upstream_host`: the one of its URL).",
       "Fields that the upstream gets beside what is there already. A value that is empty once its variables are known "
       "sets or adds nothing."});
  const std::vector<Key> response = edit_keys<EditOf::response, &Filters::response>(
      {"response_headers_remove", "response_headers_rename", "response_headers_set", "response_headers_add"},
      {"Fields that the client does not get.", "Fields that the client gets by another name.",
       "Fields that the client gets with this value alone. These keys also hold for answers of DAO's own in this rule.",
       "Fields that the client gets beside what is there already."});
  keys.insert(keys.end(), response.begin(), response.end());
  return keys;
}

}  // namespace dao::config

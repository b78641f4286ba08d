#include "dao/config/respond_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "dao/config/field_edits.h"
#include "dao/config/filter_rows.h"

namespace dao::config {
namespace {

void store_response_headers(void* object, const Value& value, Objections& objections) {
  auto& headers = field_of<&RuleDraft::rule, &Rule::respond, &Respond::headers>(object);
  for (std::size_t i = 0; i < value.texts.size(); ++i) {
    auto edit = parse_field_edit(value.texts[i].name, value.texts[i].text, EditOf::response, EditKind::set, {});
    if (!edit) {
      objections.object(i, std::move(edit.error()));
    } else if (is_new(edit->name, headers, &FieldEdit::name, i, objections)) {
      headers.push_back(*std::move(edit));
    }
  }
}

}  // namespace

Table respond_table() {
  Table table{.name = "respond", .doc = "DAO answers itself, always the same. Such a rule has no upstreams."};
  table.enter = [](void* rule) -> void* { return rule; };
  Key status = integer<&RuleDraft::rule, &Rule::respond, &Respond::status>("status", std::monostate{}, {200, 599}, "",
                                                                           "The status; needed.");
  status.absent = "no fixed response";
  status.example = "503";
  Key body{.name = "body",
           .kind = Kind::text,
           .doc = "The body.",
           .absent = "none",
           .form = kVariablesForm,
           .example = R"("closed for today\n")",
           .store = [](void* object, const Value& value, Objections& objections) {
             constexpr std::size_t kMost = 65'536;
             if (value.texts.front().text.size() > kMost) {
               return objections.object(0, {.message = "the body is too large", .expected = "at most 65536 bytes"});
             }
             store_text<&RuleDraft::rule, &Rule::respond, &Respond::body>(object, value, objections);
           }};
  Key headers{.name = "headers",
              .kind = Kind::text_table,
              .doc = "Fields of the response.",
              .absent = "`Content-Type: text/plain; charset=utf-8`, if there is a body",
              .form = kEditForm,
              .max_items = kMostEdits,
              .example = R"({ "Content-Type" = "text/html", "Retry-After" = "600" })",
              .store = store_response_headers};
  table.keys = {status, body, headers};
  return table;
}

void check_respond(FilterCheck& check) {
  if (!check.given("respond")) return;
  const Respond& respond = check.draft().rule.respond;
  if (!check.given("respond.status")) check.error("respond", "a response without a status", "\"status\"");
  constexpr std::uint16_t kNoContent = 204;
  constexpr std::uint16_t kResetContent = 205;
  constexpr std::uint16_t kNotModified = 304;
  const bool empty = respond.status == kNoContent || respond.status == kResetContent || respond.status == kNotModified;
  if (empty && !respond.body.empty()) {
    check.error("respond.body", fmt::format("a {} has no body", respond.status), "another status, or no body");
  }
  for (const std::string_view unused : {"upstreams", "rewrite", "sticky", "split"}) {
    if (check.given(unused)) check.error(unused, "never used: the rule answers by itself", "no [routes.rule.respond]");
  }
}

void complete_respond(Rule& rule) {
  if (rule.respond.on() && !rule.respond.body.empty()) {
    const bool typed = std::ranges::any_of(
        rule.respond.headers, [](const FieldEdit& field) { return lower_case(field.name) == "content-type"; });
    if (!typed) {
      rule.respond.headers.push_back({"Content-Type", {{Variable::literal, "text/plain; charset=utf-8"}}});
    }
  }
}

}  // namespace dao::config

#include "dao/config/rewrite_keys.h"

#include <re2/re2.h>

#include <string>
#include <utility>

#include "dao/config/filter_rows.h"

namespace dao::config {
namespace {

// A prefix is compared segment by segment, so a slash at its end says nothing.
Parsed<std::string> parse_prefix(std::string_view text) {
  auto path = parse_path(text);
  if (!path) return path;
  while (path->ends_with('/')) path->pop_back();
  return path;
}
Parsed<std::optional<std::string>> parse_optional_prefix(std::string_view text) {
  auto path = parse_prefix(text);
  if (!path) return std::unexpected(std::move(path.error()));
  return *std::move(path);
}

Parsed<std::string> parse_regex(std::string_view text) {
  const RE2 regex(re2::StringPiece(text.data(), text.size()), RE2::Quiet);
  if (text.empty()) return std::unexpected(Problem{"the regular expression is empty", "a regular expression of RE2"});
  if (!regex.ok()) {
    return std::unexpected(Problem{"not a regular expression: " + regex.error(),
                                   "the syntax of RE2, which has no backreferences and no lookaround"});
  }
  return std::string(text);
}

void store_replacement(void* object, const Value& value, Objections& objections) {
  Rewrite& rewrite = field_of<&RuleDraft::rule, &Rule::rewrite>(object);
  if (rewrite.regex.empty()) return;  // check_rewrite says so
  const RE2 regex(rewrite.regex, RE2::Quiet);
  auto parsed = parse_template(value.texts.front().text, {.captures = regex.NumberOfCapturingGroups()});
  if (!parsed) return objections.object(0, std::move(parsed.error()));
  rewrite.replacement = *std::move(parsed);
}

}  // namespace

Table rewrite_table() {
  Table table{.name = "rewrite",
              .doc =
                  "The path that the upstream is asked for; the query stays as it is. Matched byte for byte as "
                  "sent, nothing is decoded.",
              .exclusive = "strip_prefix regex"};
  table.enter = [](void* rule) -> void* { return rule; };
  constexpr auto rule = &RuleDraft::rule;
  constexpr auto rewrite = &Rule::rewrite;
  Key replacement{.name = "replacement",
                  .kind = Kind::text,
                  .doc =
                      "What stands in place of each match of `regex`: `$0` for all of the match, `$1` to `$9` for "
                      "its groups, and the variables.",
                  .absent = "matches are cut out",
                  .form = kVariablesForm,
                  .example = "\"/users/$1\"",
                  .store = store_replacement};
  table.keys = {
      as_example(text<parse_prefix, rule, rewrite, &Rewrite::strip_prefix>(
                     "strip_prefix", R"(a path starting with "/")",
                     "Taken from the start of the path, if that begins with these segments: `/api` of `/api/x` and "
                     "`/api`, not of `/apis`."),
                 "nothing", "\"/api\""),
      as_example(text<parse_optional_prefix, rule, rewrite, &Rewrite::replace_prefix>(
                     "replace_prefix", R"(a path starting with "/")",
                     "What stands in place of `strip_prefix`, or, without that, of the `path_prefix` of the rule."),
                 "nothing stands there", "\"/v2\""),
      as_example(text<parse_regex, rule, rewrite, &Rewrite::regex>(
                     "regex", "a regular expression of RE2",
                     "All that matches in the path, without its query, is replaced. The time it takes is linear in "
                     "the path, whatever the expression."),
                 "none", R"("^/u/([0-9]+)$")"),
      replacement};
  for (Key& key : table.keys) {
    if (key.name == "strip_prefix" || key.name == "replace_prefix") key.pattern = "^/[^?#\\s]*$";
  }
  return table;
}

void check_rewrite(FilterCheck& check) {
  const Rewrite& rewrite = check.draft().rule.rewrite;
  if (check.given("rewrite.replacement") && !check.given("rewrite.regex")) {
    check.error("rewrite.replacement", "there is nothing to replace", "\"regex\" with it");
  }
  if (!check.given("rewrite.replace_prefix")) return;
  if (check.given("rewrite.regex")) {
    check.error("rewrite.replace_prefix", "\"replace_prefix\" and \"regex\" exclude each other", "only one of them");
  } else if (!check.given("rewrite.strip_prefix") && !check.draft().rule.match.path_prefix && rewrite.replace_prefix) {
    check.error("rewrite.replace_prefix", "there is no prefix to replace",
                "\"strip_prefix\", or \"path_prefix\" in [routes.rule.match]");
  }
}

void complete_rewrite(Rule& rule) {
  Rewrite& rewrite = rule.rewrite;
  rewrite.match_prefix = rewrite.strip_prefix;
  if (rewrite.match_prefix.empty() && rewrite.replace_prefix) {
    rewrite.match_prefix = rule.match.path_prefix.value_or("/");
    while (rewrite.match_prefix.size() > 1 && rewrite.match_prefix.ends_with('/')) rewrite.match_prefix.pop_back();
  }
}

}  // namespace dao::config

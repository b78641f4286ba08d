#include "dao/config/split_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <type_traits>
#include <utility>
#include <vector>

#include "dao/config/filter_rows.h"
#include "dao/config/match_values.h"

namespace dao::config {
namespace {

void store_split_by(void* object, const Value& value, Objections& objections) {
  static constexpr std::string_view kPlain[] = {"client"};
  static constexpr std::string_view kNamed[] = {"header", "cookie"};
  Split& split = field_of<&RuleDraft::rule, &Rule::split>(object);
  auto parsed = parse_kind_and_name(value.texts.front().text, kPlain, kNamed);
  if (!parsed) return objections.object(0, std::move(parsed.error()));
  using enum Split::By;
  split.by = parsed->first == "client" ? client : parsed->first == "header" ? header : cookie;
  split.name = std::move(parsed->second);
}

template <auto Field>
void store_named_values(void* object, const Value& value, Objections& objections) {
  auto& values = field_of<Field>(object);
  for (std::size_t i = 0; i < value.texts.size(); ++i) {
    auto parsed = parse_header_match(value.texts[i].name, value.texts[i].text);
    if (!parsed) {
      objections.object(i, std::move(parsed.error()));
    } else {
      // Names of cookies have a case.
      constexpr bool kCookie =
          std::is_same_v<decltype(Field), std::vector<NamedValue> SplitGroup::*> && Field == &SplitGroup::cookies;
      values.push_back({kCookie ? value.texts[i].name : parsed->name, parsed->value});
    }
  }
}

Key with_weight_example(Key key) {
  key.example = "5";
  return key;
}

}  // namespace

Table split_table() {
  Table table{.name = "split",
              .doc =
                  "A part of the traffic for some of the upstreams: canary releases, A/B tests. The first group "
                  "whose conditions hold takes the request; otherwise those with a weight share it; without any, "
                  "it goes to the upstreams that no group has.",
              .repeated = true,
              .order_matters = true};
  table.enter = [](void* rule) -> void* {
    return &field_of<&RuleDraft::rule, &Rule::split, &Split::groups>(rule).emplace_back();
  };
  Key name = text<parse_name, &SplitGroup::name>("name", "printable ASCII characters, at most 128",
                                                 "The name of the group, `$split`; unique in the rule.");
  name.required = true;
  name.example = "\"canary\"";
  Key upstreams = texts<parse_name, &SplitGroup::upstreams>(Kind::text_or_list, "upstreams", "names of upstreams",
                                                            "Which upstreams of the rule serve the group.");
  upstreams.required = true;
  upstreams.min_items = 1;
  upstreams.example = R"(["api-1"])";
  const auto condition = [](std::string_view key_name, std::string_view doc, std::string_view example, auto store) {
    return Key{.name = key_name,
               .kind = Kind::text_table,
               .doc = doc,
               .absent = "no such condition",
               .form = "a name and its value",
               .max_items = kMostEdits,
               .example = example,
               .store = store};
  };
  table.keys = {name,
                with_weight_example(integer<&SplitGroup::weight>(
                    "weight", 0, {0, 1'000'000}, "",
                    "The share of the group, relative to the others with a weight; one client "
                    "stays in one group (`split_by`). 0 = by its conditions only.")),
                condition("headers", "All of these headers are there with exactly these values.",
                          R"({ "X-Canary" = "1" })", store_named_values<&SplitGroup::headers>),
                condition("cookies", "All of these cookies are there with exactly these values.",
                          R"({ canary = "yes" })", store_named_values<&SplitGroup::cookies>),
                upstreams};
  return table;
}

Key split_by_key() {
  return {.name = "split_by",
          .kind = Kind::text,
          .doc =
              "What decides which group of `[[routes.rule.split]]` a client is in by weight: its address, or the "
              "value of a header or cookie; requests without that go by the address.",
          .fallback = std::string_view("client"),
          .form = R"("client", "header:NAME" or "cookie:NAME")",
          .pattern = "^(client|header:.+|cookie:.+)$",
          .example = "\"cookie:session\"",
          .store = store_split_by};
}

void check_split(FilterCheck& check) {
  const Split& split = check.draft().rule.split;
  const auto& groups = split.groups;
  if (groups.empty()) {
    if (check.given("split_by")) check.warning("split_by", "there are no groups", "[[routes.rule.split]]");
    return;
  }
  std::vector<bool> in_a_group(check.draft().upstreams.size());
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const SplitGroup& group = groups[i];
    const std::string key = fmt::format("split[{}]", i);
    for (std::size_t j = 0; j < i; ++j) {
      if (group.name.empty() || groups[j].name != group.name) continue;
      check.error(key + ".name", fmt::format("the group {} is there already", in_quotes(group.name)),
                  "a different name for each group");
      break;
    }
    if (group.weight == 0 && !check.given(key + ".headers") && !check.given(key + ".cookies")) {
      check.error(key, "no request gets into this group", "\"weight\", \"headers\" or \"cookies\"");
    }
    for (std::size_t k = 0; k < group.upstreams.size(); ++k) {
      const auto found = std::ranges::find(check.draft().upstreams, group.upstreams[k], &UpstreamDraft::name);
      if (found != check.draft().upstreams.end()) {
        in_a_group[static_cast<std::size_t>(found - check.draft().upstreams.begin())] = true;
      } else if (!group.upstreams[k].empty()) {
        const std::string item = fmt::format("{}.upstreams[{}]", key, k);
        check.error(check.given(item) ? item : key + ".upstreams",
                    fmt::format("the rule has no upstream {}", in_quotes(group.upstreams[k])),
                    "the name of one of its [[routes.rule.upstreams]]");
      }
    }
  }
  const bool weighted = std::ranges::any_of(groups, [](const SplitGroup& group) { return group.weight > 0; });
  const auto left_out = std::ranges::find(in_a_group, false);
  if (!weighted && left_out == in_a_group.end()) {
    check.error("split", "no upstream is left for requests that no group takes",
                "a group with a weight, or an upstream that is in no group");
  }
  if (weighted && left_out != in_a_group.end()) {
    const auto number = static_cast<std::size_t>(left_out - in_a_group.begin());
    check.warning(fmt::format("upstreams[{}]", number),
                  "no request reaches this upstream: groups with a weight take all", "a group that has it");
  }
}

void complete_split(RuleDraft& draft) {
  Rule& rule = draft.rule;
  for (SplitGroup& group : rule.split.groups) {
    for (const std::string& name : group.upstreams) {
      const auto found = std::ranges::find(draft.upstreams, name, &UpstreamDraft::name);
      group.members.push_back(static_cast<std::size_t>(found - draft.upstreams.begin()));
    }
  }
}

}  // namespace dao::config

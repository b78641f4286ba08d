#include "dao/config/filter_keys.h"

#include <fmt/format.h>

#include "dao/config/client_address_keys.h"
#include "dao/config/draft.h"
#include "dao/config/filter_check.h"
#include "dao/config/header_edit_keys.h"
#include "dao/config/rate_limit_keys.h"
#include "dao/config/redirect_keys.h"
#include "dao/config/respond_keys.h"
#include "dao/config/rewrite_keys.h"
#include "dao/config/schema_rows.h"
#include "dao/config/split_keys.h"
#include "dao/config/sticky_keys.h"

namespace dao::config {
namespace {

std::vector<Key> body_limit_keys() {
  constexpr auto rule = &RuleDraft::rule;
  constexpr auto filters = &Rule::filters;
  return {
      integer<rule, filters, &Filters::request_body_max_bytes>(
          "request_body_max_bytes", 0, {0, std::int64_t{1} << 50}, "bytes",
          "The largest request body of this rule; a larger one gets a 413. `server.body_max_bytes` holds too. 0 = no "
          "limit of its own."),
      integer<rule, filters, &Filters::response_body_max_bytes>(
          "response_body_max_bytes", 0, {0, std::int64_t{1} << 50}, "bytes",
          "The largest response body of an upstream; a larger one becomes a 502, or is cut off if its size was not "
          "announced. 0 = no limit.")};
}

Table filters_table() {
  Table table{.name = "filters",
              .doc =
                  "What is done to requests and responses of the rule; docs/filters.md has the order and the "
                  "variables. Within a message fields are removed, then renamed, then set, then added."};
  table.enter = [](void* rule) -> void* { return rule; };
  table.keys = header_edit_keys();
  table.keys.push_back(rate_limit_key());
  for (const std::vector<Key>& more : {body_limit_keys(), client_address_keys()}) {
    table.keys.insert(table.keys.end(), more.begin(), more.end());
  }
  table.tables = {rate_limit_table()};
  return table;
}

void check_upstreams(FilterCheck& check) {
  // An array that is not one of tables was reported already, and so was what it holds.
  const bool none = check.draft().upstreams.empty() && !check.given("upstreams[0]");
  if (none && !check.given("redirect") && !check.given("respond")) {
    check.error("upstreams", "the rule has no upstreams", "at least one [[routes.rule.upstreams]]");
  }
}

void check_body_limit(FilterCheck& check) {
  const std::uint64_t own = check.draft().rule.filters.request_body_max_bytes;
  const std::uint64_t all = check.config().server.body_max_bytes;
  if (all != 0 && own > all) {
    check.warning("filters.request_body_max_bytes", fmt::format("the server's own limit, {}, is smaller", all),
                  "at most \"server.body_max_bytes\"");
  }
}

}  // namespace

std::vector<Table> filter_tables() {
  return {filters_table(), rewrite_table(), redirect_table(), respond_table(), sticky_table(), split_table()};
}

std::vector<Key> filter_keys() {
  return {split_by_key()};
}

void check_filters(const Applied& applied, Findings& findings) {
  for (std::size_t i = 0; i < applied.draft.rules.size(); ++i) {
    FilterCheck check(applied, findings, i);
    check_upstreams(check);
    check_rate_limit(check);
    check_body_limit(check);
    check_rewrite(check);
    check_redirect(check);
    check_respond(check);
    check_sticky(check);
    check_split(check);
  }
}

void complete_filters(RuleDraft& draft) {
  complete_rate_limit(draft.rule);
  complete_rewrite(draft.rule);
  complete_respond(draft.rule);
  complete_split(draft);
}

}  // namespace dao::config

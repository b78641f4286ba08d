#include "dao/config/rate_limit_keys.h"

#include <algorithm>
#include <utility>

#include "dao/config/filter_rows.h"

namespace dao::config {
namespace {

constexpr std::int64_t kMostRate = 1'000'000;

void store_limit_key(void* object, const Value& value, Objections& objections) {
  static constexpr std::string_view kPlain[] = {"route", "client", "intent"};
  static constexpr std::string_view kNamed[] = {"header"};
  RateLimit& limit = field_of<&RuleDraft::rule, &Rule::filters, &Filters::rate_limit>(object);
  auto parsed = parse_kind_and_name(value.texts.front().text, kPlain, kNamed);
  if (!parsed) return objections.object(0, std::move(parsed.error()));
  using enum RateLimit::Key;
  limit.key = parsed->first == "route"    ? route
              : parsed->first == "client" ? client
              : parsed->first == "intent" ? intent
                                          : header;
  limit.header = std::move(parsed->second);
}

}  // namespace

Table rate_limit_table() {
  Table table{.name = "rate_limit",
              .doc =
                  "How many requests the rule takes; those beyond get a 429 with `Retry-After`. The count is one for "
                  "all workers.",
              .exclusive = "rps rpm"};
  table.enter = [](void* rule) -> void* { return rule; };
  constexpr auto limit = &Filters::rate_limit;
  constexpr auto filters = &Rule::filters;
  constexpr auto rule = &RuleDraft::rule;
  Key rps = integer<rule, filters, limit, &RateLimit::rps>("rps", std::monostate{}, {1, kMostRate},
                                                           "requests per second", "The rate that is held over time.");
  Key rpm = integer<rule, filters, limit, &RateLimit::rpm>("rpm", std::monostate{}, {1, kMostRate},
                                                           "requests per minute", "The same by the minute.");
  Key burst = integer<rule, filters, limit, &RateLimit::burst>(
      "burst", std::monostate{}, {1, kMostRate}, "requests",
      "How many may come at once after a pause; they are then missing from what follows. 1 = evenly spaced only.");
  rps.absent = rpm.absent = "as the other one says";
  rps.example = "100";
  burst.absent = "a tenth of `rps` or `rpm`, at least 1";
  Key key{.name = "key",
          .kind = Kind::text,
          .doc =
              "What has a rate of its own: all requests of the rule together (`route`), each client address "
              "(`client`), each value of a header (`header:X-Api-Key`; requests without it share one), each intent "
              "(`intent`).",
          .fallback = std::string_view("route"),
          .form = R"("route", "client", "intent" or "header:NAME")",
          .pattern = "^(route|client|intent|header:.+)$",
          .example = "\"client\"",
          .store = store_limit_key};
  table.keys = {rps,
                rpm,
                burst,
                key,
                integer<rule, filters, limit, &RateLimit::keys_max>(
                    "keys_max", 65'536, {64, 16'777'216}, "keys",
                    "How many keys are told apart at the same time, 8 bytes each; beyond that the one closest to its "
                    "full burst is forgotten. A key that has its full burst again takes no room."),
                boolean<rule, filters, limit, &RateLimit::announce>(
                    "headers", true,
                    "Whether responses tell by `RateLimit` and `RateLimit-Policy` what is left "
                    "(draft-ietf-httpapi-ratelimit-headers-10).")};
  return table;
}

Key rate_limit_key() {
  constexpr auto rule = &RuleDraft::rule;
  constexpr auto filters = &Rule::filters;
  Key rps = integer<rule, filters, &Filters::rate_limit_rps>(
      "rate_limit_rps", std::monostate{}, {1, kMostRate}, "requests per second",
      "Short for `[routes.rule.filters.rate_limit]` with this `rps` and nothing else.");
  rps.absent = "no limit";
  return rps;
}

void check_rate_limit(FilterCheck& check) {
  const Filters& filters = check.draft().rule.filters;
  if (!check.given("filters.rate_limit")) return;
  if (check.given("filters.rate_limit_rps")) {
    check.error("filters.rate_limit_rps", "the rate limit is given twice",
                "either \"rate_limit_rps\" or [routes.rule.filters.rate_limit]");
  } else if (!check.given("filters.rate_limit.rps") && !check.given("filters.rate_limit.rpm")) {
    check.error("filters.rate_limit", "a rate limit without a rate", "\"rps\" or \"rpm\"");
  }
  if (filters.rate_limit.key == RateLimit::Key::route && check.given("filters.rate_limit.keys_max")) {
    check.warning("filters.rate_limit.keys_max", "there is one key only", "another \"key\" than \"route\"");
  }
}

void complete_rate_limit(Rule& rule) {
  RateLimit& limit = rule.filters.rate_limit;
  if (rule.filters.rate_limit_rps != 0) limit.rps = rule.filters.rate_limit_rps;
  if (limit.on() && limit.burst == 0) limit.burst = std::max(1U, (limit.rps != 0 ? limit.rps : limit.rpm) / 10);
}

}  // namespace dao::config

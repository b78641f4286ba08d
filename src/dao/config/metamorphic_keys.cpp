#include "dao/config/metamorphic_keys.h"

#include "dao/config/draft.h"
#include "dao/config/match_values.h"
#include "dao/config/schema_rows.h"

namespace dao::config {

Table metamorphic_table() {
  Table table{.name = "metamorphic",
              .doc =
                  "How a new configuration takes over little by little, and what makes DAO take it back by itself; "
                  "docs/metamorphic.md tells how it decides. The keys of the new file count."};
  table.enter = [](void* liminal) -> void* { return &field_of<&Liminal::metamorphic>(liminal); };
  Key key = text<parse_hash_key, &Metamorphic::key>(
      "key", R"("client", "header:NAME" or "cookie:NAME")",
      "What stays on one side: all requests from one address (of IPv6 the first `server.ipv6_client_prefix` bits), or "
      "with one value of a header, or of a cookie. Requests without it go by their address.");
  key.fallback = std::string_view("client");
  key.pattern = "^(client|header:.+|cookie:.+)$";
  key.example = "\"cookie:session\"";
  table.keys = {
      integer<&Metamorphic::transition>("transition_ms", 0, {0, 7 * 86'400'000}, "ms",
                                        "How long it takes from the first client that sees the new configuration to "
                                        "the last one; up to half as long again where there is little traffic, or "
                                        "doubt. 0 = a reload takes effect at once."),
      key,
      number<&Metamorphic::max_error_increase_percent>(
          "max_error_increase_percent", 0.5, {0, 100},
          "So many percent of all requests more may fail with the new configuration than with the old one at the same "
          "time."),
      number<&Metamorphic::max_latency_increase_percent>(
          "max_latency_increase_percent", 10, {0, 1000},
          "So many percent longer may requests take with the new configuration."),
      number<&Metamorphic::false_alarm_percent>(
          "false_alarm_percent", 1, {0, 50},
          "How often, in percent of all transitions, a new configuration that is within these limits may be taken for "
          "a worse one; more than 0. Less means that worse ones are found later."),
      boolean<&Metamorphic::rollback>("rollback", true,
                                      "Whether DAO goes back to the old configuration by itself when the new one is "
                                      "worse. Without it the transition stops there and waits for the operator."),
  };
  return table;
}

}  // namespace dao::config

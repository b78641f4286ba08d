#include "dao/config/client_address_keys.h"

#include "dao/config/address.h"
#include "dao/config/filter_rows.h"

namespace dao::config {
namespace {

constexpr std::size_t kMostBlocks = 4096;

template <auto... Field>
void store_addresses(void* object, const Value& value, Objections& objections) {
  AddressSet& set = field_of<Field...>(object);
  for (std::size_t i = 0; i < value.texts.size(); ++i) {
    if (value.texts[i].text == "unix") {
      set.unix_sockets = true;
    } else if (auto block = parse_address_block(value.texts[i].text)) {
      set.blocks.push_back(*block);
    } else {
      objections.object(i, std::move(block.error()));
    }
  }
}

template <auto... Field>
Key addresses(std::string_view name, std::string_view absent, std::string_view doc) {
  return {.name = name,
          .kind = Kind::text_list,
          .doc = doc,
          .absent = absent,
          .form = R"("192.0.2.7", "10.0.0.0/8" or "unix")",
          .min_items = 1,
          .max_items = kMostBlocks,
          .unique_items = true,
          .example = R"(["10.0.0.0/8", "2001:db8::/32"])",
          .store = store_addresses<Field...>};
}

}  // namespace

std::vector<Key> client_address_keys() {
  constexpr auto rule = &RuleDraft::rule;
  constexpr auto filters = &Rule::filters;
  return {
      addresses<rule, filters, &Filters::allow>("allow", "every client",
                                                "Only these clients; others get a 403. The client is who connected, "
                                                "or, behind `trusted_proxies`, who `X-Forwarded-For` says it is."),
      addresses<rule, filters, &Filters::deny>("deny", "nobody",
                                               "Not these clients, even if `allow` has them; they get a 403.")};
}

}  // namespace dao::config

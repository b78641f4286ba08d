#include "dao/http/field_id.h"

#include <array>
#include <cstddef>

namespace dao::http {

namespace {

struct Known {
  std::string_view name;
  FieldId id;
};

constexpr Known kKnown[] = {
    {"accept", FieldId::accept},
    {"connection", FieldId::connection},
    {"content-length", FieldId::content_length},
    {"content-type", FieldId::content_type},
    {"date", FieldId::date},
    {"expect", FieldId::expect},
    {"forwarded", FieldId::forwarded},
    {"host", FieldId::host},
    {"http2-settings", FieldId::http2_settings},
    {"keep-alive", FieldId::keep_alive},
    {"max-forwards", FieldId::max_forwards},
    {"proxy-connection", FieldId::proxy_connection},
    {"referer", FieldId::referer},
    {"te", FieldId::te},
    {"traceparent", FieldId::traceparent},
    {"trailer", FieldId::trailer},
    {"transfer-encoding", FieldId::transfer_encoding},
    {"upgrade", FieldId::upgrade},
    {"user-agent", FieldId::user_agent},
    {"via", FieldId::via},
    {"x-forwarded-for", FieldId::x_forwarded_for},
    {"x-forwarded-host", FieldId::x_forwarded_host},
    {"x-forwarded-proto", FieldId::x_forwarded_proto},
};

constexpr std::size_t kTableSize = 256;

constexpr std::size_t hash(std::string_view name) {
  const auto first = static_cast<unsigned char>(to_lower(name.front()));
  const auto last = static_cast<unsigned char>(to_lower(name.back()));
  return (name.size() * 37U + first * 11U + last * 3U) % kTableSize;
}

struct Table {
  std::array<std::uint8_t, kTableSize> slot{};  // index into kKnown + 1
};

consteval Table make_table() {
  Table table;
  for (std::size_t i = 0; i < std::size(kKnown); ++i) {
    std::uint8_t& slot = table.slot[hash(kKnown[i].name)];
    if (slot != 0) throw "two known field names share a hash slot: change the multipliers";
    slot = static_cast<std::uint8_t>(i + 1);
  }
  return table;
}

constexpr Table kTable = make_table();

}  // namespace

FieldId identify_field(std::string_view name) {
  if (name.empty()) return FieldId::other;
  const std::uint8_t slot = kTable.slot[hash(name)];
  if (slot == 0) return FieldId::other;
  const Known& known = kKnown[slot - 1];
  return equals_ignoring_case(name, known.name) ? known.id : FieldId::other;
}

}  // namespace dao::http

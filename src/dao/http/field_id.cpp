#include "dao/http/field_id.h"

#include <array>
#include <cstddef>
#include <cstdint>

#include "dao/http/byte_words.h"

namespace dao::http {

namespace {

struct Known {
  std::string_view name;
  FieldId id;
};

// In the order of FieldId.
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

consteval bool in_order() {
  for (std::size_t i = 0; i < std::size(kKnown); ++i) {
    if (static_cast<std::size_t>(kKnown[i].id) != i + 1) return false;
  }
  return true;
}
static_assert(in_order());

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

// `known` is in lower case and as long as `name`.
bool is_known(std::string_view name, std::string_view known) {
  std::size_t at = 0;
  for (; at + 8 <= name.size(); at += 8) {
    if (lower_eight(load_little_64(name.data() + at)) != load_little_64(known.data() + at)) return false;
  }
  for (; at < name.size(); ++at) {
    if (to_lower(name[at]) != known[at]) return false;
  }
  return true;
}

}  // namespace

FieldId identify_field(std::string_view name) {
  if (name.empty()) return FieldId::other;
  const std::uint8_t slot = kTable.slot[hash(name)];
  if (slot == 0) return FieldId::other;
  const Known& known = kKnown[slot - 1];
  return name.size() == known.name.size() && is_known(name, known.name) ? known.id : FieldId::other;
}

std::string_view name_of(FieldId id) {
  return id == FieldId::other ? std::string_view{} : kKnown[static_cast<std::size_t>(id) - 1].name;
}

}  // namespace dao::http

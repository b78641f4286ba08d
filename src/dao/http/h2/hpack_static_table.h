// The static table of HPACK (RFC 7541 appendix A). Entries of one name follow each other. Any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace dao::http::h2 {

struct HpackStaticEntry {
  std::string_view name;
  std::string_view value;
};

inline constexpr std::size_t kHpackStaticEntries = 61;

// Indexes count from 1; nothing is at 0.
inline constexpr std::array<HpackStaticEntry, kHpackStaticEntries + 1> kHpackStaticTable = {
    HpackStaticEntry{},
    HpackStaticEntry{":authority", ""},
    HpackStaticEntry{":method", "GET"},
    HpackStaticEntry{":method", "POST"},
    HpackStaticEntry{":path", "/"},
    HpackStaticEntry{":path", "/index.html"},
    HpackStaticEntry{":scheme", "http"},
    HpackStaticEntry{":scheme", "https"},
    HpackStaticEntry{":status", "200"},
    HpackStaticEntry{":status", "204"},
    HpackStaticEntry{":status", "206"},
    HpackStaticEntry{":status", "304"},
    HpackStaticEntry{":status", "400"},
    HpackStaticEntry{":status", "404"},
    HpackStaticEntry{":status", "500"},
    HpackStaticEntry{"accept-charset", ""},
    HpackStaticEntry{"accept-encoding", "gzip, deflate"},
    HpackStaticEntry{"accept-language", ""},
    HpackStaticEntry{"accept-ranges", ""},
    HpackStaticEntry{"accept", ""},
    HpackStaticEntry{"access-control-allow-origin", ""},
    HpackStaticEntry{"age", ""},
    HpackStaticEntry{"allow", ""},
    HpackStaticEntry{"authorization", ""},
    HpackStaticEntry{"cache-control", ""},
    HpackStaticEntry{"content-disposition", ""},
    HpackStaticEntry{"content-encoding", ""},
    HpackStaticEntry{"content-language", ""},
    HpackStaticEntry{"content-length", ""},
    HpackStaticEntry{"content-location", ""},
    HpackStaticEntry{"content-range", ""},
    HpackStaticEntry{"content-type", ""},
    HpackStaticEntry{"cookie", ""},
    HpackStaticEntry{"date", ""},
    HpackStaticEntry{"etag", ""},
    HpackStaticEntry{"expect", ""},
    HpackStaticEntry{"expires", ""},
    HpackStaticEntry{"from", ""},
    HpackStaticEntry{"host", ""},
    HpackStaticEntry{"if-match", ""},
    HpackStaticEntry{"if-modified-since", ""},
    HpackStaticEntry{"if-none-match", ""},
    HpackStaticEntry{"if-range", ""},
    HpackStaticEntry{"if-unmodified-since", ""},
    HpackStaticEntry{"last-modified", ""},
    HpackStaticEntry{"link", ""},
    HpackStaticEntry{"location", ""},
    HpackStaticEntry{"max-forwards", ""},
    HpackStaticEntry{"proxy-authenticate", ""},
    HpackStaticEntry{"proxy-authorization", ""},
    HpackStaticEntry{"range", ""},
    HpackStaticEntry{"referer", ""},
    HpackStaticEntry{"refresh", ""},
    HpackStaticEntry{"retry-after", ""},
    HpackStaticEntry{"server", ""},
    HpackStaticEntry{"set-cookie", ""},
    HpackStaticEntry{"strict-transport-security", ""},
    HpackStaticEntry{"transfer-encoding", ""},
    HpackStaticEntry{"user-agent", ""},
    HpackStaticEntry{"vary", ""},
    HpackStaticEntry{"via", ""},
    HpackStaticEntry{"www-authenticate", ""},
};

// The index of the first entry with the same name as the entry at each index.
inline constexpr std::array<std::uint8_t, kHpackStaticEntries + 1> kHpackFirstOfName = [] {
  std::array<std::uint8_t, kHpackStaticEntries + 1> first{};
  for (std::size_t index = 1; index < first.size(); ++index) {
    const bool same = kHpackStaticTable[index].name == kHpackStaticTable[index - 1].name;
    first[index] = same ? first[index - 1] : static_cast<std::uint8_t>(index);
  }
  return first;
}();

// The first index of a name that is in the table; refuses others when it is compiled.
consteval std::uint8_t hpack_static_name(std::string_view name) {
  for (std::size_t index = 1; index < kHpackStaticTable.size(); ++index) {
    if (kHpackStaticTable[index].name == name) return static_cast<std::uint8_t>(index);
  }
  throw "no such name in the static table of HPACK";
}

}  // namespace dao::http::h2

// Writes the header blocks that we send on one connection (HPACK, RFC 7541). One thread; nothing is on the heap before
// the first field that enters the dynamic table.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dao/http/h2/hpack_integer.h"
#include "dao/http/h2/hpack_table.h"
#include "dao/http/h2/huffman.h"

namespace dao::http::h2 {

class HpackEncoder {
 public:
  // The peer's SETTINGS_HEADER_TABLE_SIZE, as often as it comes; of a larger one we use so much.
  static constexpr std::uint32_t kTableMost = 4096;
  void set_table_max(std::uint32_t bytes);

  // Begins a block with the changes of the table's size that the peer must hear of (section 4.2). A block that was
  // begun must be sent, and in the order in which blocks were begun: the peer's table follows ours.
  static constexpr std::size_t kBlockStartMost = 2 * kHpackIntegerMost;
  char* begin_block(char* at);

  // The room that add() needs.
  static constexpr std::size_t most_bytes(std::string_view name, std::string_view value) {
    return 1 + 2 * kHpackIntegerMost + name.size() + value.size() + kHuffmanBeyond;
  }
  // Writes a field and returns the end of it. The name may be in upper case and is written in lower case.
  // `never_indexed`: the peer that it came from wanted it so (HpackField).
  char* add(std::string_view name, std::string_view value, char* at, bool never_indexed = false);

  // What it holds from the heap.
  [[nodiscard]] std::size_t memory() const { return table_.memory(); }

 private:
  // Entries of the dynamic table are numbered as they come, the first is 1. What an entry's note says:
  struct Note {
    std::uint8_t static_name;    // the index of the name's first entry in the static table, or 0
    std::uint8_t back_to_other;  // so many numbers before is another entry of the bucket, which may be gone; 0: none
    std::uint16_t name_hash;
  };
  static constexpr std::size_t kBuckets = 64;

  struct Found {
    std::uint32_t exact = 0;  // index of an entry with that name and value, or 0
    std::uint32_t name = 0;   // index of an entry with that name, or 0
  };
  struct Name;
  char* add(const Name& name, std::string_view value, char* at, bool never_indexed);
  char* add_upper(std::string_view name, std::string_view value, char* at, bool never_indexed);
  char* add_not_newest(const Name& name, std::string_view value, char* at);
  [[nodiscard]] std::uint32_t age_of(std::uint16_t number) const;
  [[nodiscard]] bool has_name(const HpackTable::Entry& entry, const Name& name) const;
  [[nodiscard]] bool has_value(const HpackTable::Entry& entry, std::string_view value) const;
  Found find(const Name& name, std::string_view value) const;
  bool wants_index(const Name& name, std::string_view value);
  void insert(const Name& name, std::string_view value);

  HpackTable table_{kTableMost};
  std::uint32_t smallest_limit_ = kTableMost;  // since the last block
  std::uint32_t last_limit_ = kTableMost;
  std::uint16_t inserted_ = 0;                    // the newest entry's number
  std::array<std::uint16_t, kBuckets> newest_{};  // by name: the number of an entry, which may be gone
  std::array<std::uint8_t, kBuckets> misses_{};   // by name: new values in a row
};

}  // namespace dao::http::h2

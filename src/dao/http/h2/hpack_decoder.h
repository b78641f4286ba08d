// Reads the header blocks that a peer sends on one connection (HPACK, RFC 7541). What a block holds is judged
// elsewhere: this knows no names and no limits but that of its table. One thread; an idle connection holds the table
// and at most kScratchKept bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include "dao/http/h2/hpack_table.h"

namespace dao::http::h2 {

struct HpackField {
  std::string_view name;
  std::string_view value;
  // The index of the first entry of that name in the static table, when the name came by an index and is in there.
  // 0: not known; a name that was spelt out is not looked for.
  std::uint8_t static_name = 0;
  // The peer wants it never to be in anybody's table; whoever passes it on must say the same (section 6.2.3).
  bool never_indexed = false;
};

class HpackDecoder {
 public:
  static constexpr std::size_t kScratchKept = 4096;

  // What our SETTINGS_HEADER_TABLE_SIZE says; it never changes.
  explicit HpackDecoder(std::uint32_t table_max_bytes = 4096) : table_(table_max_bytes), table_max_(table_max_bytes) {}

  // A complete header block, all its fragments together. It must live until the last next().
  void begin(std::string_view block);

  enum class Step : std::uint8_t { field, end, error };
  // The next field; its text is valid until the next call. An error is a COMPRESSION_ERROR of the connection (RFC 9113
  // section 4.3): the decoder is of no use afterwards. A block must be read to its end even when nobody wants its
  // fields, or later blocks are not understood.
  Step next(HpackField& field);

  // What it holds from the heap.
  [[nodiscard]] std::size_t memory() const { return table_.memory() + scratch_capacity_; }

 private:
  struct Text {
    const char* at;  // null: it begins at `offset` of the scratch memory
    std::size_t size;
    std::size_t offset;
  };
  bool indexed(HpackField& field);
  bool literal(HpackField& field);
  bool resize();
  bool entry_at(std::uint32_t index, HpackField& field) const;
  bool read_string(Text& text, std::size_t& scratch_used);
  void need_scratch(std::size_t bytes, std::size_t used);
  [[nodiscard]] std::string_view view(const Text& text) const;
  Step end_of_block(Step step);

  HpackTable table_;
  std::uint32_t table_max_;
  bool may_resize_ = false;  // before the first field of a block (section 4.2)
  const char* at_ = nullptr;
  const char* end_ = nullptr;
  // What Huffman coded strings of one field decode to.
  std::unique_ptr<char[]> scratch_;
  std::size_t scratch_capacity_ = 0;
};

}  // namespace dao::http::h2

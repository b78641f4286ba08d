#include "dao/http/h2/hpack_decoder.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "dao/http/h2/hpack_integer.h"
#include "dao/http/h2/hpack_static_table.h"
#include "dao/http/h2/huffman.h"

namespace dao::http::h2 {

namespace {
constexpr std::size_t kScratchAtFirst = 512;
}  // namespace

void HpackDecoder::begin(std::string_view block) {
  at_ = block.data();
  end_ = at_ + block.size();
  may_resize_ = true;
}

HpackDecoder::Step HpackDecoder::next(HpackField& field) {
  while (at_ != end_) {
    const auto first = static_cast<unsigned char>(*at_);
    if (first >= 0x80) {
      may_resize_ = false;
      return indexed(field) ? Step::field : end_of_block(Step::error);
    }
    if (first < 0x20 || first >= 0x40) {
      may_resize_ = false;
      return literal(field) ? Step::field : end_of_block(Step::error);
    }
    if (!may_resize_ || !resize()) return end_of_block(Step::error);
  }
  return end_of_block(Step::end);
}

bool HpackDecoder::indexed(HpackField& field) {
  std::uint32_t index = 0;
  at_ = read_hpack_integer(at_, end_, 7, index);
  if (at_ == nullptr || index == 0) return false;
  field.never_indexed = false;
  return entry_at(index, field);
}

[[gnu::noinline]] bool HpackDecoder::literal(HpackField& field) {  // next() stays small for the usual field
  const auto first = static_cast<unsigned char>(*at_);
  const bool adds = first >= 0x40;
  field.never_indexed = (first & 0xf0U) == 0x10;
  std::uint32_t index = 0;
  at_ = read_hpack_integer(at_, end_, adds ? 6 : 4, index);
  if (at_ == nullptr) return false;
  Text name{};
  Text value{};
  std::size_t scratch_used = 0;
  if (index == 0) {
    if (!read_string(name, scratch_used)) return false;
    field.static_name = 0;
  } else if (!entry_at(index, field)) {
    return false;
  }
  if (!read_string(value, scratch_used)) return false;
  if (index == 0) field.name = view(name);
  field.value = view(value);
  // The name may be that of an entry which gives way to this one.
  if (adds && table_.insert(field.name, field.value, field.static_name)) field.name = table_.name(table_.entry(0));
  return true;
}

bool HpackDecoder::resize() {
  std::uint32_t bytes = 0;
  at_ = read_hpack_integer(at_, end_, 5, bytes);
  if (at_ == nullptr || bytes > table_max_) return false;
  table_.set_limit(bytes);
  return true;
}

// Section 2.3.3.
bool HpackDecoder::entry_at(std::uint32_t index, HpackField& field) const {
  if (index <= kHpackStaticEntries) {
    field.name = kHpackStaticTable[index].name;
    field.value = kHpackStaticTable[index].value;
    field.static_name = kHpackFirstOfName[index];
    return true;
  }
  const std::uint32_t age = index - kHpackStaticEntries - 1;
  if (age >= table_.count()) return false;
  const HpackTable::Entry& entry = table_.entry(age);
  field.name = table_.name(entry);
  field.value = table_.value(entry);
  field.static_name = static_cast<std::uint8_t>(entry.note);
  return true;
}

// Section 5.2.
bool HpackDecoder::read_string(Text& text, std::size_t& scratch_used) {
  if (at_ == end_) return false;
  const bool huffman = (static_cast<unsigned char>(*at_) & 0x80U) != 0;
  std::uint32_t size = 0;
  at_ = read_hpack_integer(at_, end_, 7, size);
  if (at_ == nullptr || size > static_cast<std::size_t>(end_ - at_)) return false;
  const std::string_view bytes{at_, size};
  at_ += size;
  if (!huffman) {
    text = {bytes.data(), bytes.size(), 0};
    return true;
  }
  need_scratch(huffman_decoded_most(size), scratch_used);
  char* const begin = scratch_.get() + scratch_used;
  const char* const end = huffman_decode(bytes, begin);
  if (end == nullptr) return false;
  text = {nullptr, static_cast<std::size_t>(end - begin), scratch_used};
  scratch_used += text.size;
  return true;
}

void HpackDecoder::need_scratch(std::size_t bytes, std::size_t used) {
  if (bytes <= scratch_capacity_ - used) return;
  const std::size_t capacity = std::max(std::bit_ceil(used + bytes), kScratchAtFirst);
  auto fresh = std::make_unique_for_overwrite<char[]>(capacity);
  if (used > 0) std::memcpy(fresh.get(), scratch_.get(), used);
  scratch_ = std::move(fresh);
  scratch_capacity_ = capacity;
}

std::string_view HpackDecoder::view(const Text& text) const {
  return {text.at != nullptr ? text.at : scratch_.get() + text.offset, text.size};
}

HpackDecoder::Step HpackDecoder::end_of_block(Step step) {
  at_ = end_ = nullptr;
  if (scratch_capacity_ > kScratchKept) {
    scratch_.reset();
    scratch_capacity_ = 0;
  }
  return step;
}

}  // namespace dao::http::h2

#include "dao/http/h2/hpack_encoder.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "dao/http/byte_words.h"
#include "dao/http/field_id.h"
#include "dao/http/h2/hpack_static_table.h"

namespace dao::http::h2 {

namespace {

constexpr std::uint8_t kIndexed = 0x80;  // section 6.1

// The representation of a literal: the bits before the index of its name (section 6.2).
enum class Literal : std::uint8_t { with_indexing = 0x40, without_indexing = 0x00, never_indexed = 0x10 };

// Short values can be guessed one after the other; for longer ones there are too many guesses.
constexpr std::size_t kShortSecret = 20;

// How a field that is in neither table is written.
struct Rule {
  Literal when_short = Literal::with_indexing;  // below kShortSecret
  Literal otherwise = Literal::with_indexing;   // unless values of that name have not come again so far (kPatience)
};

consteval std::array<Rule, kHpackStaticEntries + 1> make_rules() {
  std::array<Rule, kHpackStaticEntries + 1> rules{};
  // Hardly any of these comes again on a connection, and each would drive out something that does. `etag`,
  // `last-modified` and `date` are not among them: a page that is asked for again has the same tag, and a second many
  // answers. Where it is not so, that is found out (kPatience). `:path` is, though it may come again: many users share
  // a connection to a backend, and what one of them asks for can be guessed in full (section 7.1).
  for (const std::string_view name :
       {":path", "age", "content-length", "content-location", "content-range", "if-match", "if-modified-since",
        "if-none-match", "if-range", "if-unmodified-since", "location", "range"}) {
    rules[hpack_static_name(name)] = {Literal::without_indexing, Literal::without_indexing};
  }
  // Who can have requests sent on the same connection and sees their sizes learns whether a guess is in the table. What
  // proves who a user is must not be found out so, nor by way of the table of anybody behind us (section 7.1.3).
  rules[hpack_static_name("authorization")] = {Literal::never_indexed, Literal::never_indexed};
  rules[hpack_static_name("proxy-authorization")] = {Literal::never_indexed, Literal::never_indexed};
  rules[hpack_static_name("cookie")] = {Literal::never_indexed, Literal::with_indexing};
  rules[hpack_static_name("set-cookie")] = {Literal::never_indexed, Literal::without_indexing};  // a new one each time
  return rules;
}

// By the first index of a name in the static table; 0: names that are not in there.
constexpr std::array<Rule, kHpackStaticEntries + 1> kRules = make_rules();

constexpr bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}

// Of a name in lower case: its first and last characters, together in the first word when it is short.
struct NameEnds {
  std::uint64_t first;
  std::uint64_t last;
};

constexpr std::uint64_t hash_name(NameEnds ends, std::size_t size) {
  // With this multiplier the upper eight bits are others for each name of the static table.
  constexpr std::uint64_t kMultiplier = 0x513dd1a6e9d40f2bU;
  return ((ends.first ^ std::rotl(ends.last, 29)) + size) * kMultiplier;
}

void lower_case(std::string_view name, char* at) {
  std::size_t i = 0;
  for (; i + 8 <= name.size(); i += 8) store_little_64(at + i, lower_eight(load_little_64(name.data() + i)));
  for (; i < name.size(); ++i) at[i] = to_lower(name[i]);
}

consteval NameEnds static_name_ends(std::string_view name) {
  const auto load = [](std::string_view text) {
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < text.size(); ++i) word |= std::uint64_t{static_cast<unsigned char>(text[i])} << 8 * i;
    return word;
  };
  if (name.size() >= 8) return {load(name.substr(0, 8)), load(name.substr(name.size() - 8))};
  if (name.size() >= 4) return {load(name.substr(0, 4)) | load(name.substr(name.size() - 4)) << 32U, 0};
  return {
      load(name.substr(0, 1)) | load(name.substr(name.size() / 2, 1)) << 8U | load(name.substr(name.size() - 1)) << 16U,
      0};
}

// By the upper bits of a name's hash: the index of its first entry in the static table, or 0.
consteval std::array<std::uint8_t, 256> make_static_slots() {
  std::array<std::uint8_t, 256> slots{};
  for (std::size_t index = 1; index < kHpackStaticTable.size(); ++index) {
    if (kHpackFirstOfName[index] != index) continue;
    const std::string_view name = kHpackStaticTable[index].name;
    std::uint8_t& slot = slots[hash_name(static_name_ends(name), name.size()) >> 56U];
    if (slot != 0) throw "two names of the static table share a slot: change the multiplier";
    slot = static_cast<std::uint8_t>(index);
  }
  return slots;
}

constexpr std::array<std::uint8_t, 256> kStaticSlots = make_static_slots();

// By the first index of a name in the static table: what is compared of it, and what its entries are.
struct StaticName {
  NameEnds ends{};
  std::uint8_t size = 0;
  std::uint8_t last = 0;   // of the entries with this name
  bool only_empty = true;  // it is the only one, and has no value
};

constexpr std::array<StaticName, kHpackStaticTable.size()> kStaticNames = [] {
  std::array<StaticName, kHpackStaticTable.size()> names{};
  for (std::uint8_t index = 1; index < names.size(); ++index) {
    const auto& [name, value] = kHpackStaticTable[index];
    StaticName& first = names[kHpackFirstOfName[index]];
    first.ends = static_name_ends(name);
    first.size = static_cast<std::uint8_t>(name.size());
    first.last = index;
    first.only_empty = first.only_empty && value.empty();
  }
  return names;
}();

// The index of the entry with that value among those of one name, or 0.
std::uint32_t static_exact(std::uint8_t first, std::string_view value) {
  if (kStaticNames[first].only_empty) return value.empty() ? first : 0;
  for (std::uint32_t index = first; index <= kStaticNames[first].last; ++index) {
    const std::string_view known = kHpackStaticTable[index].value;
    if (known.size() == value.size() && same_bytes(known.data(), value.data(), value.size())) return index;
  }
  return 0;
}

// Section 5.2; with the Huffman code when that is shorter.
char* write_string(std::string_view text, char* at) {
  constexpr std::size_t kOneByteSize = 126;
  if (text.size() <= kOneByteSize) {
    if (const char* const end = huffman_encode_shorter(text, at + 1)) {
      const std::ptrdiff_t size = end - at - 1;
      *at = static_cast<char>(0x80 | size);
      return at + 1 + size;
    }
  } else if (const std::size_t size = huffman_size(text); size < text.size()) {
    return huffman_encode(text, write_hpack_integer(at, 0x80, 7, static_cast<std::uint32_t>(size)));
  }
  at = write_hpack_integer(at, 0, 7, static_cast<std::uint32_t>(text.size()));
  if (!text.empty()) std::memcpy(at, text.data(), text.size());
  return at + text.size();
}

// Section 6.2.
[[gnu::noinline]] char* write_literal(Literal literal, std::uint32_t name_index, std::string_view name,
                                      std::string_view value, char* at) {
  const unsigned prefix = literal == Literal::with_indexing ? 6 : 4;
  at = write_hpack_integer(at, static_cast<std::uint8_t>(literal), prefix, name_index);
  if (name_index == 0) at = write_string(name, at);
  return write_string(value, at);
}

}  // namespace

// A field's name in lower case.
struct HpackEncoder::Name {
  std::string_view text;
  std::uint64_t hash;
  std::uint8_t static_name;  // the index of its first entry in the static table, or 0

  // Those of the static table have one each.
  [[nodiscard]] std::size_t bucket() const { return static_name != 0 ? static_name : hash >> 58U; }
  [[nodiscard]] std::uint16_t check() const { return static_cast<std::uint16_t>(hash >> 32U); }
};

void HpackEncoder::set_table_max(std::uint32_t bytes) {
  last_limit_ = std::min(bytes, kTableMost);
  smallest_limit_ = std::min(smallest_limit_, last_limit_);
}

char* HpackEncoder::begin_block(char* at) {
  const auto resize = [&](std::uint32_t bytes) {
    table_.set_limit(bytes);
    at = write_hpack_integer(at, 0x20, 5, bytes);
  };
  // What was evicted for a smaller limit in between is gone from the peer's table too.
  if (smallest_limit_ < std::min(table_.limit(), last_limit_)) resize(smallest_limit_);
  if (last_limit_ != table_.limit()) resize(last_limit_);
  smallest_limit_ = last_limit_;
  return at;
}

char* HpackEncoder::add(std::string_view name, std::string_view value, char* at, bool never_indexed) {
  // Upper-case letters are among the characters that have this bit clear; few of the others are in names.
  constexpr std::uint64_t kBit = 0x2020202020202020U;
  const std::size_t size = name.size();
  NameEnds ends{};
  std::uint64_t all = kBit;
  if (size >= 8) {
    ends = {load_little_64(name.data()), load_little_64(name.data() + size - 8)};
    all = ends.first & ends.last;
    for (std::size_t i = 8; i + 8 < size; i += 8) all &= load_little_64(name.data() + i);
  } else if (size >= 4) {
    ends.first = load_little_32(name.data()) | std::uint64_t{load_little_32(name.data() + size - 4)} << 32U;
    all = ends.first;
  } else if (size > 0) {
    const auto byte = [&](std::size_t i) { return std::uint64_t{static_cast<unsigned char>(name[i])}; };
    ends.first = byte(0) | byte(size / 2) << 8U | byte(size - 1) << 16U;
    all = ends.first | ~std::uint64_t{0xffffff};
  }
  if ((all & kBit) != kBit && std::ranges::any_of(name, is_upper)) return add_upper(name, value, at, never_indexed);
  const std::uint64_t hash = hash_name(ends, size);
  const std::uint8_t index = kStaticSlots[hash >> 56U];
  const StaticName& known = kStaticNames[index];
  const bool is_known =
      known.size == size && known.ends.first == ends.first && known.ends.last == ends.last &&
      (size <= 16 || same_bytes(kHpackStaticTable[index].name.data() + 8, name.data() + 8, size - 16));
  const std::uint8_t static_name = is_known ? index : 0;
  return add({.text = name, .hash = hash, .static_name = static_name}, value, at, never_indexed);
}

[[gnu::noinline]] char* HpackEncoder::add_upper(std::string_view name, std::string_view value, char* at,
                                                bool never_indexed) {
  std::array<char, 64> lower;
  if (name.size() <= lower.size()) {
    lower_case(name, lower.data());
    return add(std::string_view{lower.data(), name.size()}, value, at, never_indexed);
  }
  // Nobody's usual name: as it is, and in no table.
  *at++ = static_cast<char>(never_indexed ? Literal::never_indexed : Literal::without_indexing);
  at = write_hpack_integer(at, 0, 7, static_cast<std::uint32_t>(name.size()));
  lower_case(name, at);
  return write_string(value, at + name.size());
}

// Kept small, with what is seldom in functions of their own: most fields end here.
[[gnu::always_inline]] inline char* HpackEncoder::add(const Name& name, std::string_view value, char* at,
                                                      bool never_indexed) {
  if (never_indexed) return write_literal(Literal::never_indexed, name.static_name, name.text, value, at);
  if (name.static_name != 0) {
    if (const std::uint32_t index = static_exact(name.static_name, value)) {
      *at = static_cast<char>(kIndexed | index);
      return at + 1;
    }
    const Rule& rule = kRules[name.static_name];
    const Literal literal = value.size() < kShortSecret ? rule.when_short : rule.otherwise;
    if (literal != Literal::with_indexing) return write_literal(literal, name.static_name, name.text, value, at);
  }
  const std::uint32_t age = age_of(newest_[name.bucket()]);
  if (age < table_.count()) {
    const HpackTable::Entry& entry = table_.entry(age);
    if (has_name(entry, name) && has_value(entry, value)) {
      misses_[name.bucket()] = 0;
      return write_hpack_integer(at, kIndexed, 7, static_cast<std::uint32_t>(kHpackStaticEntries + 1 + age));
    }
  }
  return add_not_newest(name, value, at);
}

[[gnu::noinline]] char* HpackEncoder::add_not_newest(const Name& name, std::string_view value, char* at) {
  const Found found = find(name, value);
  if (found.exact != 0) {
    misses_[name.bucket()] = 0;
    return write_hpack_integer(at, kIndexed, 7, found.exact);
  }
  if (!wants_index(name, value)) return write_literal(Literal::without_indexing, found.name, name.text, value, at);
  at = write_literal(Literal::with_indexing, found.name, name.text, value, at);
  insert(name, value);
  return at;
}

inline std::uint32_t HpackEncoder::age_of(std::uint16_t number) const {
  return static_cast<std::uint16_t>(inserted_ - number);
}

inline bool HpackEncoder::has_name(const HpackTable::Entry& entry, const Name& name) const {
  const auto note = std::bit_cast<Note>(entry.note);
  if (name.static_name != 0) return note.static_name == name.static_name;
  return note.name_hash == name.check() && entry.name_size == name.text.size() &&
         same_bytes(table_.text(entry), name.text.data(), name.text.size());
}

inline bool HpackEncoder::has_value(const HpackTable::Entry& entry, std::string_view value) const {
  return entry.value_size == value.size() &&
         same_bytes(table_.text(entry) + entry.name_size, value.data(), value.size());
}

HpackEncoder::Found HpackEncoder::find(const Name& name, std::string_view value) const {
  constexpr unsigned kStepsMost = 8;  // whoever chooses names chooses how many are in one bucket
  Found found{.exact = 0, .name = name.static_name};
  std::uint16_t number = newest_[name.bucket()];
  for (unsigned step = 0; step < kStepsMost; ++step) {
    // A number that has come round again finds another entry, which is then judged like any other.
    const std::uint32_t age = age_of(number);
    if (age >= table_.count()) break;
    const HpackTable::Entry& entry = table_.entry(age);
    if (has_name(entry, name)) {
      const auto index = static_cast<std::uint32_t>(kHpackStaticEntries + 1 + age);
      if (has_value(entry, value)) {
        found.exact = index;
        break;
      }
      if (found.name == 0) found.name = index;
    }
    const std::uint8_t back = std::bit_cast<Note>(entry.note).back_to_other;
    if (back == 0) break;
    number = static_cast<std::uint16_t>(number - back);
  }
  return found;
}

bool HpackEncoder::wants_index(const Name& name, std::string_view value) {
  // One entry is not worth all others.
  if (name.text.size() + value.size() + HpackTable::kEntryOverhead > std::size_t{table_.limit()} / 4 * 3) return false;
  // Names of which each value is new, such as those of numbers of requests: after so many new values in a row only one
  // of 16 is tried, until one comes again.
  constexpr std::uint8_t kPatience = 8;
  constexpr std::uint8_t kTried = 16;
  const std::uint8_t misses = misses_[name.bucket()]++;
  return misses < kPatience || misses % kTried == 0;
}

void HpackEncoder::insert(const Name& name, std::string_view value) {
  const std::uint16_t number = ++inserted_;
  std::uint16_t& newest = newest_[name.bucket()];
  const auto back = static_cast<std::uint16_t>(number - newest);
  const Note note{.static_name = name.static_name,
                  .back_to_other = static_cast<std::uint8_t>(back <= table_.count() ? back : 0),
                  .name_hash = name.check()};
  newest = number;
  table_.insert(name.text, value, std::bit_cast<std::uint32_t>(note));
}

}  // namespace dao::http::h2

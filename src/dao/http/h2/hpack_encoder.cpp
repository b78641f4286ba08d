#include "dao/http/h2/hpack_encoder.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "dao/http/field_id.h"
#include "dao/http/h2/byte_words.h"
#include "dao/http/h2/hpack_static_table.h"
#include "dao/http/h2/huffman.h"

namespace dao::http::h2 {

namespace {

constexpr std::uint8_t kIndexed = 0x80;  // section 6.1

// What becomes of a field that is in neither table.
enum class Indexing : std::uint8_t {
  yes,               // enters the dynamic table, unless values of that name have not come again so far
  no,                // does not
  never,             // nor in the table of anybody who passes it on (section 7.1.3)
  yes_unless_short,  // never when the value is short
  no_or_never_when_short,
};

// Short values can be guessed one after the other; for longer ones there are too many guesses.
constexpr std::size_t kShortSecret = 20;

// The representation of a literal: the bits before the index of its name (section 6.2).
enum class Literal : std::uint8_t { with_indexing = 0x40, without_indexing = 0x00, never_indexed = 0x10 };

Literal literal_for(Indexing rule, std::size_t value_size) {
  switch (rule) {
    case Indexing::yes:
      return Literal::with_indexing;
    case Indexing::no:
      return Literal::without_indexing;
    case Indexing::never:
      return Literal::never_indexed;
    case Indexing::yes_unless_short:
      return value_size < kShortSecret ? Literal::never_indexed : Literal::with_indexing;
    case Indexing::no_or_never_when_short:
      return value_size < kShortSecret ? Literal::never_indexed : Literal::without_indexing;
  }
  std::unreachable();
}

consteval std::array<Indexing, kHpackStaticEntries + 1> make_indexing() {
  std::array<Indexing, kHpackStaticEntries + 1> rules{};
  // They differ from resource to resource: few come again before the table has forgotten them, and until then they
  // drive out what does come again. Others whose values are new each time, such as numbers of requests, are found out
  // (kPatience); `date` too where there are less than a few answers in a second.
  for (const std::string_view name :
       {":path", "age", "content-length", "content-location", "content-range", "etag", "if-match", "if-modified-since",
        "if-none-match", "if-range", "if-unmodified-since", "last-modified", "location", "range"}) {
    rules[hpack_static_name(name)] = Indexing::no;
  }
  // Who can have requests sent on the same connection and sees their sizes learns whether a guess is in the table. What
  // proves who a user is must not be found out so.
  rules[hpack_static_name("authorization")] = Indexing::never;
  rules[hpack_static_name("proxy-authorization")] = Indexing::never;
  rules[hpack_static_name("cookie")] = Indexing::yes_unless_short;
  rules[hpack_static_name("set-cookie")] = Indexing::no_or_never_when_short;  // a new one each time
  return rules;
}

// By the first index of a name in the static table; 0: names that are not in there.
constexpr std::array<Indexing, kHpackStaticEntries + 1> kIndexing = make_indexing();

// Eight characters at once, letters made lower-case.
constexpr std::uint64_t lower_eight(std::uint64_t word) {
  constexpr std::uint64_t kOnes = 0x0101010101010101U;
  const std::uint64_t low_bits = word & (kOnes * 0x7f);
  const std::uint64_t from_a = low_bits + kOnes * (0x80 - 'A');       // bit 7: 'A' or above
  const std::uint64_t above_z = low_bits + kOnes * (0x80 - 'Z' - 1);  // bit 7: above 'Z'
  const std::uint64_t upper = (from_a ^ above_z) & ~word & (kOnes * 0x80);
  return word | upper >> 2U;
}

// Of a name in lower case: its first and last characters, which are the same ones when it is short.
struct NameEnds {
  std::uint64_t first;
  std::uint64_t last;
};

constexpr std::uint64_t hash_name(NameEnds ends, std::size_t size) {
  // With this multiplier the upper eight bits are others for each name of the static table.
  constexpr std::uint64_t kMultiplier = 0x513dd1a6e9d40f2bU;
  return ((ends.first ^ std::rotl(ends.last, 29)) + size) * kMultiplier;
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

// The index of the entry with that value among those of one name, or 0.
std::uint32_t static_exact(std::uint8_t first, std::string_view value) {
  for (std::uint32_t index = first; index < kHpackStaticTable.size() && kHpackFirstOfName[index] == first; ++index) {
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
char* write_literal(Literal literal, std::uint32_t name_index, std::string_view name, std::string_view value,
                    char* at) {
  const unsigned prefix = literal == Literal::with_indexing ? 6 : 4;
  at = write_hpack_integer(at, static_cast<std::uint8_t>(literal), prefix, name_index);
  if (name_index == 0) at = write_string(name, at);
  return write_string(value, at);
}

// A field with a name that has upper case and is too long for HpackEncoder::Name: as it is, and in no table.
char* write_long_name(std::string_view name, std::string_view value, char* at, bool never_indexed) {
  *at++ = static_cast<char>(never_indexed ? Literal::never_indexed : Literal::without_indexing);
  at = write_hpack_integer(at, 0, 7, static_cast<std::uint32_t>(name.size()));
  return write_string(value, std::ranges::transform(name, at, to_lower).out);
}

}  // namespace

// A field's name in lower case.
struct HpackEncoder::Name {
  static constexpr std::size_t kLoweredMost = 64;

  std::string_view text;
  std::uint64_t hash;
  std::uint8_t static_name = 0;
  std::array<char, kLoweredMost> lowered;  // not set: what `text` views if it came in upper case

  [[nodiscard]] std::size_t bucket() const { return hash >> 58U; }
  [[nodiscard]] std::uint16_t check() const { return static_cast<std::uint16_t>(hash >> 32U); }

  // False when it has upper case and is too long for `lowered`.
  bool set(std::string_view name);
};

bool HpackEncoder::Name::set(std::string_view name) {
  const std::size_t size = name.size();
  const char* const at = name.data();
  text = name;
  NameEnds ends{};
  if (size >= 8) {
    const NameEnds given{load_little_64(at), load_little_64(at + size - 8)};
    ends = {lower_eight(given.first), lower_eight(given.last)};
    std::uint64_t upper = (ends.first ^ given.first) | (ends.last ^ given.last);
    for (std::size_t i = 8; i + 8 < size; i += 8) {
      const std::uint64_t word = load_little_64(at + i);
      upper |= word ^ lower_eight(word);
    }
    if (upper != 0) {
      if (size > kLoweredMost) return false;
      for (std::size_t i = 0; i + 8 < size; i += 8) store_little_64(&lowered[i], lower_eight(load_little_64(at + i)));
      store_little_64(&lowered[size - 8], ends.last);
      text = {lowered.data(), size};
    }
  } else if (size >= 4) {
    const std::uint64_t given = load_little_32(at) | std::uint64_t{load_little_32(at + size - 4)} << 32U;
    ends.first = lower_eight(given);
    if (ends.first != given) {
      store_little_32(&lowered[0], static_cast<std::uint32_t>(ends.first));
      store_little_32(&lowered[size - 4], static_cast<std::uint32_t>(ends.first >> 32U));
      text = {lowered.data(), size};
    }
  } else if (size > 0) {
    const auto byte = [at](std::size_t i) { return std::uint64_t{static_cast<unsigned char>(at[i])}; };
    const std::uint64_t given = byte(0) | byte(size / 2) << 8U | byte(size - 1) << 16U;
    ends.first = lower_eight(given);
    if (ends.first != given) {
      lowered[0] = static_cast<char>(ends.first);
      lowered[size / 2] = static_cast<char>(ends.first >> 8U);
      lowered[size - 1] = static_cast<char>(ends.first >> 16U);
      text = {lowered.data(), size};
    }
  }
  hash = hash_name(ends, size);
  const std::uint8_t index = kStaticSlots[hash >> 56U];
  const std::string_view known = kHpackStaticTable[index].name;
  static_name = known.size() == size && same_bytes(known.data(), text.data(), size) ? index : 0;
  return true;
}

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
  Name lower;
  if (!lower.set(name)) return write_long_name(name, value, at, never_indexed);
  if (lower.static_name != 0 && !never_indexed) {
    if (const std::uint32_t index = static_exact(lower.static_name, value)) {
      return write_hpack_integer(at, kIndexed, 7, index);
    }
  }
  const Literal literal =
      never_indexed ? Literal::never_indexed : literal_for(kIndexing[lower.static_name], value.size());
  if (literal != Literal::with_indexing) return write_literal(literal, lower.static_name, lower.text, value, at);
  const Found found = find(lower, value);
  if (found.exact != 0) {
    misses_[lower.bucket()] = 0;
    return write_hpack_integer(at, kIndexed, 7, found.exact);
  }
  if (!wants_index(lower, value)) return write_literal(Literal::without_indexing, found.name, lower.text, value, at);
  at = write_literal(Literal::with_indexing, found.name, lower.text, value, at);
  insert(lower, value);
  return at;
}

HpackEncoder::Found HpackEncoder::find(const Name& name, std::string_view value) const {
  constexpr unsigned kStepsMost = 8;  // whoever chooses names chooses how many are in one bucket
  Found found{.exact = 0, .name = name.static_name};
  std::uint16_t number = newest_[name.bucket()];
  for (unsigned step = 0; step < kStepsMost; ++step) {
    // A number that has come round again finds another entry, which is then judged like any other.
    const auto age = static_cast<std::uint16_t>(inserted_ - number);
    if (age >= table_.count()) break;
    const HpackTable::Entry& entry = table_.entry(age);
    const auto note = std::bit_cast<Note>(entry.note);
    const char* const text = table_.text(entry);
    const bool same_name = name.static_name != 0
                               ? note.static_name == name.static_name
                               : note.name_hash == name.check() && entry.name_size == name.text.size() &&
                                     same_bytes(text, name.text.data(), name.text.size());
    if (same_name) {
      const auto index = static_cast<std::uint32_t>(kHpackStaticEntries + 1 + age);
      if (entry.value_size == value.size() && same_bytes(text + entry.name_size, value.data(), value.size())) {
        found.exact = index;
        break;
      }
      if (found.name == 0) found.name = index;
    }
    if (note.back_to_other == 0) break;
    number = static_cast<std::uint16_t>(number - note.back_to_other);
  }
  return found;
}

bool HpackEncoder::wants_index(const Name& name, std::string_view value) {
  // One entry is not worth all others.
  if (name.text.size() + value.size() + HpackTable::kEntryOverhead > std::size_t{table_.limit()} / 4 * 3) return false;
  // After so many new values in a row only one of 16 is tried, until one comes again.
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

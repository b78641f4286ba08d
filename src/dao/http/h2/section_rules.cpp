#include "dao/http/h2/section_rules.h"

#include <array>

#include "dao/http/byte_words.h"
#include "dao/http/field_id.h"
#include "dao/http/h1/head_parser.h"
#include "dao/http/h1/syntax.h"
#include "dao/http/h2/hpack_static_table.h"
#include "dao/http/status.h"

namespace dao::http::h2 {

namespace {

constexpr unsigned kAuthority = 1;
constexpr unsigned kMethod = 2;
constexpr unsigned kPath = 4;
constexpr unsigned kScheme = 8;
constexpr unsigned kStatus = 16;
constexpr unsigned kProtocol = 32;
constexpr unsigned kHost = 64;

// RFC 9113 section 8.2.1.
bool is_name(std::string_view name) {
  if (name.empty()) return false;
  for (const char c : name) {
    if (!h1::is(c, h1::kToken) || (c >= 'A' && c <= 'Z')) return false;
  }
  return true;
}

bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

// No byte below 0x20, and no 0x7f.
bool is_plain(std::uint64_t eight) {
  constexpr std::uint64_t kOnes = 0x0101010101010101U;
  const std::uint64_t del = eight ^ (kOnes * 0x7f);
  const std::uint64_t below = (eight - kOnes * 0x20) & ~eight;
  return ((below | ((del - kOnes) & ~del)) & (kOnes * 0x80)) == 0;
}

// RFC 9110 section 5.5; eight bytes at a time, the last ones twice if need be. Tabs are seldom: they cost more.
bool is_value(std::string_view value) {
  const std::size_t size = value.size();
  if (size == 0) return true;
  if (is_blank(value.front()) || is_blank(value.back())) return false;
  bool plain = size >= 8;
  for (std::size_t i = 0; plain && i + 8 < size; i += 8) plain = is_plain(load_little_64(value.data() + i));
  if (plain) plain = is_plain(load_little_64(value.data() + size - 8));
  const char* const end = value.data() + size;
  return plain || h1::skip_field_value(value.data(), end) == end;
}

// By the index of a name's first entry in the static table.
const std::array<FieldId, kHpackStaticTable.size()> kStaticFieldIds = [] {
  std::array<FieldId, kHpackStaticTable.size()> ids{};
  for (std::size_t i = 1; i < ids.size(); ++i) ids[i] = identify_field(kHpackStaticTable[i].name);
  return ids;
}();

}  // namespace

void SectionRules::begin(SectionKind kind) {
  *this = {};
  kind_ = kind;
}

bool SectionRules::once(unsigned bit) {
  if ((seen_ & bit) != 0) return false;
  seen_ |= bit;
  return true;
}

bool SectionRules::add(const HpackField& field) {
  if (field.name.starts_with(':')) {
    id_ = FieldId::other;
    return add_pseudo(field);
  }
  fields_began_ = true;
  if (field.static_name == 0 && !is_name(field.name)) return false;
  if (!is_value(field.value)) return false;
  id_ = field.static_name != 0 ? kStaticFieldIds[field.static_name] : identify_field(field.name);
  switch (id_) {
    case FieldId::connection:
    case FieldId::keep_alive:
    case FieldId::proxy_connection:
    case FieldId::transfer_encoding:
    case FieldId::upgrade:
      return false;
    case FieldId::te:
      return equals_ignoring_case(field.value, "trailers");
    case FieldId::host:
      return kind_ != SectionKind::request || once(kHost);
    case FieldId::content_length:
      return add_length(field.value);
    default:
      if (kind_ == SectionKind::request && field.name == "priority") priority_ = read_priority(field.value, priority_);
      return true;
  }
}

bool SectionRules::add_pseudo(const HpackField& field) {
  if (fields_began_ || !is_value(field.value)) return false;
  const std::string_view name = field.name;
  const std::string_view value = field.value;
  if (kind_ == SectionKind::response) {
    if (name != ":status" || !once(kStatus)) return false;
    if (value.size() != 3 || !h1::is_digit(value[0]) || !h1::is_digit(value[1]) || !h1::is_digit(value[2]))
      return false;
    status_ = static_cast<std::uint16_t>((value[0] - '0') * 100 + (value[1] - '0') * 10 + (value[2] - '0'));
    return status_ >= 100 && status_ <= 599 && status_ != http::status::kSwitching;  // RFC 9113 section 8.6
  }
  if (kind_ != SectionKind::request || value.empty()) return false;
  if (name == ":method") {
    head_ = value == "HEAD";
    connect_ = value == "CONNECT";
    options_ = value == "OPTIONS";
    return once(kMethod);
  }
  if (name == ":path") {
    asterisk_ = value == "*";
    return once(kPath) && (value.front() == '/' || asterisk_);
  }
  if (name == ":scheme") return once(kScheme);
  if (name == ":authority") return once(kAuthority);
  return name == ":protocol" && once(kProtocol);
}

bool SectionRules::add_length(std::string_view value) {
  const std::optional<std::uint64_t> length = h1::parse_length(value);
  if (!length || length_) return false;
  if (kind_ == SectionKind::response) {
    // RFC 9110 section 8.6: these say no length. A 0 for nothing does no harm, and there are servers that say it.
    if (interim() || (status_ == http::status::kNoContent && *length != 0)) return false;
  }
  length_ = length;
  return true;
}

bool SectionRules::complete() const {
  const auto has = [this](unsigned bits) { return (seen_ & bits) == bits; };
  switch (kind_) {
    case SectionKind::response:
      return has(kStatus);
    case SectionKind::trailers:
      return true;
    case SectionKind::request:
      break;
  }
  if (has(kProtocol)) return connect_ && !asterisk_ && has(kMethod | kScheme | kPath | kAuthority);
  if (connect_) return has(kAuthority) && (seen_ & (kScheme | kPath)) == 0;
  if (!has(kMethod | kScheme | kPath) || (seen_ & (kAuthority | kHost)) == 0) return false;
  return !asterisk_ || options_;
}

}  // namespace dao::http::h2

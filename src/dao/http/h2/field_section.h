// A field section (RFC 9113 section 8.1): as it came from a backend, a head, an interim head or trailers; or of a
// request that waits for its turn.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dao/http/field_id.h"

namespace dao::http::h2 {

struct FieldSection {
  std::unique_ptr<FieldSection> next;  // that came after it, where several wait
  struct Entry {
    std::uint32_t at;
    std::uint32_t name;
    std::uint32_t value;  // sizes; the value follows the name
    FieldId id;
    bool never_indexed;  // as in Field
  };
  std::string text;
  std::vector<Entry> entries;
  std::uint16_t status = 0;
  bool ends_stream = false;

  void add(std::string_view name, std::string_view value, FieldId id, bool never_indexed) {
    entries.push_back({static_cast<std::uint32_t>(text.size()), static_cast<std::uint32_t>(name.size()),
                       static_cast<std::uint32_t>(value.size()), id, never_indexed});
    text.append(name).append(value);
  }
  [[nodiscard]] std::string_view name(const Entry& entry) const {
    return std::string_view{text}.substr(entry.at, entry.name);
  }
  [[nodiscard]] std::string_view value(const Entry& entry) const {
    return std::string_view{text}.substr(entry.at + entry.name, entry.value);
  }
};

// Sections that are not in use keep their memory for the next ones, within bounds. One thread.
class FieldSections {
 public:
  std::unique_ptr<FieldSection> take() {
    if (spare_.empty()) {
      auto fresh = std::make_unique<FieldSection>();
      fresh->text.reserve(kTextAtFirst);
      fresh->entries.reserve(kEntriesAtFirst);
      return fresh;
    }
    std::unique_ptr<FieldSection> section = std::move(spare_.back());
    spare_.pop_back();
    return section;
  }
  // With all that come after it. Null is fine.
  void give_back(std::unique_ptr<FieldSection> section) {
    while (section != nullptr) {
      std::unique_ptr<FieldSection> next = std::move(section->next);
      if (section->text.capacity() <= kTextMost && spare_.size() < kMost) {
        section->text.clear();
        section->entries.clear();
        section->status = 0;
        section->ends_stream = false;
        spare_.push_back(std::move(section));
      }
      section = std::move(next);
    }
  }

 private:
  static constexpr std::size_t kTextAtFirst = 512;
  static constexpr std::size_t kEntriesAtFirst = 24;
  static constexpr std::size_t kTextMost = 4096;
  static constexpr std::size_t kMost = 128;
  std::vector<std::unique_ptr<FieldSection>> spare_;
};

}  // namespace dao::http::h2

// A field section (RFC 9113 section 8.1) as it came from a backend: a head, an interim head or trailers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dao::http::h2 {

struct FieldSection {
  struct Entry {
    std::uint32_t at;
    std::uint32_t name;
    std::uint32_t value;  // sizes; the value follows the name
  };
  std::string text;
  std::vector<Entry> entries;
  std::uint16_t status = 0;
  bool ends_stream = false;

  void add(std::string_view name, std::string_view value) {
    entries.push_back({static_cast<std::uint32_t>(text.size()), static_cast<std::uint32_t>(name.size()),
                       static_cast<std::uint32_t>(value.size())});
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
  FieldSection take() {
    if (spare_.empty()) {
      FieldSection fresh;
      fresh.text.reserve(kTextAtFirst);
      fresh.entries.reserve(kEntriesAtFirst);
      return fresh;
    }
    FieldSection section = std::move(spare_.back());
    spare_.pop_back();
    return section;
  }
  void give_back(FieldSection&& section) {
    if (section.text.capacity() < kTextAtFirst || section.text.capacity() > kTextMost || spare_.size() >= kMost) return;
    section.text.clear();
    section.entries.clear();
    section.status = 0;
    section.ends_stream = false;
    spare_.push_back(std::move(section));
  }

 private:
  static constexpr std::size_t kTextAtFirst = 512;
  static constexpr std::size_t kEntriesAtFirst = 24;
  static constexpr std::size_t kTextMost = 4096;
  static constexpr std::size_t kMost = 128;
  std::vector<FieldSection> spare_;
};

}  // namespace dao::http::h2

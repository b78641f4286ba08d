// The dynamic table of HPACK (RFC 7541 sections 2.3.2 and 4): fields that were sent on this connection before, the
// newest first, as many as fit its limit; the oldest give way. One for each direction of a connection. One thread.
//
// Text lies in one buffer that grows with what is put in, to at most twice the limit: new text goes to its end, and
// what is still in use moves to its front when there is no room at the end. Nothing is allocated before the first
// entry.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace dao::http::h2 {

class HpackTable {
 public:
  // What an entry counts besides its text (section 4.1).
  static constexpr std::uint32_t kEntryOverhead = 32;

  // In bytes as section 4.1 counts them; at most 2^30.
  explicit HpackTable(std::uint32_t limit) : limit_(limit) {}

  struct Entry {
    std::uint32_t at;  // in the buffer: the name, then the value
    std::uint32_t name_size;
    std::uint32_t value_size;
    std::uint32_t note;  // what the user of the table wants to remember
  };

  [[nodiscard]] std::uint32_t limit() const { return limit_; }
  [[nodiscard]] std::uint32_t size() const { return size_; }
  [[nodiscard]] std::uint32_t count() const { return count_; }

  // `age` is below count(); the newest is 0. Views are valid until the next change.
  [[nodiscard]] const Entry& entry(std::uint32_t age) const { return ring_[(newest_ - age) & (ring_capacity_ - 1)]; }
  [[nodiscard]] const char* text(const Entry& entry) const { return text_.get() + entry.at; }
  [[nodiscard]] std::string_view name(const Entry& entry) const { return {text(entry), entry.name_size}; }
  [[nodiscard]] std::string_view value(const Entry& entry) const {
    return {text(entry) + entry.name_size, entry.value_size};
  }

  // False: larger than the limit, which leaves the table empty and is no error (section 4.4). The name may be that of
  // an entry here, even of one that gives way; views of entries stay valid when it returns false.
  bool insert(std::string_view name, std::string_view value, std::uint32_t note);
  // Entries give way until the rest fits (section 4.3). At 0 the memory is given back.
  void set_limit(std::uint32_t bytes);

  // What it holds from the heap.
  [[nodiscard]] std::size_t memory() const { return text_capacity_ + ring_capacity_ * sizeof(Entry); }

 private:
  void evict_to(std::uint32_t bytes);
  [[nodiscard]] bool holds(const char* at) const;
  [[nodiscard]] std::uint32_t text_begin() const;
  void make_room(std::uint32_t bytes);
  void move_text(std::uint32_t capacity);
  void grow_ring();

  std::unique_ptr<char[]> text_;
  std::unique_ptr<Entry[]> ring_;
  std::uint32_t text_capacity_ = 0;
  std::uint32_t text_end_ = 0;
  std::uint32_t ring_capacity_ = 0;  // a power of two, or nothing
  std::uint32_t newest_ = 0;         // where it is in the ring
  std::uint32_t count_ = 0;
  std::uint32_t size_ = 0;
  std::uint32_t limit_;
};

}  // namespace dao::http::h2

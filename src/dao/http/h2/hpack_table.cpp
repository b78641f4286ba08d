#include "dao/http/h2/hpack_table.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <string>
#include <utility>

namespace dao::http::h2 {

namespace {
constexpr std::uint32_t kTextAtFirst = 512;
constexpr std::uint32_t kEntriesAtFirst = 16;
}  // namespace

bool HpackTable::holds(const char* at) const {
  const std::less<const char*> before;
  return !before(at, text_.get()) && before(at, text_.get() + text_capacity_);
}

bool HpackTable::insert(std::string_view name, std::string_view value, std::uint32_t note) {
  const std::size_t text_size = name.size() + value.size();
  const std::size_t size = text_size + kEntryOverhead;
  if (size > limit_) {
    evict_to(0);
    return false;
  }
  evict_to(limit_ - static_cast<std::uint32_t>(size));
  std::string kept_name;
  if (text_size > text_capacity_ - text_end_) {
    if (holds(name.data())) {
      kept_name = name;
      name = kept_name;
    }
    make_room(static_cast<std::uint32_t>(text_size));
  }
  if (count_ == ring_capacity_) grow_ring();
  char* const at = text_.get() + text_end_;
  if (!name.empty()) std::memcpy(at, name.data(), name.size());
  if (!value.empty()) std::memcpy(at + name.size(), value.data(), value.size());
  newest_ = (newest_ + 1) & (ring_capacity_ - 1);
  ring_[newest_] = {text_end_, static_cast<std::uint32_t>(name.size()), static_cast<std::uint32_t>(value.size()), note};
  text_end_ += static_cast<std::uint32_t>(text_size);
  ++count_;
  size_ += static_cast<std::uint32_t>(size);
  return true;
}

void HpackTable::set_limit(std::uint32_t bytes) {
  limit_ = bytes;
  evict_to(bytes);
  if (bytes == 0) {
    text_.reset();
    ring_.reset();
    text_capacity_ = text_end_ = ring_capacity_ = newest_ = 0;
  } else if (text_capacity_ / 2 > bytes) {
    move_text(bytes * 2);
  }
}

void HpackTable::evict_to(std::uint32_t bytes) {
  while (size_ > bytes) {
    const Entry& oldest = entry(count_ - 1);
    size_ -= oldest.name_size + oldest.value_size + kEntryOverhead;
    --count_;
  }
}

std::uint32_t HpackTable::text_begin() const {
  return count_ > 0 ? entry(count_ - 1).at : text_end_;
}

void HpackTable::make_room(std::uint32_t bytes) {
  // At least twice what is in use, so that moving it costs no more than a copy of what came since the last time.
  const std::uint64_t needed = std::uint64_t{text_end_ - text_begin() + bytes} * 2;
  if (needed <= text_capacity_) {
    move_text(text_capacity_);
  } else {
    const std::uint64_t most = std::uint64_t{limit_} * 2;
    move_text(static_cast<std::uint32_t>(std::min(std::max<std::uint64_t>(std::bit_ceil(needed), kTextAtFirst), most)));
  }
}

void HpackTable::move_text(std::uint32_t capacity) {
  const std::uint32_t begin = text_begin();
  const std::uint32_t used = text_end_ - begin;
  if (capacity != text_capacity_) {
    auto fresh = std::make_unique_for_overwrite<char[]>(capacity);
    if (used > 0) std::memcpy(fresh.get(), text_.get() + begin, used);
    text_ = std::move(fresh);
    text_capacity_ = capacity;
  } else if (used > 0) {
    std::memmove(text_.get(), text_.get() + begin, used);
  }
  text_end_ = used;
  for (std::uint32_t age = 0; age < count_; ++age) ring_[(newest_ - age) & (ring_capacity_ - 1)].at -= begin;
}

void HpackTable::grow_ring() {
  const std::uint32_t capacity = std::max(ring_capacity_ * 2, kEntriesAtFirst);
  auto fresh = std::make_unique_for_overwrite<Entry[]>(capacity);
  for (std::uint32_t age = 0; age < count_; ++age) fresh[count_ - 1 - age] = entry(age);
  ring_ = std::move(fresh);
  ring_capacity_ = capacity;
  newest_ = count_ - 1;
}

}  // namespace dao::http::h2

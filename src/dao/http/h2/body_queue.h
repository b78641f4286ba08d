// What of a message's body has arrived on a stream and was not asked for yet. Its bound is the stream's window. Bytes
// never move: front() stays valid until it is consumed, whatever arrives meanwhile. One thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include "dao/http/buffer.h"

namespace dao::http::h2 {

class BodyQueue {
 public:
  // `block`: the size of all blocks but the first, which is of BufferPool::kTiny or kSmall.
  explicit BodyQueue(BufferPool& pool, std::size_t block = BufferPool::kSmall) : pool_(&pool), block_(block) {}
  BodyQueue(const BodyQueue&) = delete;
  BodyQueue& operator=(const BodyQueue&) = delete;
  ~BodyQueue() { clear(); }

  void push(std::span<const char> bytes) {
    size_ += bytes.size();
    while (!bytes.empty()) {
      Block* last = more_.empty() ? &first_ : &more_.back();
      if (last->end == last->size) last = &add_block(bytes.size());
      const std::size_t take = std::min(bytes.size(), last->size - last->end);
      std::memcpy(last->bytes + last->end, bytes.data(), take);
      last->end += take;
      bytes = bytes.subspan(take);
    }
  }
  // The first bytes that lie together; empty when there are none.
  [[nodiscard]] std::span<const char> front() const { return {first_.bytes + first_.begin, first_.end - first_.begin}; }
  // At most front().size() bytes.
  void consume(std::size_t bytes) {
    if (bytes == 0) return;
    size_ -= bytes;
    first_.begin += bytes;
    if (first_.begin < first_.end) return;
    pool_->release(first_.bytes, first_.size);
    first_ = {};
    if (more_.empty()) return;
    first_ = more_.front();
    more_.erase(more_.begin());
  }
  [[nodiscard]] std::size_t size() const { return size_; }
  void clear() {
    if (first_.bytes != nullptr) pool_->release(first_.bytes, first_.size);
    for (const Block& block : more_) pool_->release(block.bytes, block.size);
    first_ = {};
    more_.clear();
    size_ = 0;
  }

 private:
  struct Block {
    char* bytes = nullptr;
    std::size_t size = 0;
    std::size_t begin = 0;
    std::size_t end = 0;
  };
  Block& add_block(std::size_t for_bytes) {
    if (first_.bytes == nullptr) {
      const std::size_t size = for_bytes <= BufferPool::kTiny ? BufferPool::kTiny : BufferPool::kSmall;
      first_ = {.bytes = pool_->acquire(size), .size = size};
      return first_;
    }
    more_.push_back({.bytes = pool_->acquire(block_), .size = block_});
    return more_.back();
  }

  BufferPool* pool_;
  std::size_t block_;
  Block first_;              // most bodies need no other
  std::vector<Block> more_;  // few: the window bounds them
  std::size_t size_ = 0;
};

}  // namespace dao::http::h2

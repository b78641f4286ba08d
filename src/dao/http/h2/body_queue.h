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
  explicit BodyQueue(BufferPool& pool) : pool_(&pool) {}
  BodyQueue(const BodyQueue&) = delete;
  BodyQueue& operator=(const BodyQueue&) = delete;
  ~BodyQueue() { clear(); }

  void push(std::span<const char> bytes) {
    size_ += bytes.size();
    while (!bytes.empty()) {
      if (blocks_.empty() || blocks_.back().end == blocks_.back().size) {
        const bool tiny = blocks_.empty() && bytes.size() <= BufferPool::kTiny;
        const std::size_t size = tiny ? BufferPool::kTiny : BufferPool::kSmall;
        blocks_.push_back({pool_->acquire(size), size});
      }
      Block& last = blocks_.back();
      const std::size_t take = std::min(bytes.size(), last.size - last.end);
      std::memcpy(last.bytes + last.end, bytes.data(), take);
      last.end += take;
      bytes = bytes.subspan(take);
    }
  }
  // The first bytes that lie together; empty when there are none.
  [[nodiscard]] std::span<const char> front() const {
    if (blocks_.empty()) return {};
    const Block& first = blocks_.front();
    return {first.bytes + first.begin, first.end - first.begin};
  }
  // At most front().size() bytes.
  void consume(std::size_t bytes) {
    if (bytes == 0) return;
    size_ -= bytes;
    Block& first = blocks_.front();
    first.begin += bytes;
    if (first.begin < first.end) return;
    pool_->release(first.bytes, first.size);
    blocks_.erase(blocks_.begin());
  }
  [[nodiscard]] std::size_t size() const { return size_; }
  void clear() {
    for (const Block& block : blocks_) pool_->release(block.bytes, block.size);
    blocks_.clear();
    size_ = 0;
  }

 private:
  struct Block {
    char* bytes;
    std::size_t size;
    std::size_t begin = 0;
    std::size_t end = 0;
  };
  BufferPool* pool_;
  std::vector<Block> blocks_;  // few: the window bounds them
  std::size_t size_ = 0;
};

}  // namespace dao::http::h2

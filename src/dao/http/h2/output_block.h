// Frames on their way to the client. Takes a block when something is put into it, gives it back when it was written, so
// an idle connection holds none. One thread.
#pragma once

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "dao/http/buffer.h"

namespace dao::http::h2 {

class OutputBlock {
 public:
  explicit OutputBlock(BufferPool& pool) : pool_(&pool) {}
  OutputBlock(const OutputBlock&) = delete;
  OutputBlock& operator=(const OutputBlock&) = delete;
  ~OutputBlock() { clear(); }

  void append(const void* bytes, std::size_t count) {
    if (count == 0) return;  // `bytes` may then be null, which memcpy must not be given
    if (size_ + count > capacity_) grow(size_ + count);
    std::memcpy(block_ + size_, bytes, count);
    size_ += count;
  }
  // Room for `most` more bytes, of which commit() says up to where they were used. Pointers of before are void.
  char* reserve(std::size_t most) {
    if (size_ + most > capacity_) grow(size_ + most);
    return block_ + size_;
  }
  void commit(const char* end) { size_ = static_cast<std::size_t>(end - block_); }
  [[nodiscard]] std::span<char> content() { return {block_, size_}; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] bool empty() const { return size_ == 0; }
  void clear() {
    if (block_ != nullptr) pool_->release(block_, capacity_);
    block_ = nullptr;
    size_ = capacity_ = 0;
  }
  void swap(OutputBlock& other) noexcept {
    std::swap(block_, other.block_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

 private:
  void grow(std::size_t least) {
    std::size_t capacity = least;
    if (capacity <= BufferPool::kLarge) {
      capacity = capacity <= BufferPool::kSmall ? BufferPool::kSmall : BufferPool::kLarge;
    } else {
      capacity = std::max(capacity, 2 * capacity_);
    }
    char* const larger = pool_->acquire(capacity);
    if (size_ > 0) std::memcpy(larger, block_, size_);
    if (block_ != nullptr) pool_->release(block_, capacity_);
    block_ = larger;
    capacity_ = capacity;
  }

  BufferPool* pool_;
  char* block_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace dao::http::h2

// Read buffers: one per connection that has something to read, none for an idle one. They come from a pool of the
// worker: small blocks for heads and small bodies, large ones for bodies that fill the small one, and tiny ones for
// what streams of HTTP/2 have to keep. One thread.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

namespace dao::http {

// Keeps a bounded number of blocks for reuse. Outlives every Buffer made from it.
class BufferPool {
 public:
  static constexpr std::size_t kTiny = std::size_t{4} * 1024;
  static constexpr std::size_t kSmall = std::size_t{16} * 1024;
  static constexpr std::size_t kLarge = std::size_t{256} * 1024;

  BufferPool() = default;
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;
  ~BufferPool();

  char* acquire(std::size_t size);  // any size; these three are pooled
  void release(char* block, std::size_t size);
  // Bytes in use by Buffers now.
  [[nodiscard]] std::size_t in_use() const { return in_use_; }

 private:
  // Blocks of one size that nobody uses.
  struct Kept {
    std::size_t size;
    std::size_t most;
    std::vector<char*> blocks{};
  };
  Kept* kept(std::size_t size);

  Kept tiny_{kTiny, 512};    // 2 MiB
  Kept small_{kSmall, 512};  // 8 MiB
  Kept large_{kLarge, 16};   // 4 MiB
  std::size_t in_use_ = 0;
};

class Buffer {
 public:
  explicit Buffer(BufferPool& pool) : pool_(&pool) {}
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() {
    unpin();
    drop();
  }

  [[nodiscard]] std::string_view content() const { return {block_ + begin_, end_ - begin_}; }
  [[nodiscard]] std::span<char> mutable_content() { return {block_ + begin_, end_ - begin_}; }
  [[nodiscard]] bool empty() const { return begin_ == end_; }
  [[nodiscard]] std::size_t capacity() const { return capacity_; }

  // Room to read into, at least one byte. Takes a block if there is none; moves the content to the front, or grows the
  // block to hold up to `at_most` bytes of content, when the end is reached. Empty when the content already has
  // `at_most`.
  std::span<char> room(std::size_t at_most);
  // For bodies: an empty buffer changes its block for a large one.
  void enlarge();
  void filled(std::size_t bytes) { end_ += bytes; }
  void consume(std::size_t bytes) {
    begin_ += bytes;
    if (begin_ == end_ && may_move()) begin_ = end_ = 0;
  }
  // Gives the block back. The content is lost.
  void drop();

  // Until unpin(), bytes that are in the block now stay where they are, consumed or not: views into them live on. When
  // more room is needed than the block has left, reading goes on in another one.
  void pin() { pinned_ = true; }
  void unpin();

 private:
  BufferPool* pool_;
  char* block_ = nullptr;
  std::size_t capacity_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  bool pinned_ = false;
  char* held_ = nullptr;  // the pinned block after reading has moved on to another
  std::size_t held_capacity_ = 0;

  // Nobody has views into the present block.
  [[nodiscard]] bool may_move() const { return !pinned_ || held_ != nullptr; }
  void leave_pinned_block();
};

// A block for text that is written and sent within one scope.
class ScratchBlock {
 public:
  ScratchBlock(BufferPool& pool, std::size_t at_least)
      : pool_(pool),
        size_(at_least <= BufferPool::kSmall ? BufferPool::kSmall : at_least),
        begin_(pool.acquire(size_)) {}
  ScratchBlock(const ScratchBlock&) = delete;
  ScratchBlock& operator=(const ScratchBlock&) = delete;
  ~ScratchBlock() { pool_.release(begin_, size_); }
  [[nodiscard]] char* begin() const { return begin_; }
  // Copying a little text costs less than a second piece in the system call.
  [[nodiscard]] bool worth_copying(const char* end, std::size_t more) const {
    constexpr std::size_t kCopyMax = 4096;
    return more <= kCopyMax && more <= size_ - static_cast<std::size_t>(end - begin_);
  }

 private:
  BufferPool& pool_;
  std::size_t size_;
  char* begin_;
};

}  // namespace dao::http

#include "dao/http/buffer.h"

#include <algorithm>
#include <cstring>

namespace dao::http {

namespace {

// A pinned block with less room left than this is left behind: not worth a read of its own.
constexpr std::size_t kWorthReading = 4096;

}  // namespace

BufferPool::~BufferPool() {
  for (const Kept* each : {&tiny_, &small_, &large_}) {
    for (char* block : each->blocks) ::operator delete(block);
  }
}

BufferPool::Kept* BufferPool::kept(std::size_t size) {
  for (Kept* each : {&small_, &tiny_, &large_}) {
    if (each->size == size) return each;
  }
  return nullptr;
}

char* BufferPool::acquire(std::size_t size) {
  in_use_ += size;
  if (Kept* const spare = kept(size); spare != nullptr && !spare->blocks.empty()) {
    char* block = spare->blocks.back();
    spare->blocks.pop_back();
    return block;
  }
  return static_cast<char*>(::operator new(size));
}

void BufferPool::release(char* block, std::size_t size) {
  in_use_ -= size;
  if (Kept* const spare = kept(size); spare != nullptr && spare->blocks.size() < spare->most) {
    spare->blocks.push_back(block);
  } else {
    ::operator delete(block);
  }
}

void Buffer::leave_pinned_block() {
  const std::size_t size = end_ - begin_;
  const std::size_t capacity = size < BufferPool::kSmall ? BufferPool::kSmall : size * 2;
  char* block = pool_->acquire(capacity);
  if (size > 0) std::memcpy(block, block_ + begin_, size);
  held_ = block_;
  held_capacity_ = capacity_;
  block_ = block;
  capacity_ = capacity;
  begin_ = 0;
  end_ = size;
}

void Buffer::unpin() {
  pinned_ = false;
  if (held_ != nullptr) pool_->release(held_, held_capacity_);
  held_ = nullptr;
  if (begin_ == end_) begin_ = end_ = 0;
}

std::span<char> Buffer::room(std::size_t at_most) {
  if (pinned_ && held_ == nullptr && block_ != nullptr && capacity_ - end_ < kWorthReading) leave_pinned_block();
  if (block_ == nullptr) {
    capacity_ = BufferPool::kSmall;
    block_ = pool_->acquire(capacity_);
  }
  const std::size_t size = end_ - begin_;
  if (size >= at_most) return {};
  if (end_ == capacity_ && begin_ > 0 && may_move()) {
    std::memmove(block_, block_ + begin_, size);
    begin_ = 0;
    end_ = size;
  }
  if (end_ == capacity_) {
    const std::size_t larger = std::min(std::max(capacity_ * 2, BufferPool::kSmall), std::max(at_most, capacity_ + 1));
    char* block = pool_->acquire(larger);
    std::memcpy(block, block_, size);
    pool_->release(block_, capacity_);
    block_ = block;
    capacity_ = larger;
  }
  return {block_ + end_, std::min(capacity_ - end_, at_most - size)};
}

void Buffer::enlarge() {
  if (!empty() || capacity_ >= BufferPool::kLarge) return;
  if (pinned_ && held_ == nullptr && block_ != nullptr) {
    held_ = block_;
    held_capacity_ = capacity_;
    block_ = nullptr;
  }
  drop();
  capacity_ = BufferPool::kLarge;
  block_ = pool_->acquire(capacity_);
}

void Buffer::drop() {
  if (block_ == nullptr) return;
  pool_->release(block_, capacity_);
  block_ = nullptr;
  capacity_ = begin_ = end_ = 0;
}

}  // namespace dao::http

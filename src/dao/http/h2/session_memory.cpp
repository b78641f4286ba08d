#include "dao/http/h2/session_memory.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>

#include "dao/rt/frame_pool.h"

namespace dao::http::h2 {

namespace {

// In front of each block, because whoever frees it does not say how large it is. As large as the strictest alignment.
struct alignas(std::max_align_t) Size {
  std::size_t bytes;
};

void* allocate(std::size_t bytes, void*) {
  if (bytes > std::numeric_limits<std::size_t>::max() - sizeof(Size)) return nullptr;
  void* const block = rt::FramePool::allocate(sizeof(Size) + bytes);
  return new (block) Size{bytes} + 1;
}

void release(void* memory, void*) {
  if (memory == nullptr) return;
  Size* const size = static_cast<Size*>(memory) - 1;
  rt::FramePool::release(size, sizeof(Size) + size->bytes);
}

void* allocate_zeroed(std::size_t count, std::size_t each, void* user) {
  if (each != 0 && count > std::numeric_limits<std::size_t>::max() / each) return nullptr;
  void* const memory = allocate(count * each, user);
  if (memory != nullptr) std::memset(memory, 0, count * each);
  return memory;
}

void* reallocate(void* memory, std::size_t bytes, void* user) {
  void* const moved = allocate(bytes, user);
  if (moved == nullptr || memory == nullptr) return moved;
  std::memcpy(moved, memory, std::min(bytes, (static_cast<const Size*>(memory) - 1)->bytes));
  release(memory, user);
  return moved;
}

}  // namespace

nghttp2_mem* session_memory() {
  static nghttp2_mem memory{nullptr, allocate, release, allocate_zeroed, reallocate};
  return &memory;
}

}  // namespace dao::http::h2

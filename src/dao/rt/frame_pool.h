// Memory for coroutine frames: a per-thread free list for each size class, so that a request's frames cost a few
// nanoseconds instead of a malloc. A frame may be freed on another thread; it then joins that thread's list.
// Under sanitizers every frame is a plain allocation: a free list would hide use-after-free.
#pragma once

#include <cstddef>
#include <new>

namespace dao::rt {

class FramePool {
 public:
  static void* allocate(std::size_t size);
  static void release(void* frame, std::size_t size) noexcept;

 private:
  static constexpr std::size_t kGranule = 64;
  static constexpr std::size_t kClasses = 64;         // up to 4 KiB; larger frames go to the heap
  static constexpr std::size_t kKeptPerClass = 1024;  // beyond this a burst's memory goes back to the heap
  struct Node {
    Node* next;
  };
  struct Class {
    Node* head = nullptr;
    std::size_t count = 0;
  };
  struct Lists {
    Class classes[kClasses];
    ~Lists();
  };
  static Lists& lists();
};

#ifdef DAO_SANITIZED
inline void* FramePool::allocate(std::size_t size) {
  return ::operator new(size);
}
inline void FramePool::release(void* frame, std::size_t) noexcept {
  ::operator delete(frame);
}
#else
inline FramePool::Lists& FramePool::lists() {
  static thread_local Lists instance;
  return instance;
}

inline void* FramePool::allocate(std::size_t size) {
  const std::size_t index = (size - 1) / kGranule;
  if (index < kClasses) {
    Class& list = lists().classes[index];
    if (list.head != nullptr) {
      Node* node = list.head;
      list.head = node->next;
      --list.count;
      return node;
    }
    return ::operator new((index + 1) * kGranule);
  }
  return ::operator new(size);
}

inline void FramePool::release(void* frame, std::size_t size) noexcept {
  const std::size_t index = (size - 1) / kGranule;
  if (index < kClasses) {
    Class& list = lists().classes[index];
    if (list.count < kKeptPerClass) {
      list.head = new (frame) Node{list.head};
      ++list.count;
      return;
    }
  }
  ::operator delete(frame);
}

inline FramePool::Lists::~Lists() {
  for (Class& list : classes) {
    while (list.head != nullptr) {
      Node* node = list.head;
      list.head = node->next;
      ::operator delete(node);
    }
    list.count = kKeptPerClass;  // frames freed later in this thread's exit go straight to the heap
  }
}
#endif

}  // namespace dao::rt
